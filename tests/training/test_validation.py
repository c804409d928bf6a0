"""Ground truth of the validation split."""

import torch

from retrieval_bench.training.validation import leave_one_out


def test_each_image_asks_for_the_others_of_its_label():
    assert leave_one_out(torch.tensor([5, 2, 5, 5])) == [
        {"easy": [2, 3], "hard": [], "junk": [0]},
        {"easy": [], "hard": [], "junk": [1]},
        {"easy": [0, 3], "hard": [], "junk": [2]},
        {"easy": [0, 2], "hard": [], "junk": [3]},
    ]
