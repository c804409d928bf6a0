"""The matched triplet loss against the published code's numbers and against plain loops."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from parity_case import load

from retrieval_bench.methods.cfcd.matching import match, matched_triplet_loss, squared_distances

CASE = load(Path(__file__).parents[2] / "parity" / "madacos" / "stage2_triplet")


def published_maps():
    settings = CASE.settings
    gain = {key: torch.tensor(settings[f"{key}_gain"]).view(-1, 1, 1, 1) for key in ("base", "noise")}
    base, noise = (torch.from_numpy(CASE.inputs[settings[key]]) for key in ("base", "noise"))
    base = base.repeat_interleave(settings["tuple_size"], dim=0)
    return (base * gain["base"] + noise * gain["noise"]).relu().requires_grad_()


def options():
    return {key: CASE.settings[name] for key, name in (("ratio", "lowe_ratio"), ("margin", "margin"))}


def test_published_loss_and_gradient():
    maps = published_maps()
    triplet = matched_triplet_loss(maps, CASE.settings["tuple_size"], **options())
    logits, labels = (torch.from_numpy(CASE.inputs[CASE.settings[key]]) for key in ("logits", "label"))
    classification = F.cross_entropy(logits, labels)
    (classification + triplet).backward()
    assert_allclose(classification.item(), CASE.outputs["classification"], **CASE.tolerance)
    assert_allclose(triplet.item(), CASE.outputs["triplet"], **CASE.tolerance)
    assert_allclose((classification + triplet).item(), CASE.outputs["total"], **CASE.tolerance)
    assert_allclose(maps.grad.sum(dim=(2, 3)), CASE.outputs["grad_res4_sum_hw"], **CASE.tolerance)


def test_published_matches():
    size = CASE.settings["tuple_size"]
    maps = published_maps().detach().flatten(2)
    units = F.normalize(maps, dim=1).transpose(1, 2)
    anchor, positive = units[::size], units[1::size]
    found = match(squared_distances(anchor, positive), maps[1::size].sum(dim=1), options()["ratio"])
    for row in range(len(anchor)):
        columns = found.kept[row].nonzero()[:, 0]
        pairs = sorted(zip(found.anchor[row, columns].tolist(), columns.tolist(), strict=True))
        published = [CASE.outputs[f"match_{side}.{row}"].tolist() for side in ("query", "positive")]
        assert pairs == sorted(zip(*published, strict=True))


def naive(maps, size, ratio, margin):
    """Tuple by tuple, position by position."""
    total = maps.sum() * 0
    for start in range(0, len(maps), size):
        images = [F.normalize(image.flatten(1), dim=0).T for image in maps[start : start + size]]
        anchor, positive, *negatives = images
        attention = maps[start + 1].abs().sum(dim=0).flatten()
        order = sorted(range(len(positive)), key=lambda j: -attention[j].item())
        attended = set(order[: len(positive) // 2])
        for j, p in enumerate(positive):
            distances = [(a - p).norm().item() for a in anchor]
            ranked = sorted(range(len(anchor)), key=lambda i: distances[i])
            i = ranked[0]
            back = min(range(len(positive)), key=lambda k: (anchor[i] - positive[k]).norm().item())
            if back != j or j not in attended or distances[i] > ratio * distances[ranked[1]]:
                continue
            for negative in negatives:
                n = min(negative, key=lambda n: (anchor[i] - n).norm().item())
                gap = (anchor[i] - p).square().sum() - (anchor[i] - n).square().sum() + margin
                total = total + gap.clamp(min=0)
    return total


def drawn_maps(tuples, size, shape, seed, channels=6, noise=0.4):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(tuples, 1, channels, *shape, generator=generator, dtype=torch.float64)
    maps = base + noise * torch.randn(tuples, size, channels, *shape, generator=generator, dtype=torch.float64)
    return maps.flatten(0, 1)


@pytest.mark.parametrize(
    ("tuples", "size", "shape", "ratio", "margin"),
    [(3, 4, (3, 4), 0.9, 0.1), (1, 8, (2, 3), 0.95, 0.5), (2, 3, (5, 1), 0.7, 0.0), (2, 3, (1, 2), 1.0, 1.0)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_plain_loops(tuples, size, shape, ratio, margin, seed):
    maps = drawn_maps(tuples, size, shape, seed).requires_grad_()
    again = maps.detach().clone().requires_grad_()
    value = matched_triplet_loss(maps, size, ratio, margin)
    expected = naive(again, size, ratio, margin)
    value.backward()
    expected.backward()
    assert expected > 0
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(maps.grad, again.grad)


def test_tuples_are_summed():
    maps = drawn_maps(3, 4, (3, 3), seed=0)
    parts = [matched_triplet_loss(part, 4) for part in maps.split(4)]
    torch.testing.assert_close(matched_triplet_loss(maps, 4), sum(parts))


def test_attention_is_that_of_the_positive_and_halves_its_positions():
    squared = 1 - torch.eye(5)[None]
    attention = torch.tensor([[0.1, 3.0, 0.2, 2.0, 1.0]])
    found = match(squared, attention, 0.9)
    assert found.kept.tolist() == [[False, True, False, True, False]]
    assert found.anchor[found.kept].tolist() == [1, 3]


def test_matches_are_reciprocal():
    """The second position of the positive is nearest to the anchor's first, which is nearer to another."""
    squared = torch.tensor([[[0.01, 0.04], [1.0, 1.0]]])
    attention = torch.tensor([[0.0, 1.0]])
    assert not match(squared, attention, 0.9).kept.any()
    assert match(squared, attention.flip(1), 0.9).kept.tolist() == [[True, False]]


@pytest.mark.parametrize(("second", "kept"), [(1.01, True), (1.24, True), (0.99, False), (0.81, False)])
def test_the_ratio_is_of_distances(second, kept):
    squared = torch.tensor([[[0.81, 4.0], [second, 4.0]]])
    assert match(squared, torch.tensor([[1.0, 0.0]]), 0.9).kept.tolist() == [[kept, False]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 7)])
def test_identical_positions_match_nothing_and_leave_no_gradient(shape):
    maps = torch.ones(8, 5, *shape, requires_grad=True)
    value = matched_triplet_loss(maps, 4)
    value.backward()
    assert value.shape == ()
    assert value == 0
    assert torch.equal(maps.grad, torch.zeros_like(maps))


def test_empty_maps_have_finite_gradients():
    maps = torch.zeros(4, 5, 3, 3, requires_grad=True)
    matched_triplet_loss(maps, 4).backward()
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_maps_and_autocast(dtype):
    maps = drawn_maps(2, 4, (3, 3), seed=3).to(dtype)
    expected = matched_triplet_loss(maps.float(), 4)
    assert expected > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = matched_triplet_loss(maps, 4)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
