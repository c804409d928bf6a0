"""Weight files: read without running code, named, and accounted for to the last tensor."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import retrieval_bench as rb
from retrieval_bench.methods.checkpoints import (
    CheckpointFormat,
    Translation,
    load_weights,
    new_classifier,
    read_checkpoint,
    replaced_parts,
    take,
)
from retrieval_bench.methods.naming import pycls_to_timm, resnet_of, sequential_to_timm
from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.own_entry import OWN
from retrieval_bench.weights.provenance import PROVENANCE, Provenance
from retrieval_bench.weights.reading import WRAPPERS, read_state


class Touch:
    """Unpickling one creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(params=["gem", "delg"])
def method(request):
    return request.param


@pytest.fixture
def model(method, build):
    return build(method)


@pytest.mark.parametrize("wrapper", [*WRAPPERS, None], ids=str)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_and_prefixes_are_taken_off(tmp_path, wrapper, prefix):
    tensors = {f"{prefix}layer.weight": torch.ones(2), f"{prefix}layer.bias": torch.zeros(1)}
    torch.save(tensors if wrapper is None else {"epoch": 3, wrapper: tensors}, tmp_path / "weights.pth")
    state, extra = read_state(tmp_path / "weights.pth")
    assert list(state) == ["layer.weight", "layer.bias"]
    assert extra == ({} if wrapper is None else {"epoch": 3})


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_an_own_checkpoint_in_a_wrapper_with_a_prefix(model, method, wrapper, pictures, tmp_path):
    tensors = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({wrapper: tensors, OWN: model.own_entry()}, tmp_path / "own.pth")
    images = pictures(1, 40, 40)
    loaded = rb.create_model(method, weights=tmp_path / "own.pth")
    assert torch.equal(loaded.describe(images), model.describe(images))


def test_an_own_checkpoint_as_safetensors(model, method, pictures, tmp_path):
    save_file(model.state_dict(), tmp_path / "own.safetensors", metadata={OWN: model.own_entry()})
    images = pictures(1, 40, 40)
    loaded = rb.create_model(method, weights=str(tmp_path / "own.safetensors"))
    assert torch.equal(loaded.describe(images), model.describe(images))


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_file_in_any_wrapper(build, pictures, tmp_path, wrapper, prefix):
    model = build("gem", backbone="resnet18", variant="cirtorch", dim=None, num_classes=None)
    positions = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    published = {}
    for key, value in model.state_dict().items():
        if key.startswith("backbone.body."):
            stage, _, rest = key.removeprefix("backbone.body.").partition(".")
            published[f"{prefix}features.{positions[stage]}.{rest}"] = value
        else:
            published[prefix + key.replace("pooling.", "pool.").replace("projection.", "whiten.")] = value
    torch.save({wrapper: published}, tmp_path / "gem.pth")
    loaded = rb.create_model("gem", weights=tmp_path / "gem.pth")
    images = pictures(1, 64, 48)
    assert torch.equal(loaded.describe(images), model.describe(images))
    assert loaded.weights_source == "gem.pth (cirtorch)"


def test_code_in_a_file_is_refused_and_not_run(method, tmp_path):
    marker, file = tmp_path / "ran", tmp_path / "evil.pth"
    torch.save({"state_dict": {"a": torch.ones(1)}, "meta": Touch(marker)}, file)
    with pytest.raises(InputError, match=r"evil\.pth is no torch checkpoint that loads without running code"):
        rb.create_model(method, weights=file)
    assert not marker.exists()


def test_a_plain_pickle_with_code_is_refused_and_not_run(method, tmp_path):
    marker, file = tmp_path / "ran", tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps(Touch(marker)))
    with pytest.raises(InputError, match=r"evil\.pkl"):
        rb.create_model(method, weights=file)
    assert not marker.exists()


def test_a_whole_module_is_refused(method, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(InputError, match="loads without running code"):
        rb.create_model(method, weights=tmp_path / "module.pth")


def test_numpy_arrays_beside_the_weights_are_read(tmp_path):
    content = {"state_dict": {"a": torch.ones(1)}, "meta": {"P": np.eye(2), "m": np.zeros(2, np.float32)}}
    torch.save(content, tmp_path / "whitened.pth")
    extra = read_state(tmp_path / "whitened.pth")[1]
    assert np.array_equal(extra["meta"]["P"], np.eye(2))


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "."])
def test_a_missing_file(method, tmp_path, name):
    with pytest.raises(InputError, match=r"no weight file at .*; check weights="):
        rb.create_model(method, weights=tmp_path / name)


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x02}q\x00", bytes(1000)], ids=["empty", "text", "cut", "zeros"]
)
def test_a_damaged_file_is_named_in_one_line(method, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name) as caught:
        rb.create_model(method, weights=tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_cut_in_half(model, method, save, tmp_path):
    file = save(model, tmp_path / "own.ckpt")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"own\.ckpt"):
        rb.create_model(method, weights=file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(1)], "holds a list, not a state dict"),
        (torch.ones(1), "holds a Tensor, not a state dict"),
        ({"epoch": 3}, "holds no tensors"),
        ({"state_dict": {}}, "holds no tensors"),
        ({"odd.weight": torch.ones(1)}, r"in no format known for method .* \(its keys begin odd\.weight\)"),
    ],
    ids=["list", "tensor", "no tensors", "empty", "unknown"],
)
def test_a_file_without_weights_says_what_it_holds(method, tmp_path, content, said):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=said):
        rb.create_model(method, weights=tmp_path / "weights.pth")


def test_the_checkpoint_of_another_method_is_named(build, save, tmp_path):
    file = save(build("gem"), tmp_path / "own.ckpt")
    with pytest.raises(InputError, match=r"holds method 'gem', not 'delg'; use create_model\('gem'\)"):
        rb.create_model("delg", weights=file)


@pytest.mark.parametrize("entry", ["{", "[]", json.dumps({"method": "gem"})])
def test_a_damaged_entry_of_our_own_is_an_input_error(build, save, tmp_path, entry):
    file = save(build("gem"), tmp_path / "own.ckpt", **{OWN: entry})
    with pytest.raises(InputError, match=r"own\.ckpt"):
        rb.create_model("gem", weights=file)


def test_missing_unexpected_and_misshaped_tensors_are_all_listed(model, method, tmp_path):
    state = model.state_dict()
    first = next(iter(state))
    del state["projection.weight"], state[first]
    state["extra.one"] = torch.ones(1)
    state["projection.bias"] = torch.zeros(5)
    torch.save({"state_dict": state, OWN: model.own_entry()}, tmp_path / "own.ckpt")
    with pytest.raises(InputError) as caught:
        rb.create_model(method, weights=tmp_path / "own.ckpt")
    said = str(caught.value)
    assert "2 missing: " in said
    assert "projection.weight" in said
    assert first in said
    assert "1 unexpected: extra.one" in said
    assert "1 misshaped: projection.bias (5,) for (16,)" in said
    assert "\n" not in said


def test_of_many_the_number_is_said(model, method, tmp_path):
    kept = {key: value for key, value in model.state_dict().items() if not key.startswith("backbone.")}
    expected = sum(
        key.startswith("backbone.") and not key.endswith("num_batches_tracked") for key in model.state_dict()
    )
    torch.save({"state_dict": kept, OWN: model.own_entry()}, tmp_path / "own.ckpt")
    with pytest.raises(InputError, match=rf" {expected} missing: .* \.\.\."):
        rb.create_model(method, weights=tmp_path / "own.ckpt")


def test_batch_counters_may_be_missing_or_of_one_element(model, method, pictures, tmp_path):
    state = {
        key: value.reshape(1) if key.endswith("num_batches_tracked") else value
        for key, value in model.state_dict().items()
        if key != "backbone.body.bn1.num_batches_tracked"
    }
    torch.save({"state_dict": state, OWN: model.own_entry()}, tmp_path / "own.ckpt")
    images = pictures(1, 40, 40)
    loaded = rb.create_model(method, weights=tmp_path / "own.ckpt")
    assert torch.equal(loaded.describe(images), model.describe(images))


def test_take_removes_and_explains():
    state = {"head.a": torch.ones(1), "body.b": torch.ones(1)}
    assert take(state, "head.", "not used") == {"head.a": "not used"}
    assert list(state) == ["body.b"]


def test_published_names():
    assert pycls_to_timm("s3.b1.f.a.weight") == "layer3.0.conv1.weight"
    assert pycls_to_timm("s1.b1.proj.weight") == "layer1.0.downsample.0.weight"
    assert pycls_to_timm("s1.b1.bn.running_mean") == "layer1.0.downsample.1.running_mean"
    assert pycls_to_timm("s4.b3.f.c_bn.bias") == "layer4.2.bn3.bias"
    assert pycls_to_timm("stem.bn.weight") == "bn1.weight"
    assert pycls_to_timm("head.fc.weight") is None
    assert pycls_to_timm("s3.b1.f.d.weight") is None
    assert sequential_to_timm("7.2.bn3.bias") == "layer4.2.bn3.bias"
    assert sequential_to_timm("0.weight") == "conv1.weight"
    assert sequential_to_timm("2.weight") is None


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_the_depth_of_a_resnet_is_read_from_its_keys(name):
    with torch.device("meta"):
        keys = list(timm.create_model(name).state_dict())
    assert resnet_of(keys) == name


def test_a_resnet_of_another_depth_is_refused():
    with pytest.raises(InputError, match=r"\(1, 0, 0, 0\) blocks per stage"):
        resnet_of(["layer1.0.conv1.weight"])


PUBLISHED = CheckpointFormat(
    "authors",
    recognises=lambda keys: "net.body.weight" in keys,
    translate=lambda state, extra: Translation(
        {"backbone.weight": state["net.body.weight"], "pooling.p": state["net.p"]},
        settings={"dim": len(extra["meta"]["classes"])},
        unused=take(state, "queue.", "of the training"),
    ),
)
"""A format that wants ``net.p`` and ``meta``."""


class Small(nn.Module):
    """A network of the parts that every method has."""

    def __init__(self, p: int = 1, classes: int = 3, **more: int):
        super().__init__()
        self.backbone = nn.Linear(2, 2, bias=False)
        self.pooling = nn.ParameterDict({"p": torch.zeros(p)} | {key: torch.zeros(size) for key, size in more.items()})
        self.loss = nn.ParameterDict({"weight": torch.zeros(classes, 2), "t": torch.zeros(1)})


def stored(path: Path, network: nn.Module, method: str = "small", **settings: object) -> Path:
    """An own checkpoint whose tensors are all ones."""
    for tensor in network.parameters():
        nn.init.ones_(tensor)
    entry = json.dumps({"method": method, "settings": settings, "trained_on": "pictures"})
    torch.save({"state_dict": network.state_dict(), OWN: entry}, path)
    return path


def test_a_part_wrapped_for_parallel_training_is_recognised(tmp_path):
    state = {"net.module.body.weight": torch.ones(2, 2), "net.module.p": torch.ones(1), "queue.a": torch.ones(1)}
    torch.save({"state_dict": state, "meta": {"classes": [1, 2]}}, tmp_path / "w.pth")
    checkpoint = read_checkpoint(tmp_path / "w.pth", (PUBLISHED,), method="small")
    assert list(checkpoint.translation.state) == ["backbone.weight", "pooling.p"]
    assert checkpoint.names == {"backbone.weight": "net.module.body.weight", "pooling.p": "net.module.p"}
    assert checkpoint.translation.unused == {"queue.a": "of the training"}
    assert (checkpoint.settings, checkpoint.foreign) == ({"dim": 2}, False)


@pytest.mark.parametrize(
    ("state", "extra", "said"),
    [
        (["net.body.weight"], {"meta": {"classes": []}}, "KeyError: 'net.p'"),
        (["net.body.weight", "net.p"], {}, "KeyError: 'meta'"),
        (["net.body.weight", "net.p"], {"meta": None}, "TypeError"),
    ],
    ids=["tensor", "entry", "kind"],
)
def test_a_file_that_lacks_what_its_format_needs_is_an_input_error(tmp_path, state, extra, said):
    torch.save({"state_dict": {key: torch.ones(2, 2) for key in state}, **extra}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=rf"w\.pth looks like authors, but lacks what that needs .*{said}"):
        read_checkpoint(tmp_path / "w.pth", (PUBLISHED,), method="small")


def test_what_a_format_refuses_names_the_file(tmp_path):
    torch.save({"state_dict": {"layer1.0.conv1.weight": torch.ones(1)}}, tmp_path / "w.pth")
    refusing = CheckpointFormat("odd", lambda keys: True, lambda state, extra: Translation({}, {"x": resnet_of(state)}))
    with pytest.raises(InputError, match=r"w\.pth \(odd\): the weights hold a ResNet of"):
        read_checkpoint(tmp_path / "w.pth", (refusing,), method="small")


def test_the_checkpoint_of_a_method_that_it_builds_on(tmp_path):
    file = stored(tmp_path / "w.ckpt", Small(extra=4), "cvnet", dim=2, temperature=0.1)
    checkpoint = read_checkpoint(file, (), method="superglobal", also=("cvnet",))
    assert checkpoint.foreign
    assert checkpoint.settings_for(["dim", "backbone"]) == {"dim": 2}
    model = Small()
    load_weights(model, checkpoint)
    assert all(tensor.eq(1).all() for tensor in model.parameters())
    assert model.unused_weights == {"pooling.extra": "belongs to method cvnet, not to superglobal"}
    assert model.absent_weights == ()
    assert model.weights_source == f"w.ckpt ({OWN}, method cvnet)"
    assert model.trained_on == "pictures"


def test_of_its_own_checkpoint_a_method_takes_every_setting(tmp_path):
    checkpoint = read_checkpoint(
        stored(tmp_path / "w.ckpt", Small(), dim=2, odd=1), (), method="small", also=("cvnet",)
    )
    assert not checkpoint.foreign
    assert checkpoint.settings_for(["dim"]) == {"dim": 2, "odd": 1}


def test_the_checkpoint_of_another_method_still_has_to_hold_every_tensor(tmp_path):
    checkpoint = read_checkpoint(stored(tmp_path / "w.ckpt", Small(), "cvnet"), (), method="small", also=("cvnet",))
    with pytest.raises(InputError, match=r"1 missing: pooling\.more$"):
        load_weights(Small(more=2), checkpoint)
    with pytest.raises(InputError, match=r"1 misshaped: pooling\.p \(1,\) for \(2,\)$"):
        load_weights(Small(p=2), checkpoint)


def test_a_method_that_is_not_named_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds method 'delg', not 'superglobal'"):
        read_checkpoint(stored(tmp_path / "w.ckpt", Small(), "delg"), (), method="superglobal", also=("cvnet",))


def test_a_swapped_part_takes_what_fits_and_names_the_rest(tmp_path):
    checkpoint = read_checkpoint(stored(tmp_path / "w.ckpt", Small(old=2, both=3)), (), method="small")
    model = Small(p=5, new=2, both=3)
    load_weights(model, checkpoint, replaced={"pooling.": "gemp"})
    replaced = "pooling was replaced by gemp"
    assert model.unused_weights == {"pooling.old": replaced, "pooling.p": replaced}
    assert set(model.absent_weights) == {"pooling.p", "pooling.new"}
    assert model.pooling["both"].eq(1).all()
    assert model.pooling["p"].eq(0).all()
    assert model.backbone.weight.eq(1).all()


def test_a_swapped_part_excuses_nothing_outside_itself(tmp_path):
    checkpoint = read_checkpoint(stored(tmp_path / "w.ckpt", Small(old=2)), (), method="small")
    with pytest.raises(InputError, match=r"1 unexpected: pooling\.old$"):
        load_weights(Small(), checkpoint, replaced={"loss.": "cosface"})
    with pytest.raises(InputError, match=r"1 misshaped: loss\.weight \(3, 2\) for \(4, 2\)$"):
        load_weights(Small(classes=4, old=2), checkpoint, replaced={"pooling.": "gemp"})


def test_a_refused_file_leaves_the_model_as_it_was(tmp_path):
    checkpoint = read_checkpoint(stored(tmp_path / "w.ckpt", Small()), (), method="small")
    model = Small(more=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError):
        load_weights(model, checkpoint)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not hasattr(model, "weights_source")


@pytest.mark.parametrize("classes", [3, 4], ids=["same shape", "other shape"])
def test_a_new_classifier_starts_with_everything_below_its_prefix(tmp_path, classes):
    checkpoint = read_checkpoint(stored(tmp_path / "w.ckpt", Small(classes=3), num_classes=3), (), method="small")
    model = Small(classes=classes)
    load_weights(model, checkpoint, renewed={"loss.": "trained for 3 classes"})
    assert model.unused_weights == {"loss.weight": "trained for 3 classes", "loss.t": "trained for 3 classes"}
    assert set(model.absent_weights) == {"loss.weight", "loss.t"}
    assert model.loss["t"].eq(0).all()
    assert model.pooling["p"].eq(1).all()


@pytest.mark.parametrize(
    ("held", "asked", "said"),
    [
        (3, None, None),
        (3, 3, None),
        (None, None, None),
        (3, 5, "trained for 3 classes, the model has 5"),
        (None, 5, "trained for no classes, the model has 5"),
    ],
)
def test_when_the_classifier_is_new(tmp_path, held, asked, said):
    settings = {} if held is None else {"num_classes": held}
    checkpoint = read_checkpoint(stored(tmp_path / "w.ckpt", Small(), **settings), (), method="small")
    expected = {} if said is None else {"loss.": said, "local.classifier.": said}
    assert new_classifier(checkpoint, asked, ("loss.", "local.classifier.")) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {}),
        ({"pooling": {"name": "gem", "p": 4}}, {}),
        ({"pooling": {"p": 4}}, {}),
        ({"pooling": {"name": "gemp"}}, {"pooling.": "gemp"}),
        ({"pooling": {"name": "gem"}, "loss": {"name": "cosface"}}, {"loss.": "cosface"}),
        ({"backbone": {"name": "resnet18"}, "dim": 3}, {}),
    ],
    ids=["nothing", "same", "options", "pooling", "untold", "backbone"],
)
def test_which_parts_were_replaced(tmp_path, wanted, expected):
    settings = {"pooling": {"name": "gem"}, "backbone": {"name": "resnet50"}}
    checkpoint = read_checkpoint(stored(tmp_path / "w.ckpt", Small(), **settings), (), method="small")
    assert replaced_parts(checkpoint, wanted) == expected


def test_leftovers_of_a_swap_go_by_their_published_names(tmp_path):
    state = {"net.body.weight": torch.ones(2, 2), "net.p": torch.ones(1)}
    torch.save({"state_dict": state, "meta": {"classes": [1]}}, tmp_path / "w.pth")
    checkpoint = read_checkpoint(tmp_path / "w.pth", (PUBLISHED,), method="small")
    model = Small(p=2)
    load_weights(model, checkpoint, {"pooling.": "gemmp"}, {"loss.": "new"})
    assert model.unused_weights == {"net.p": "pooling was replaced by gemmp"}
    assert set(model.absent_weights) == {"pooling.p", "loss.weight", "loss.t"}


def test_what_a_conversion_left_out_is_absent_again(tmp_path):
    network = Small()
    origin = Provenance("a.pth", "00", "authors", "2025", "0", "pictures", absent=("loss.weight", "loss.t"))
    kept = {key: value for key, value in network.state_dict().items() if not key.startswith("loss.")}
    entry = json.dumps({"method": "small", "settings": {}, "trained_on": "pictures"})
    save_file(kept, tmp_path / "w.safetensors", {OWN: entry, PROVENANCE: origin.to_json()})
    load_weights(network, read_checkpoint(tmp_path / "w.safetensors", (), method="small"))
    assert set(network.absent_weights) == {"loss.weight", "loss.t"}
    assert network.weights_source == f"w.safetensors ({OWN}), converted from a.pth (authors)"
