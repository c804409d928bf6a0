"""Weight files: their tensors and other entries, read without running code; one clear line for what cannot be read."""

import argparse
import random
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.reading import WRAPPERS, read_state, read_weights

TENSORS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2)}


class CfgNode(dict):
    """Stands for the configuration classes of training scripts."""


class Touch:
    """Unpickling one creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def written(path: Path, content: Any, form: str = "zip") -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


def same(state: dict[str, torch.Tensor]) -> bool:
    return list(state) == list(TENSORS) and all(torch.equal(state[key], TENSORS[key]) for key in TENSORS)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_safetensors_by_any_name(tmp_path: Path, name: str, prefix: str) -> None:
    save_file({prefix + key: value for key, value in TENSORS.items()}, tmp_path / name, {"epoch": "3"})
    file = read_weights(tmp_path / name)
    assert {key: value.tolist() for key, value in file.state.items()} == {k: v.tolist() for k, v in TENSORS.items()}
    assert (file.container, file.wrapper, file.extra) == ("safetensors", "", {"epoch": "3"})


@pytest.mark.parametrize("form", ["zip", "pickle"])
@pytest.mark.parametrize("wrapper", [*WRAPPERS, "my_network"])
def test_torch_files_in_their_wrappers(tmp_path: Path, wrapper: str, form: str) -> None:
    content = {"epoch": 3, wrapper: OrderedDict((f"module.{key}", value) for key, value in TENSORS.items())}
    file = read_weights(written(tmp_path / "w.safetensors", content, form))
    assert same(file.state)
    assert (file.container, file.wrapper, file.extra) == (f"torch {form}", wrapper, {"epoch": 3})


def test_a_bare_state_dict_with_entries_beside_the_tensors(tmp_path: Path) -> None:
    file = read_weights(written(tmp_path / "w.pth", {**TENSORS, "epoch": 3, 7: "seven"}))
    assert same(file.state)
    assert (file.wrapper, file.extra) == ("", {"epoch": 3, "7": "seven"})


def test_entries_in_the_wrapper_that_are_no_tensors_are_kept(tmp_path: Path) -> None:
    assert read_state(written(tmp_path / "w.pth", {"state_dict": {**TENSORS, "version": 2}}))[1] == {
        "state_dict.version": 2
    }


def test_the_network_comes_before_its_moving_average_and_a_configuration(tmp_path: Path) -> None:
    average = {key: value + 1 for key, value in TENSORS.items()}
    content = {"state_dict_ema": average, "model": {"depth": 50}, "net": TENSORS, "state_dict": {}}
    file = read_weights(written(tmp_path / "w.pth", content))
    assert file.wrapper == "net"
    assert same(file.state)
    assert file.extra["model"] == {"depth": 50}


def test_several_state_dicts_are_not_chosen_from(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'several state dicts \(first, second\).*torch\.save\(content\["first"\]'):
        read_weights(written(tmp_path / "w.pth", {"first": TENSORS, "second": TENSORS}))


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_a_published_training_checkpoint(tmp_path: Path, form: str) -> None:
    network = nn.Linear(3, 2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    content = {
        "epoch": 99,
        "model_state": network.state_dict(),
        "optimizer_state": optimiser.state_dict(),
        "cfg": "MODEL:\n  DEPTH: 50\n",
    }
    state, extra = read_state(written(tmp_path / "model_epoch_0100.pyth", content, form))
    assert torch.equal(state["weight"], network.weight)
    assert extra["cfg"] == "MODEL:\n  DEPTH: 50\n"
    assert len(extra["optimizer_state"]["state"]) == 2


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(3, dtype=np.int32),
        np.array([True, False]),
        np.ones(2, np.float16),
        np.array(["bridge", "tower"]),
        np.float64(0.5),
        np.int64(7),
        np.bool_(True),
    ],
    ids=lambda value: str(value.dtype),
)
def test_numpy_arrays_and_numbers_beside_the_weights(tmp_path: Path, value: Any) -> None:
    extra = read_state(written(tmp_path / "w.pth", {"state_dict": TENSORS, "best": value}))[1]
    assert np.array_equal(extra["best"], value)
    assert np.asarray(extra["best"]).dtype == value.dtype


@pytest.mark.parametrize("form", ["zip", "pickle"])
@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (argparse.Namespace(lr=0.1), r"argparse\.Namespace"),
        (CfgNode(lr=0.1), r"test_reading\.CfgNode"),
        (defaultdict(list), r"collections\.defaultdict"),
        (Path("data"), r"pathlib\.PosixPath"),
    ],
    ids=["namespace", "config", "defaultdict", "path"],
)
def test_a_class_of_the_training_script_is_named_with_the_mend(
    tmp_path: Path, entry: Any, named: str, form: str
) -> None:
    with pytest.raises(InputError, match=rf"it holds .*{named}.*weights_only=False.*torch\.save") as caught:
        read_weights(written(tmp_path / "w.pth", {"model_state": TENSORS, "cfg": entry}, form))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_a_whole_network_is_told_to_save_its_state_dict(tmp_path: Path, form: str) -> None:
    with pytest.raises(InputError, match=r"Linear, a whole network; .* save network\.state_dict\(\)"):
        read_weights(written(tmp_path / "w.pth", {"model": nn.Linear(2, 2)}, form))


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_nothing_in_a_file_is_run(tmp_path: Path, form: str) -> None:
    with pytest.raises(InputError, match="loads without running code"):
        read_weights(written(tmp_path / "w.pth", {"state_dict": TENSORS, "x": Touch(tmp_path / "ran")}, form))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("form", ["zip", "pickle", "safetensors"])
def test_damage_anywhere_is_one_line_about_the_file_or_leaves_it_readable(tmp_path: Path, form: str) -> None:
    whole, file = tmp_path / "whole", tmp_path / "w.pth"
    if form == "safetensors":
        save_file(TENSORS, whole)
    else:
        written(whole, {"state_dict": TENSORS, "epoch": 3}, form)
    content, draw = whole.read_bytes(), random.Random(0)
    refused = []
    for trial in range(60):
        damaged = bytearray(content[: draw.randrange(len(content))] if trial % 2 else content)
        for _ in range(4):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256) if damaged else 0
        file.write_bytes(damaged)
        try:
            read_weights(file)
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > 30
    assert [said for said in refused if not said.startswith(str(file)) or "\n" in said] == []


@pytest.mark.parametrize("cut", [1, 8, 20, 60])
@pytest.mark.parametrize("form", ["zip", "pickle", "safetensors"])
def test_a_file_that_lacks_its_end_says_so(tmp_path: Path, form: str, cut: int) -> None:
    file = tmp_path / "w.pth"
    if form == "safetensors":
        save_file(TENSORS, file)
    else:
        written(file, TENSORS, form)
    file.write_bytes(file.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"w\.pth .*(cut short|incomplete).*fetch it again"):
        read_weights(file)


def test_a_missing_file_names_what_was_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no weight file at .*absent\.pth; check backbone\.weights="):
        read_weights(tmp_path / "absent.pth", "backbone.weights=")
    with pytest.raises(InputError, match="no weight file at"):
        read_weights(tmp_path)


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "w.pth", TENSORS)
    assert same(read_weights("~/w.pth").state)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(1)], "holds a list, not a state dict"),
        (torch.ones(1), "holds a Tensor, not a state dict"),
        ({"epoch": 3, "optimizer": {"lr": 1}}, r"no tensors of a network \(its entries: epoch, optimizer\)"),
        ({}, r"no tensors of a network \(its entries: none\)"),
    ],
    ids=["list", "tensor", "no tensors", "empty"],
)
def test_a_file_without_weights_says_what_it_holds(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_weights(written(tmp_path / "w.pth", content))


def test_a_safetensors_file_without_tensors(tmp_path: Path) -> None:
    save_file({}, tmp_path / "w.safetensors", {"epoch": "3"})
    with pytest.raises(InputError, match=r"w\.safetensors holds no tensors"):
        read_weights(tmp_path / "w.safetensors")
