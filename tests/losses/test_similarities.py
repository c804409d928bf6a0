"""Which pairs of rows match, where several rows are of one image."""

import pytest
import torch

from retrieval_bench.losses import LOSSES
from retrieval_bench.losses.similarities import matches

LABELS = torch.tensor([0, 0, 1, 0, 0, 1])
IMAGES = torch.tensor([0, 1, 2, 0, 1, 2])


def test_rows_of_one_image_are_no_pair():
    positive, negative = matches(LABELS, IMAGES)
    assert positive.nonzero().tolist() == [[0, 1], [0, 4], [1, 0], [1, 3], [3, 1], [3, 4], [4, 0], [4, 3]]
    assert torch.equal(negative, LABELS[:, None] != LABELS)


def test_every_row_is_an_image_of_its_own_where_nothing_is_said():
    told, untold = matches(LABELS, torch.arange(6)), matches(LABELS)
    assert all(torch.equal(one, other) for one, other in zip(told, untold, strict=True))
    assert untold[0].sum() == 4 * 3 + 2


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        *(("contrastive", {"mining": mining}) for mining in ("class-hardest", "batch-hard")),
        *(("triplet", {"mining": mining}) for mining in ("class-hardest", "batch-hard", "semi-hard", "all")),
        *(("smoothap", {"query": query}) for query in ("left out", "counted")),
    ],
    ids=str,
)
def test_every_mining_leaves_them_out(loss, options):
    """Rows 0 and 3 show the only image of class 0, and so on: without a pair there is nothing to learn."""
    made = LOSSES.create(loss, options, dim=8, num_classes=3)
    rows = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    assert made(rows, IMAGES, images=IMAGES) == 0
    assert made(rows, IMAGES) > 0
