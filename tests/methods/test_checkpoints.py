"""Weight files: read without running code, named, and accounted for to the last tensor."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import retrieval_bench as rb
from retrieval_bench.methods.checkpoints import OWN, WRAPPERS, read_state, take
from retrieval_bench.methods.naming import pycls_to_timm, resnet_of, sequential_to_timm
from retrieval_bench.settings.errors import InputError


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
