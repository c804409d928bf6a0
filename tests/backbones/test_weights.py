"""Backbone weights from a file: every tensor accounted for."""

from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from retrieval_bench.backbones import create_backbone
from retrieval_bench.backbones.weights import CIRTORCH, load_backbone_weights
from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.reading import read_weights


def donor(name: str = "resnet18") -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return timm.create_model(name).state_dict()


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
def test_safetensors_of_the_whole_model(tmp_path: Path, name: str) -> None:
    state = donor(name)
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "w.safetensors")
    body = create_backbone(name, weights=tmp_path / "w.safetensors").body
    again = create_backbone(name).body
    unused = load_backbone_weights(again, read_weights(tmp_path / "w.safetensors"), later=state)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in body.state_dict().items())
    assert len(unused) + len(body.state_dict()) == len(state)
    assert set(unused.values()) <= {"classifier of the pre-training", "beyond the last stage in use"}


def test_wrapped_torch_file(tmp_path: Path) -> None:
    state = donor()
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": v for key, v in state.items()}}, tmp_path / "w.pth")
    body = create_backbone("resnet18", weights=tmp_path / "w.pth").body
    assert all(torch.equal(value, state[key]) for key, value in body.state_dict().items())


def test_bare_sequential_of_cirtorch(tmp_path: Path) -> None:
    positions = {ours: theirs for theirs, ours in CIRTORCH.items()}
    state = {key: value for key, value in donor().items() if not key.startswith("fc.")}
    renamed = {positions[f"{key.split('.')[0]}."] + key.split(".", 1)[1]: value for key, value in state.items()}
    torch.save(renamed, tmp_path / "w.pth")
    body = create_backbone("resnet18", weights=tmp_path / "w.pth").body
    assert all(torch.equal(value, state[key]) for key, value in body.state_dict().items())


def test_later_stages_and_the_classifier_are_named(tmp_path: Path) -> None:
    state = donor()
    torch.save(state, tmp_path / "w.pth")
    body = create_backbone("resnet18", out_stages=(-2,)).body
    unused = load_backbone_weights(body, read_weights(tmp_path / "w.pth"), later=state)
    assert unused["fc.weight"] == "classifier of the pre-training"
    assert unused["layer4.0.conv1.weight"] == "beyond the last stage in use"
    assert all(key.startswith(("fc.", "layer4.")) for key in unused)


def test_tensors_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    state = donor()
    del state["layer1.0.conv1.weight"]
    state["stranger"] = torch.zeros(2)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(InputError) as error:
        create_backbone("resnet18", weights=tmp_path / "w.pth")
    assert "1 missing: layer1.0.conv1.weight;" in str(error.value)
    assert "1 unexpected: stranger;" in str(error.value)
    assert "1 misshaped: conv1.weight (64, 1, 7, 7) for (64, 3, 7, 7)" in str(error.value)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    for name, message in (
        ("text.pth", r"text\.pth is a text file that begins 'hello', not weights"),
        ("module.pth", "without running code"),
        ("list.pth", "holds a list, not a state dict"),
        ("broken.safetensors", r"broken\.safetensors is a damaged or incomplete safetensors file"),
        ("absent.pth", r"no weight file at .*; check backbone\.weights="),
    ):
        with pytest.raises(InputError, match=message):
            create_backbone("resnet18", weights=tmp_path / name)


def test_a_tensor_of_another_shape_is_listed_once_whatever_its_spelling(tmp_path: Path) -> None:
    state = {f"model.{key}": value for key, value in donor().items()}
    state["model.conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"backbone: 1 misshaped: model\.conv1\.weight \(64, 1, 7, 7\)"):
        create_backbone("resnet18", weights=tmp_path / "w.pth")


def test_position_embeddings_of_another_size_are_resized(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = timm.create_model("test_vit", img_size=64).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    body = create_backbone("test_vit", img_size=96, weights=tmp_path / "w.safetensors").body
    grid = state["pos_embed"][:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, (6, 6), mode="bicubic", antialias=True).permute(0, 2, 3, 1).reshape(1, 36, -1)
    own = body.model.pos_embed
    torch.testing.assert_close(own, torch.cat([state["pos_embed"][:, :1], resized], 1), atol=1e-5, rtol=1e-5)
    assert torch.equal(body.model.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])


def test_a_form_that_timm_translates(tmp_path: Path) -> None:
    options = {"depth": 2, "embed_dim": 64, "num_heads": 2}
    torch.manual_seed(5)
    state = timm.create_model("vit_small_patch14_dinov2", **options).state_dict()
    published = {key.replace("ls1.gamma", "ls1.gamma"): value for key, value in state.items()}
    published["mask_token"] = torch.zeros(1, 64)
    torch.save(published, tmp_path / "w.pth")
    backbone = create_backbone("vit_small_patch14_dinov2", weights=tmp_path / "w.pth", **options)
    own = {key.removeprefix("model."): value for key, value in backbone.body.state_dict().items()}
    assert all(torch.equal(value, state[key]) for key, value in own.items())


def test_what_a_translation_leaves_out_is_named(tmp_path: Path) -> None:
    state = {"old.weight": torch.ones(3, 2), "old.bias": torch.ones(3), "extra": torch.ones(1)}
    save_file(state, tmp_path / "w.safetensors")
    layer = nn.Sequential(nn.Linear(2, 3))
    file = read_weights(tmp_path / "w.safetensors")
    unused = load_backbone_weights(
        layer, file, reader=lambda s: {"0.weight": s["old.weight"], "0.bias": s["old.bias"] * 2}
    )
    assert set(unused) == {"old.bias", "extra"}
    assert set(unused.values()) == {"merged, split or left out by timm's reader for this architecture"}
    assert layer[0].bias.tolist() == [2, 2, 2]


def test_complaints_are_about_the_file_where_no_translation_helps(tmp_path: Path) -> None:
    save_file({"stranger": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"missing: .*1 unexpected: stranger"):
        create_backbone("test_vit", weights=tmp_path / "w.safetensors")


def test_a_final_norm_that_a_file_lacks_is_missing(tmp_path: Path) -> None:
    state = {key: value for key, value in donor("test_vit").items() if not key.startswith("norm.")}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"2 missing: model\.norm\.weight, model\.norm\.bias"):
        create_backbone("test_vit", weights=tmp_path / "w.safetensors")
    create_backbone("test_vit", weights=tmp_path / "w.safetensors", final_norm=False)
