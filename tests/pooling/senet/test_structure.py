"""The structural module against the published layers, which are three-dimensional."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retrieval_bench.pooling.senet import structure
from retrieval_bench.pooling.senet.self_similarity import self_similarity
from retrieval_bench.pooling.senet.structure import StructuralModule
from retrieval_bench.settings.errors import InputError


def module(channels=6, mid_dim=4, unfold_size=7, kernel_size=3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = StructuralModule(channels, mid_dim, unfold_size, kernel_size)
        for layer in built.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.running_mean, std=0.1)
                nn.init.uniform_(layer.running_var, 0.5, 1.5)
        return built.eval()


def feature_map(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def published_encoder(ours):
    """The same layers as Conv3d and BatchNorm3d over (B, C, positions, rows, columns)."""
    layers = []
    for conv, norm, _ in ours:
        conv3d = nn.Conv3d(conv.in_channels, conv.out_channels, (1, *conv.kernel_size))
        conv3d.load_state_dict({"weight": conv.weight.detach()[:, :, None], "bias": conv.bias.detach()})
        norm3d = nn.BatchNorm3d(norm.num_features)
        norm3d.load_state_dict(copy.deepcopy(norm.state_dict()))
        layers += [conv3d, norm3d, nn.ReLU()]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("sizes", [(7, 3), (5, 3), (3, 3), (5, 2), (3, 1)], ids=str)
def test_equals_three_dimensional_layers(sizes, mode):
    ours = module(unfold_size=sizes[0], kernel_size=sizes[1]).train(mode == "train")
    theirs = published_encoder(ours.encoder).train(mode == "train")
    reduced = feature_map(2, 4, 3, 5) - 0.5
    similarity = self_similarity(F.normalize(reduced, dim=1), sizes[0])
    volume = similarity.permute(0, 3, 1, 2, 4, 5).flatten(2, 3)  # (B, C, positions, size, size)
    expected = theirs(volume).mean(dim=(3, 4)).unflatten(2, (3, 5))
    torch.testing.assert_close(ours.encoded(reduced), expected, atol=1e-6, rtol=1e-5)
    last = [layer for layer in theirs if isinstance(layer, nn.BatchNorm3d)][-1]
    torch.testing.assert_close(ours.encoder[-1][1].running_mean, last.running_mean)
    torch.testing.assert_close(ours.encoder[-1][1].running_var, last.running_var)


def test_the_whole_module_by_its_formula():
    built, given = module(), feature_map(2, 6, 3, 4)
    expanded = built.expand_norm(built.expand(built.encoded(built.reduce(given))))
    first, _, second = built.feed_forward
    expected = second(F.relu(first(given + expanded)))
    torch.testing.assert_close(built(given), expected)
    assert (built(given) < 0).any(), "nothing follows the last layer"


@pytest.mark.parametrize("at_once", [1, 4 * 49 * 5, 4 * 49 * 13, 4 * 49 * 40])
def test_strips_change_nothing(at_once, monkeypatch):
    built, given = module(), feature_map(3, 4, 6, 5)
    expected = built.encoded(given)
    seen = []
    built.encoder.register_forward_hook(lambda layer, inputs, output: seen.append(len(inputs[0])))
    monkeypatch.setattr(structure, "AT_ONCE", at_once)
    torch.testing.assert_close(built.encoded(given), expected)
    assert sum(seen) == 3 * 6 * 5
    assert max(seen) <= max(5, at_once // (4 * 49)), "a row of positions is the least that is held"


def test_training_sees_all_positions_together(monkeypatch):
    monkeypatch.setattr(structure, "AT_ONCE", 1)
    built, seen = module().train(), []
    built.encoder.register_forward_hook(lambda layer, inputs, output: seen.append(len(inputs[0])))
    built.encoded(feature_map(3, 4, 6, 5))
    assert seen == [3 * 6 * 5]


@pytest.mark.parametrize("size", [(1, 1), (1, 16), (16, 1), (2, 3)], ids=str)
def test_any_size(size):
    enriched = module()(feature_map(2, 6, *size))
    assert enriched.shape == (2, 6, *size)
    assert enriched.isfinite().all()


def test_a_map_of_zeros_and_half_precision_stay_finite():
    assert module()(torch.zeros(1, 6, 3, 3)).isfinite().all()
    given = 100 * feature_map(1, 6, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = module()(given)
    torch.testing.assert_close(half.float(), module()(given), rtol=0.05, atol=0.5)


def test_the_published_number_of_parameters():
    with torch.device("meta"):
        built = StructuralModule(2048, 256, 7, 3)
    assert sum(parameter.numel() for parameter in built.parameters()) == 11_219_200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mid_dim": 0}, "mid_dim must be at least 1, got 0"),
        ({"unfold_size": 6}, "unfold_size must be odd and at least 3, got 6"),
        ({"unfold_size": 1}, "unfold_size must be odd and at least 3, got 1"),
        ({"kernel_size": 4}, "kernel_size must be 1, 2 or 3, got 4"),
    ],
    ids=str,
)
def test_sizes_that_leave_nothing(given, said):
    with pytest.raises(InputError, match=said):
        module(**given)
