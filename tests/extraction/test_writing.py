import torch

from retrieval_bench.extraction.writing import in_original_pixels
from retrieval_bench.values.local_features import LocalFeatures


def test_keypoints_grow_with_each_side():
    features = LocalFeatures(
        torch.tensor([[0.0, 0.0], [10.0, 10.0], [20.0, 15.0]]),
        torch.eye(3),
        torch.tensor([0.9, 0.5, 0.1]),
        torch.tensor([1.0, 0.5, 2.0]),
    )
    moved = in_original_pixels(features, fed=(20, 15), original=(40, 45))
    assert moved.keypoints.tolist() == [[0, 0], [20, 30], [40, 45]]
    assert torch.equal(moved.descriptors, features.descriptors)
    assert torch.equal(moved.scores, features.scores)
    assert torch.equal(moved.scales, features.scales)
