"""Weights and architectures from the hub, and one clear line where it cannot be reached."""

import logging
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import timm
from huggingface_hub import constants, try_to_load_from_cache
from timm.models import load_model_config_from_hf

from retrieval_bench.settings.errors import InputError

PREFIXES = ("hf_hub:", "hf-hub:")
"""How names of models on the hub begin, as ``hf_hub:timm/resnet18.a1_in1k``; a revision may follow after ``@``."""

FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What weights are called on the hub."""

PATIENCE = 5.0
"""Seconds that a connection may take."""


class HubModel(NamedTuple):
    """What the hub says of a model.

    Attributes:
        architecture: of timm, without a tag.
        options: of it, that the weights need.
        config: of the weights, as timm calls it: the size, mean and deviation that they expect, among others.
    """

    architecture: str
    options: dict[str, Any]
    config: dict[str, Any]


def on_hub(name: str) -> bool:
    """Whether a backbone's name is one of a model on the hub."""
    return name.startswith(PREFIXES)


def hub_model(name: str) -> HubModel:
    """Read what a model on the hub is; of its files only ``config.json`` is fetched.

    Raises:
        InputError: a hub that cannot be reached, no such model there, or one that is not timm's.
    """
    repository = name.partition(":")[2]
    with fetching(name, repository, ("config.json",)):
        try:
            config, architecture, options = load_model_config_from_hf(repository)
        except (KeyError, TypeError, AttributeError, AssertionError) as error:
            raise InputError(
                f"{repository!r} on the hub is no model of timm (its config.json names no architecture of it); "
                "name one whose page says timm, such as hf_hub:timm/resnet50.a1_in1k"
            ) from error
    if not timm.is_model(architecture):
        raise InputError(
            f"{repository!r} on the hub is a {architecture!r}, which timm {timm.__version__} does not have; update timm"
        )
    return HubModel(architecture, dict(options or {}), dict(config))


def repository_of(name: str) -> str:
    """Where the hub keeps the weights of a timm model, with or without a pretrained tag.

    Raises:
        InputError: timm has no weights for it.
    """
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is None or not config.has_weights:
        tags = timm.list_pretrained(f"{name.partition('.')[0]}.*")
        mend = f"choose a tag, such as {tags[0]!r}" if tags else "give a file with backbone.weights=FILE"
        raise InputError(f"timm has no pretrained weights for {name!r}; {mend}, or set backbone.pretrained=false")
    return config.hf_hub_id or ""


@contextmanager
def fetching(name: str, repository: str, files: tuple[str, ...] = FILES) -> Iterator[None]:
    """Within the context, whatever keeps the hub from giving a file becomes one `InputError` about `name`.

    Where no file of `repository` is in the cache and its host refuses connections, this shows at once: the hub's own
    client would try again for most of a minute. That client's notes on each attempt are not printed.
    """
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        if repository and not _cached(repository, files):
            _connect()
        yield
    except Exception as error:
        if isinstance(error, InputError) or not _of_network(error):
            raise
        elsewhere = f"{FILES[0]} of {repository!r}, downloaded elsewhere" if repository else "downloaded elsewhere"
        wanted, mend = "weights", f"give backbone.weights=FILE ({elsewhere}), or set backbone.pretrained=false"
        if files == ("config.json",):
            wanted, mend = "architecture", f"name timm's architecture and give backbone.weights=FILE ({elsewhere})"
        raise InputError(
            f"the {wanted} of {name!r} could not be fetched from the hub ({_reason(error)}); {mend}"
        ) from error
    finally:
        log.setLevel(level)


def _cached(repository: str, files: tuple[str, ...]) -> bool:
    identifier, _, revision = repository.partition("@")
    return any(isinstance(try_to_load_from_cache(identifier, file, revision=revision or None), str) for file in files)


def _connect() -> None:
    """Raise an OSError where the hub's host takes no connection; behind a proxy nothing can be said."""
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    parts = urlsplit(constants.ENDPOINT)
    if {parts.scheme, "all"} & set(urllib.request.getproxies()):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with socket.create_connection((parts.hostname or "", port), timeout=PATIENCE):
        pass


def _of_network(error: BaseException) -> bool:
    room = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or room in {"huggingface_hub", "httpx", "httpx2", "requests", "urllib3"}


def _reason(error: Exception) -> str:
    """What is behind the client's error, in one line."""
    text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
