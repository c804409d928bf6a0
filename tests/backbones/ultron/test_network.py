"""ULTRON's backbone through the public door."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from retrieval_bench.backbones import create_backbone, list_backbones
from retrieval_bench.backbones.base import Backbone
from retrieval_bench.settings.errors import InputError

SMALL = {"depths": [1, 1, 2, 1], "widths": [16, 32, 64, 96]}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(seed: int = 0, **options: object) -> Backbone:
    torch.manual_seed(seed)
    return create_backbone("ultron_s", **{**SMALL, **options}).eval()


def parameters_of(depths: tuple[int, ...], widths: tuple[int, ...], score_widths: tuple[int, ...]) -> int:
    """Counted by hand: stem, downsampling, CDConv blocks, SCALA blocks with 7 x 7 windows and 32-wide heads."""
    half, first = widths[0] // 2, widths[0]
    total = (9 * 3 * half + half) + (9 * half * first + first) + 2 * first
    total += sum(9 * before * after + 2 * after for before, after in itertools.pairwise(widths))
    for stage, (depth, c) in enumerate(zip(depths, widths, strict=True)):
        mlp = (4 * c * c + 4 * c) + (4 * c * c + c)
        if stage < 2:
            block = score_widths[stage] + 9 * c + 2 * c + mlp
        else:
            context = 3 * (9 * c + c) + (4 * c * c + c)
            block = 2 * 2 * c + (3 * c * c + 3 * c) + context + c // 32 * 13 * 13 + (c * c + c) + mlp
        total += depth * block
    return total


@pytest.mark.parametrize(
    ("name", "depths", "widths", "score_widths", "millions"),
    [
        ("ultron_s", (3, 5, 9, 5), (64, 128, 320, 512), (3, 5), 38.69),
        ("ultron_b", (5, 7, 18, 5), (96, 192, 384, 768), (3, 5), 96.17),
    ],
)
def test_parameters_of_the_two_sizes(
    name: str, depths: tuple, widths: tuple, score_widths: tuple, millions: float
) -> None:
    with torch.device("meta"):
        backbone = create_backbone(name, out_stages=(-4, -3, -2, -1))
    assert (backbone.channels, backbone.strides) == (widths, (4, 8, 16, 32))
    counted = sum(parameter.numel() for parameter in backbone.parameters())
    assert counted == parameters_of(depths, widths, score_widths)
    assert counted / 1e6 == pytest.approx(millions, abs=0.005)


def test_both_names_are_listed() -> None:
    assert {"ultron_s", "ultron_b"} <= set(list_backbones("ultron*"))


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (8, 500), (500, 8), (97, 64), (64, 64)], ids=str)
def test_maps_of_any_image(size: tuple[int, int]) -> None:
    backbone = build(out_stages=(-4, -3, -2, -1))
    assert backbone.channels == (16, 32, 64, 96)
    for feature_map, channels, stride in zip(
        backbone(draw(2, 3, *size)), backbone.channels, backbone.strides, strict=True
    ):
        assert feature_map.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert feature_map.isfinite().all()


@torch.no_grad()
def test_stages_are_counted_from_the_end_and_later_ones_are_left_out() -> None:
    images = draw(1, 3, 50, 40)
    whole = build(out_stages=(-4, -3, -2, -1))(images)
    for stages in ((-1,), (-2,), (-3, -1), (-4,)):
        part = build(out_stages=stages)
        assert part.channels == tuple(whole[stage].shape[1] for stage in stages)
        for feature_map, stage in zip(part(images), stages, strict=True):
            assert torch.equal(feature_map, whole[stage])
    assert not any(key.startswith("stages.2") for key in build(out_stages=(-3,)).state_dict())


@torch.no_grad()
def test_images_do_not_see_each_other() -> None:
    backbone, images = build(), draw(3, 3, 70, 45)
    alone = torch.cat([backbone(image[None])[0] for image in images])
    torch.testing.assert_close(backbone(images)[0], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_memory_layout_does_not_matter() -> None:
    backbone, images = build(), draw(2, 3, 64, 48)
    expected = backbone(images)[0]
    laid_out = backbone.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))[0]
    torch.testing.assert_close(laid_out, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_autocast() -> None:
    backbone, images = build(), draw(2, 3, 64, 48)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = backbone(images)[0].float()
    exact = backbone(images)[0]
    assert lowered.isfinite().all()
    assert torch.nn.functional.cosine_similarity(lowered.flatten(1), exact.flatten(1)).min() > 0.99


def test_gradients_reach_every_parameter() -> None:
    backbone = build(context_on="both", drop_path=0.0).train()
    backbone(draw(4, 3, 96, 96))[0].square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in backbone.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []
    assert [name for name, gradient in gradients.items() if gradient.ndim > 1 and not gradient.any()] == []


@torch.no_grad()
def test_skipped_blocks_follow_the_global_seed() -> None:
    backbone, images = build(drop_path=0.5).train(), draw(8, 3, 32, 32)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(backbone(images)[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {"head_width": 16},
        {"mlp_ratio": 3},
        {"downsampling": "patches"},
        {"norm": "batch"},
        {"kernel": 5},
        {"dilations": [1, 2, 3]},
        {"thresholds": "absolute"},
        {"levels": [0.6, 0.3]},
        {"gate": "none"},
        {"score_kernel": 7},
        {"neighbourhood": 3},
        {"context_on": "values"},
        {"context_dilations": [1, 2, 4]},
        {"context_dilations": [1, 2]},
        {"context_input": "without-map"},
        {"scaled": "sum"},
    ],
    ids=str,
)
def test_every_option_changes_the_maps(options: dict) -> None:
    images = draw(1, 3, 150, 130)
    changed, default = build(**options)(images)[0], build()(images)[0]
    assert changed.isfinite().all()
    assert not torch.equal(changed, default)


@torch.no_grad()
def test_weights_from_a_file(tmp_path: Path) -> None:
    donor = build(seed=5)
    torch.save(donor.state_dict(), tmp_path / "w.pth")
    images = draw(1, 3, 64, 64)
    assert torch.equal(build(weights=tmp_path / "w.pth")(images)[0], donor(images)[0])
    assert torch.equal(
        build(weights=str(tmp_path / "w.pth"), out_stages=(-2,))(images)[0], build(5, out_stages=(-2,))(images)[0]
    )


def test_weights_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    state = build().state_dict()
    del state["stages.0.1.conv.conv.weight"]
    state["stranger"] = torch.zeros(2)
    state["stages.0.0.0.weight"] = torch.zeros(8, 1, 3, 3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError) as error:
        build(weights=tmp_path / "w.pth")
    assert "1 missing: stages.0.1.conv.conv.weight;" in str(error.value)
    assert "1 unexpected: stranger;" in str(error.value)
    assert "1 misshaped: stages.0.0.0.weight (8, 1, 3, 3) for (8, 3, 3, 3)" in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pretrained": True}, r"no trained weights of ultron are published.*backbone\.weights=FILE"),
        ({"out_stages": (-5, -1)}, "four stages"),
        ({"depths": [1, 1, 1]}, "depths"),
        ({"depths": [1, 0, 1, 1]}, r"depths of ultron must be at least 1, got \(1, 0, 1, 1\)"),
        ({"widths": [16, 32, 64, 100]}, "head_width=32 does not divide a width of 100"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"mlp_ratio": 0}, "mlp_ratio"),
        ({"mlp_ratio": 0.001}, "mlp_ratio of ultron must leave a hidden channel"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio"),
        ({"thresholds": "quantile"}, "did you mean 'quantiles'"),
        ({"gates": "none"}, "did you mean 'gate'"),
    ],
    ids=str,
)
def test_wrong_options(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        build(**options)
    assert "\n" not in str(error.value)
