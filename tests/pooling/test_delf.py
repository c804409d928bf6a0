"""DELF's attention pooling: the released layers' numbers, and the weighted sum against a loop."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from parity_case import load
from published_file import tensors
from torch import Tensor

from retrieval_bench.pooling import POOLINGS
from retrieval_bench.pooling.delf import OVER, attended
from retrieval_bench.settings.errors import InputError

CASE = load(Path(__file__).parents[1] / "parity" / "delg" / "tf_heads")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_equals_the_released_attention_and_its_pooling() -> None:
    """The case attends to the reconstruction of an autoencoder, where DELF attends to the map itself."""
    weights = tensors(CASE.state_dict)
    pooling = POOLINGS.create("delf", {}, in_channels=1024).eval()
    norm = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    state = {f"norm.{ours}": weights[f"attention/bn_conv1/{theirs}"] for theirs, ours in norm.items()}
    for theirs, ours in (("conv1", "hidden"), ("conv2", "score")):
        state[f"{ours}.weight"] = weights[f"attention/{theirs}/kernel"].permute(3, 2, 0, 1)
        state[f"{ours}.bias"] = weights[f"attention/{theirs}/bias"]
    pooling.load_state_dict({**state, "norm.num_batches_tracked": torch.tensor(0)})
    block3 = tensors(CASE.inputs)["block3"].permute(0, 3, 1, 2)
    scores = pooling.attention(block3)
    assert_allclose(scores[:, 0], CASE.outputs["eval__att_prob"], **CASE.tolerance)

    codes = F.conv2d(block3, weights["autoencoder/conv1/kernel"].permute(3, 2, 0, 1), weights["autoencoder/conv1/bias"])
    kernel, bias = weights["autoencoder/conv2/kernel"].permute(3, 2, 0, 1), weights["autoencoder/conv2/bias"]
    targets = F.normalize(F.conv2d(codes, kernel, bias).relu(), dim=1)
    assert_allclose(attended(targets, scores, "mean"), CASE.outputs["eval__att_prelogits"], **CASE.tolerance)
    assert_allclose(pooling(block3), attended(F.normalize(block3, dim=1), scores, "mean"), rtol=1e-6)


@pytest.mark.parametrize("over", OVER)
def test_weighted_sum_by_a_loop(over: str) -> None:
    feature_map, scores = draw(2, 5, 3, 4), draw(2, 1, 3, 4, seed=1).exp()
    found = attended(feature_map, scores, over)
    for image in range(2):
        total, weight = torch.zeros(5), torch.zeros(())
        for row in range(3):
            for column in range(4):
                total += scores[image, 0, row, column] * feature_map[image, :, row, column]
                weight += scores[image, 0, row, column]
        expected = {"mean": total / 12, "sum": total, "weights": total / weight}[over]
        torch.testing.assert_close(found[image], expected)


@torch.no_grad()
@pytest.mark.parametrize("over", OVER)
def test_raw_descriptors_keep_their_length(over: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        raw = POOLINGS.create("delf", {"descriptors": "raw", "over": over}, in_channels=6).eval()
    feature_map = draw(2, 6, 3, 4).relu()
    torch.testing.assert_close(raw(feature_map), attended(feature_map, raw.attention(feature_map), over))


def test_scores_that_underflow_count_evenly() -> None:
    feature_map = draw(1, 4, 2, 3)
    found = attended(feature_map, torch.zeros(1, 1, 2, 3), "weights")
    torch.testing.assert_close(found, feature_map.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attention_dim": 0}, "pooling.attention_dim must be at least 1, got 0"),
        ({"over": "men"}, "did you mean 'mean'"),
        ({"descriptors": "units"}, "did you mean 'unit'"),
    ],
    ids=str,
)
def test_options_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        POOLINGS.create("delf", options, in_channels=8)
