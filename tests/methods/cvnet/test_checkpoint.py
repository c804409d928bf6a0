"""Published files: whole, of the global network alone, with traces of the training; and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.methods.cvnet.checkpoint import MOMENTUM, recognises
from retrieval_bench.settings.errors import InputError

PARTS = {f"conv{n}.": f"f.{x}." for n, x in zip("123", "abc", strict=True)}
PARTS |= {f"bn{n}.": f"f.{x}_bn." for n, x in zip("123", "abc", strict=True)}
PARTS |= {"downsample.0.": "proj.", "downsample.1.": "bn."}
HEADS = {"projection.": "head.fc.", "pooling.": "head.pool."}


@pytest.fixture
def model(build):
    return build("cvnet", backbone="resnet18", matcher_dim=4, num_classes=None)


def published_name(key: str) -> str:
    """pycls's name of one of our tensors of the global network."""
    for ours, theirs in HEADS.items():
        if key.startswith(ours):
            return key.replace(ours, theirs)
    stage, _, rest = key.removeprefix("backbone.body.").partition(".")
    if not stage.startswith("layer"):
        return f"stem.{'conv' if stage == 'conv1' else 'bn'}.{rest}"
    block, _, rest = rest.partition(".")
    ours = next(part for part in PARTS if rest.startswith(part))
    return f"s{stage[-1]}.b{int(block) + 1}.{PARTS[ours]}{rest.removeprefix(ours)}"


def global_file(model, prefix: str = "encoder_q.") -> dict[str, Tensor]:
    """The global network under its published names."""
    state = model.state_dict()
    return {prefix + published_name(key): value for key, value in state.items() if not key.startswith("matcher.")}


def saved(path: Path, state: dict[str, Tensor], wrapper: str | None = "model_state") -> Path:
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 24}, path)
    return path


@pytest.mark.parametrize("wrapper", ["model_state", None])
@pytest.mark.parametrize("prefix", ["encoder_q.", "globalmodel.", "module.encoder_q."])
def test_the_global_network_alone(prefix, wrapper, model, pictures, tmp_path):
    file = saved(tmp_path / "cvnet.pyth", global_file(model, prefix), wrapper)
    loaded = rb.create_model("cvnet", weights=file, matcher_dim=4)
    images = pictures(1, 64, 48)
    assert torch.equal(loaded.describe(images), model.describe(images))
    assert loaded.settings["backbone"]["name"] == "resnet18"
    assert loaded.descriptor_dim == 16
    assert loaded.absent_weights
    assert all(name.startswith("matcher.") for name in loaded.absent_weights)
    assert loaded.unused_weights == {}
    with pytest.raises(InputError, match=r"cvnet\.pyth .* hold no re-ranking network; give a whole CVNet checkpoint"):
        loaded.match(images, images)


def test_it_can_be_trained_further(model, pictures, tmp_path):
    """The classifier starts anew, the momentum network from what was loaded."""
    file = saved(tmp_path / "cvnet.pyth", global_file(model))
    loaded = rb.create_model("cvnet", weights=file, matcher_dim=4, num_classes=3, queue_size=50).train()
    losses = loaded.losses(pictures(4, 48, 48), torch.tensor([0, 1, 0, 1]))
    assert losses["loss"].isfinite()
    assert torch.equal(loaded.contrast.network.projection.weight, model.projection.weight)
    assert {name.split(".")[0] for name in loaded.absent_weights} == {"matcher", "contrast", "loss"}


def test_a_classifier_fixes_the_classes(model, tmp_path):
    state = global_file(model, "globalmodel.") | {"desc_cls.weight": torch.rand(7, 16), "desc_cls.t": torch.rand(1)}
    loaded = rb.create_model("cvnet", weights=saved(tmp_path / "c.pyth", state), matcher_dim=4, queue_size=50)
    assert loaded.settings["num_classes"] == 7
    assert torch.equal(loaded.loss.weight, state["desc_cls.weight"])
    assert torch.equal(loaded.loss.t, state["desc_cls.t"])


def test_the_momentum_branch_of_a_training_is_named_as_unused(model, pictures, tmp_path):
    state = global_file(model)
    extra = {f"encoder_k.{key.removeprefix('encoder_q.')}": value for key, value in state.items()}
    extra |= {"queue": torch.rand(16, 8), "queue_ptr": torch.zeros(1)}
    loaded = rb.create_model("cvnet", weights=saved(tmp_path / "c.pyth", {**state, **extra}), matcher_dim=4)
    assert loaded.unused_weights == dict.fromkeys(extra, MOMENTUM)
    images = pictures(1, 48, 48)
    assert torch.equal(loaded.describe(images), model.describe(images))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"encoder_q.head.fc.bias": None}, "1 missing: projection.bias"),
        ({"encoder_q.extra.weight": torch.rand(2)}, r"1 unexpected: encoder_q\.extra\.weight"),
        ({"decoder.weight": torch.rand(2)}, r"1 unexpected: decoder\.weight"),
        ({"encoder_q.s2.b1.f.b.weight": torch.rand(1)}, r"1 misshaped: backbone\.body\.layer2\.0\.conv2"),
        ({"cv_learner.mlp.0.weight": torch.rand(128, 128)}, r"missing: matcher\."),
    ],
    ids=["missing", "unexpected in the network", "unexpected beside it", "misshaped", "half a matcher"],
)
def test_every_tensor_is_accounted_for(changed, said, model, tmp_path):
    state = {key: value for key, value in (global_file(model) | changed).items() if value is not None}
    with pytest.raises(InputError, match=said):
        rb.create_model("cvnet", weights=saved(tmp_path / "c.pyth", state), matcher_dim=4)


def test_other_files_are_not_taken_for_it():
    whole = ["globalmodel.stem.conv.weight", "globalmodel.head.fc.weight"]
    assert recognises(whole)
    assert not recognises([*whole, "localmodel.conv1.weight"]), "DELG"
    assert not recognises(["globalmodel.stem.conv.weight", "fc.weight", "fc_t.weight"]), "DOLG"
    assert not recognises(["encoder_k.stem.conv.weight", "encoder_k.head.fc.weight"])


def test_the_length_of_the_queue_belongs_to_the_weights(build, save, tmp_path):
    file = save(build("cvnet", queue_size=30), tmp_path / "own.ckpt")
    assert rb.create_model("cvnet", weights=file).settings["queue_size"] == 30
    with pytest.raises(InputError, match="was trained with queue_size=30, but queue_size=40 was asked for"):
        rb.create_model("cvnet", weights=file, queue_size=40)
