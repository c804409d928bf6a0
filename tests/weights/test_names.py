"""Prefixes of parallel and compiled training come off; names that merely look like them stay."""

import pytest
import torch

from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.names import bare, bare_inside, rename


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("conv1.weight", "conv1.weight"),
        ("module.conv1.weight", "conv1.weight"),
        ("module.module.conv1.weight", "conv1.weight"),
        ("_orig_mod.module.conv1.weight", "conv1.weight"),
        ("module._orig_mod.conv1.weight", "conv1.weight"),
        ("modules.conv1.weight", "modules.conv1.weight"),
        ("head.module.weight", "head.module.weight"),
    ],
)
def test_prefixes_in_front(key: str, name: str) -> None:
    assert bare(key) == name


def test_a_wrapped_part_loses_its_wrapper() -> None:
    keys = ["globalmodel.module.stem.weight", "globalmodel.module._orig_mod.s1.weight", "fc.weight", "scale"]
    expected = ["globalmodel.stem.weight", "globalmodel.s1.weight", "fc.weight", "scale"]
    assert list(bare_inside(keys).values()) == expected


def test_a_layer_called_module_beside_others_keeps_its_name() -> None:
    keys = ["head.module.weight", "head.norm.weight", "module", "_orig_mod"]
    assert bare_inside(keys) == {key: key for key in keys}


def test_two_tensors_of_one_name_are_refused() -> None:
    state = {"a": torch.ones(1), "module.a": torch.zeros(1)}
    with pytest.raises(InputError, match=r"w\.pth holds a twice, with and without a wrapper's prefix"):
        rename(state, {key: bare(key) for key in state}, "w.pth")
