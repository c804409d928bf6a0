"""Files as the authors' script saves them, for every fuser: sizes are read, every tensor is accounted for."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.pooling.spca.fusers import FUSERS
from retrieval_bench.settings.errors import InputError

PUBLISHED = {
    "cro": {"attention": "cross_attn", "norm": "ln", "lift": "proj"},
    "dec": {
        "attention": "cross_attn",
        "self_attention": "self_attn",
        "norm": "bn1",
        "self_norm": "bn2",
        "lift": "proj.0",
        "context_norm": "proj.1",
    },
    "cat": {"visual_norm": "bn1", "context_norm": "bn2", "lift": "proj"},
    "had": {"visual_norm": "bn1", "context_norm": "bn2", "reduce": "proj"},
    "orth": {"visual": "fc_t", "context": "fc"},
}
INSIDE = {"query": "q", "key": "k", "value": "v", "output": "proj", "hidden": "fc1"}
BRANCH = {"prior": "pi", "variance": "cov", "project": "proj_kv", "token_norm": "norm_templates", "norm": "p_norm"}


def published_name(key: str, kind: str) -> str:
    """The authors' name of one of our tensors."""
    room, _, rest = key.partition(".")
    if room == "backbone":
        first, _, rest = rest.removeprefix("body.").partition(".")
        block = {"conv1": "block1.0", "bn1": "block1.1"}.get(first) or f"block{int(first[-1]) + 1}"
        return f"backbone.{block}.{rest}"
    if room == "context":
        first, _, rest = rest.partition(".")
        return f"pos_branch.{BRANCH.get(first, first)}{'.' + rest if rest else ''}"
    if room == "fuser":
        first, *middle, last = rest.split(".")
        if first == "mlp":
            middle = ["fc2" if word == "output" else word for word in middle]
        return ".".join(
            ["fuser", PUBLISHED[kind].get(first, first), *(INSIDE.get(word, word) for word in middle), last]
        )
    return {"projection": "whiten", "loss": "classifier"}[room] + f".{rest}"


def as_published(model: RetrievalModule) -> dict[str, Tensor]:
    kind = model.settings["fuser"]
    state = {published_name(key, kind): value for key, value in model.state_dict().items() if key != "pooling.p"}
    if kind != "orth":
        state["whiten.weight"] = state["whiten.weight"][:, :, None, None]
    return state


def save(folder: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"epoch": 29, "state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "e.pth")
    return folder / "e.pth"


def small(**given: object) -> RetrievalModule:
    """ResNet-18, 16-D, three classes, four tokens; the same whenever it is built."""
    options = {"backbone": "resnet18", "dim": 16, "num_classes": 3, "codebook_size": 4, "local_dim": 8, "powers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return rb.create_model("spca", **{**options, **given})


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture
def state(model):
    """A file's tensors, to be spoilt."""
    return as_published(model)


@pytest.mark.parametrize("kind", FUSERS)
def test_every_fuser_is_recognised_and_sized(kind, pictures, tmp_path):
    model = small(fuser=kind)
    for name, parameter in model.named_parameters():
        if name.startswith(("context", "fuser")):
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    loaded = rb.create_model("spca", weights=save(tmp_path, as_published(model)))
    images = pictures(1, 64, 96)
    assert torch.equal(loaded.describe(images), model.describe(images))
    assert loaded.settings == model.settings
    assert loaded.unused_weights == {}
    assert loaded.absent_weights == ()
    assert loaded.weights_source == "e.pth (Zy-Zhang/SpCa)"


def test_a_file_without_its_classifier(model, state, pictures, tmp_path):
    del state["classifier.weight"]
    file = save(tmp_path, state)
    assert rb.create_model("spca", weights=file).settings["num_classes"] is None
    loaded = rb.create_model("spca", weights=file, num_classes=5)
    assert loaded.absent_weights == ("loss.weight",)
    assert torch.equal(loaded.describe(pictures(1, 64, 64)), model.describe(pictures(1, 64, 64)))


def test_the_pooling_is_free(state, pictures, tmp_path):
    file = save(tmp_path, state)
    images = pictures(1, 64, 64)
    usual, mac, sharper = (
        rb.create_model("spca", weights=file, pooling=pooling).describe(images)
        for pooling in (None, "mac", {"name": "gem", "p": 5.0})
    )
    assert not torch.allclose(usual, mac)
    assert not torch.allclose(usual, sharper)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fuser": "cat"}, "fuser=cro, but fuser=cat"),
        ({"codebook_size": 5}, "codebook_size=4, but codebook_size=5"),
        ({"local_dim": 9}, "local_dim=8, but local_dim=9"),
        ({"powers": 1}, "powers=2, but powers=1"),
        ({"backbone": "resnet50"}, "backbone=resnet18, but backbone=resnet50"),
    ],
    ids=str,
)
def test_what_the_file_fixes(given, said, state, tmp_path):
    with pytest.raises(InputError, match=said):
        rb.create_model("spca", weights=save(tmp_path, state), **given)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda state: state.pop("fuser.ln.bias"), r"1 missing: fuser\.norm\.bias"),
        (lambda state: state.pop("pos_branch.pi"), r"1 missing: context\.prior"),
        (lambda state: state.pop("pos_branch.p_norm.weight"), r"missing: context\.norm\.weight"),
        (lambda state: state.pop("whiten.bias"), r"1 missing: projection\.bias"),
        (lambda state: state.update({"fuser.ln.gain": torch.ones(1)}), r"1 unexpected: fuser\.norm\.gain"),
        (lambda state: state.update({"fuser.gate": torch.ones(1)}), r"1 unexpected: fuser\.gate"),
        (lambda state: state.update({"pos_branch.iter": torch.ones(1)}), r"1 unexpected: pos_branch\.iter"),
        (lambda state: state.update({"pos_branch.pi": torch.ones(1, 7)}), r"1 misshaped: context\.prior"),
    ],
    ids=["fuser", "branch", "powers", "projection", "inside", "module", "branch's own", "shape"],
)
def test_every_tensor_is_accounted_for(spoil, said, state, tmp_path):
    spoil(state)
    with pytest.raises(InputError, match=said):
        rb.create_model("spca", weights=save(tmp_path, state))
