"""part_name: what every backbone passes, and what this one promises."""

from pathlib import Path
from typing import Any

import pytest
import torch

from retrieval_bench import contracts
from retrieval_bench.backbones import create_backbone
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.plugins import load_plugins

load_plugins([Path(__file__).with_name("part_name.py")])

IMAGES = torch.rand(2, 3, 70, 41, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("which", contracts.check_names("backbone"))
def test_contract(which: str) -> None:
    """What every built-in backbone passes too."""
    contracts.check("backbone", "part_name", which)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_maps_have_the_channels_and_strides_that_are_said(norm: str) -> None:
    """Sizes that no stride divides are rounded up."""
    backbone = create_backbone("part_name", out_stages=(-4, -3, -2, -1), width=8, norm=norm).eval()
    shapes = [tuple(feature_map.shape[1:]) for feature_map in backbone(IMAGES)]
    sizes = [(-(-70 // stride), -(-41 // stride)) for stride in backbone.strides]
    assert shapes == [(channels, *size) for channels, size in zip(backbone.channels, sizes, strict=True)]


def test_a_shifted_image_gives_shifted_maps() -> None:
    """The idea itself, where the shift is a whole position of the map; edges have other neighbours."""
    backbone = create_backbone("part_name", out_stages=(-4,), width=8, depth=1).eval()
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    (straight,), (shifted,) = backbone(image), backbone(image.roll(8, dims=3))
    torch.testing.assert_close(shifted[..., 6:-4], straight[..., 4:-6], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"width": 9}, {"depth": 0}, {"norm": "layer"}, {"widht": 8}], ids=str)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    """Values that are impossible, or misspelt."""
    with pytest.raises(InputError):
        create_backbone("part_name", **options)


def test_stages_that_there_are_not_are_refused() -> None:
    """Five of four."""
    with pytest.raises(InputError, match="4 stages"):
        create_backbone("part_name", out_stages=(-5,))
