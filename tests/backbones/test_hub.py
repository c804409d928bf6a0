"""Names and weights from the hub: a hub on this machine, one that is down, one that is forbidden, and none needed."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from timm.models import save_for_hf

from retrieval_bench.backbones import create_backbone, hub
from retrieval_bench.settings.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def donor(name: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(3)
    return timm.create_model(name, **options)


def kept(repository: Path, model: torch.nn.Module, **options: object) -> None:
    save_for_hf(model, repository, model_args=options or None, safe_serialization=True)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for variable in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)


def point_to(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder that answers as the hub does: ``served / owner / model / file``."""
    root = tmp_path / "served"

    class Hub(BaseHTTPRequestHandler):
        def answer(self, *, content: bool) -> None:
            owner, model, _, _, file = self.path.partition("?")[0].removeprefix("/").split("/", 4)
            path = root / owner / model / file
            found = path.is_file()
            body = path.read_bytes() if found else b""
            self.send_response(200 if found else 404)
            if not found:
                self.send_header("X-Error-Code", "EntryNotFound" if path.parent.is_dir() else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{len(body)}-{file}"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if content:
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.answer(content=False)

        def do_GET(self) -> None:
            self.answer(content=True)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    point_to(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
    yield root
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    point_to(monkeypatch, f"http://127.0.0.1:{port}")


def test_a_timm_tag_brings_its_weights(served: Path) -> None:
    model = donor("test_resnet")
    kept(served / "timm" / "test_resnet.r160_in1k", model)
    body = create_backbone("test_resnet.r160_in1k", pretrained=True).body
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in body.state_dict().items())


@pytest.mark.parametrize("prefix", hub.PREFIXES)
def test_a_model_on_the_hub_brings_its_weights_and_options(served: Path, prefix: str) -> None:
    model = donor("test_vit", img_size=96, depth=2)
    kept(served / "someone" / "small", model, img_size=96, depth=2)
    backbone = create_backbone(f"{prefix}someone/small")
    own = {key.removeprefix("model."): value for key, value in backbone.body.state_dict().items()}
    assert sum(key.startswith("blocks.") and key.endswith(".norm1.weight") for key in own) == 2
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in own.items())
    again = create_backbone(**backbone.portable).body.state_dict()
    assert {key: value.shape for key, value in again.items()} == {
        key: value.shape for key, value in backbone.body.state_dict().items()
    }


def test_weights_from_the_hub_bring_what_they_expect(served: Path) -> None:
    kept(served / "timm" / "test_resnet.r160_in1k", donor("test_resnet"))
    found = create_backbone("test_resnet.r160_in1k", pretrained=True).normalisation
    assert found is not None
    assert (found.mean, found.source) == ((0.5, 0.5, 0.5), "timm's configuration of test_resnet.r160_in1k")


def test_a_model_on_the_hub_says_what_its_weights_expect(served: Path, tmp_path: Path) -> None:
    model = donor("test_resnet")
    config = {**model.pretrained_cfg, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    save_for_hf(model, served / "someone" / "small", model_config={"pretrained_cfg": config}, safe_serialization=True)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    for options in ({}, {"weights": tmp_path / "w.safetensors"}):
        found = create_backbone("hf_hub:someone/small", **options).normalisation
        assert found is not None
        assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        assert found.source == "config.json of hf_hub:someone/small"
    assert create_backbone("hf_hub:someone/small", pretrained=False).normalisation is None


def test_a_model_on_the_hub_without_its_weights(served: Path, tmp_path: Path) -> None:
    kept(served / "someone" / "small", donor("test_resnet"))
    torch.manual_seed(9)
    untrained = create_backbone("hf_hub:someone/small", pretrained=False).body.state_dict()
    assert not torch.equal(untrained["conv1.0.weight"], donor("test_resnet").state_dict()["conv1.0.weight"])
    other = {key: value + 1 for key, value in donor("test_resnet").state_dict().items()}
    save_file(other, tmp_path / "w.safetensors")
    given = create_backbone("hf_hub:someone/small", weights=tmp_path / "w.safetensors").body.state_dict()
    assert torch.equal(given["conv1.0.weight"], other["conv1.0.weight"])


def test_what_is_in_the_cache_needs_no_hub(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(served / "timm" / "test_resnet.r160_in1k", donor("test_resnet"))
    first = create_backbone("test_resnet.r160_in1k", pretrained=True).body.state_dict()
    monkeypatch.setattr(hub, "_connect", lambda: pytest.fail("it asked for the hub"))
    again = create_backbone("test_resnet.r160_in1k", pretrained=True).body.state_dict()
    assert all(torch.equal(again[key], value) for key, value in first.items())


@pytest.mark.parametrize("name", ["test_resnet.r160_in1k", "test_vit.r160_in1k"])
@pytest.mark.usefixtures("down")
def test_a_hub_that_is_down_says_how_to_give_a_file(name: str) -> None:
    with pytest.raises(InputError) as error:
        create_backbone(name, pretrained=True)
    message = str(error.value)
    assert message.startswith(f"the weights of '{name}' could not be fetched from the hub (ConnectionRefusedError:")
    assert f"backbone.weights=FILE (model.safetensors of 'timm/{name}', downloaded elsewhere)" in message
    assert "\n" not in message


@pytest.mark.usefixtures("down")
def test_a_hub_that_is_down_for_a_model_on_it() -> None:
    with pytest.raises(
        InputError, match=r"architecture of 'hf_hub:a/b' could not be fetched.*name timm's architecture"
    ):
        create_backbone("hf_hub:a/b")


@pytest.mark.usefixtures("down")
def test_a_hub_that_may_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE is set\); give backbone\.weights=FILE"):
        create_backbone("resnet18", pretrained=True)


def test_what_the_hub_does_not_have(served: Path) -> None:
    (served / "someone" / "empty").mkdir(parents=True)
    with pytest.raises(InputError, match=r"could not be fetched from the hub \(\w*NotFound\w*: .*"):
        create_backbone("hf_hub:someone/absent")
    kept(served / "someone" / "bare", donor("test_resnet"))
    (served / "someone" / "bare" / "model.safetensors").unlink()
    with pytest.raises(
        InputError, match=r"weights of 'hf_hub:someone/bare' could not be fetched.*backbone\.weights=FILE"
    ):
        create_backbone("hf_hub:someone/bare")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "bert"}, "'someone/odd' on the hub is no model of timm"),
        ({"architecture": "resnet_of_tomorrow", "pretrained_cfg": {}}, "'resnet_of_tomorrow'.*update timm"),
    ],
)
def test_what_on_the_hub_is_not_timms(served: Path, config: dict, said: str) -> None:
    (served / "someone" / "odd").mkdir(parents=True)
    (served / "someone" / "odd" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=said):
        create_backbone("hf_hub:someone/odd")


@pytest.mark.parametrize(
    ("options", "said"), [({"depth": 8}, r"\d+ missing: blocks\.6\.\S+, "), ({"embed_dim": 32}, "with these options")]
)
def test_weights_that_do_not_fit_the_options(served: Path, options: dict, said: str) -> None:
    kept(served / "timm" / "test_vit.r160_in1k", donor("test_vit"))
    with pytest.raises(InputError, match=rf"weights of 'test_vit\.r160_in1k' do not fit it.*{said}"):
        create_backbone("test_vit.r160_in1k", pretrained=True, **options)


def test_fewer_blocks_than_the_weights_have(served: Path) -> None:
    kept(served / "timm" / "test_vit.r160_in1k", donor("test_vit"))
    assert create_backbone("test_vit.r160_in1k", pretrained=True, depth=2).strides == (16,)


def test_position_embeddings_of_the_hub_are_resized(served: Path) -> None:
    kept(served / "timm" / "test_vit.r160_in1k", donor("test_vit"))
    body = create_backbone("test_vit.r160_in1k", pretrained=True, img_size=64).body
    assert body.model.pos_embed.shape[1] == 1 + 4 * 4


def test_architectures_without_weights_say_so_at_once() -> None:
    name = "vit_small_patch16_36x1_224"
    with pytest.raises(InputError, match=f"no pretrained weights for '{name}'; give a file with backbone.weights=FILE"):
        create_backbone(name, pretrained=True, depth=1)


@pytest.mark.usefixtures("down")
def test_the_clients_notes_are_heard_again_afterwards() -> None:
    level = logging.getLogger("huggingface_hub").level
    with pytest.raises(InputError):
        create_backbone("resnet18", pretrained=True)
    assert logging.getLogger("huggingface_hub").level == level


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), hub.fetching("resnet18", ""):
        raise ZeroDivisionError
