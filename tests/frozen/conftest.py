"""Small runs above one frozen backbone, whose weights come from a file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from safetensors.torch import save_file
from tiny_data import TINY_DATA

from retrieval_bench.bench import run
from retrieval_bench.settings.loading import load_settings
from retrieval_bench.settings.record import RunRecord

SMALL = (
    *TINY_DATA,
    "dataset.image_size=96",
    "backbone=test_resnet",
    "train.epochs=2",
    "train.batch_size=8",
    "train.image_size=64",
    "train.validation_share=0.2",
    "model.dim=16",
    "evaluate.resamples=20",
    "runtime.workers=0",
    "runtime.accelerator=cpu",
    "rerank=none",
)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the synthetic images, drawn once."""
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(scope="session")
def backbone_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of test_resnet."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        state = timm.create_model("test_resnet").state_dict()
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(state, path)
    return path


@pytest.fixture
def bench(
    data_root: Path, backbone_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[RunRecord, Path]]:
    """A small run of a method with further settings, without its page; runs go to ``tmp_path / runs``."""
    monkeypatch.setattr(sys.modules["retrieval_bench.bench"], "write_report", lambda folder: folder)

    def small(method: str, *more: str, runs: str = "runs", console: Any = None) -> tuple[RunRecord, Path]:
        given = [f"method={method}", *SMALL, f"dataset.root={data_root}", f"runs={tmp_path / runs}"]
        other = any(setting.startswith(("backbone=", "backbone.weights=", "weights=")) for setting in more)
        given += [] if other else [f"backbone.weights={backbone_weights}"]
        given += ["train.freeze=backbone", *more]
        return run(load_settings(given), console or Console(quiet=True))

    return small
