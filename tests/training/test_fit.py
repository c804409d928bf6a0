"""A training learns, leaves what it should, and does what its recipe says."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchvision.transforms.functional import pil_to_tensor

import retrieval_bench as rb
from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.settings.run import RuntimeSettings
from retrieval_bench.training.fit import fit, precision


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module", params=["gem", "delg"])
def method(request):
    return request.param


def test_what_it_leaves(method, dataset, build, recipe, train, tmp_path):
    model = build(method, recipe(batch_size=2, lr=0.01))
    trained = train(model, tmp_path, share=0.3)
    assert not model.training
    assert model.weights_source == "trained in this run"
    assert trained.seconds > 0

    assert [row["epoch"] for row in trained.history] == [1, 2]
    expected = {"epoch", "lr", "train/loss", "validation/loss", "validation/map"}
    if method == "delg":
        expected |= {f"train/{name}" for name in ("global", "attention", "reconstruction")}
    assert all(expected <= set(row) for row in trained.history)
    assert all(0 <= row["validation/map"] <= 1 for row in trained.history)
    assert json.loads((tmp_path / "history.json").read_text()) == trained.history

    files = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert files == {"last.ckpt", "final.ckpt"}
    assert trained.checkpoint == tmp_path / "checkpoints" / "final.ckpt"
    loaded = rb.create_model(method, weights=trained.checkpoint)
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.describe(image), model.describe(image))

    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    tags = events.Tags()
    assert "train/batch" in tags["images"]
    assert ("validation/attention" in tags["images"]) == (method == "delg")
    assert {"validation/map", "validation/loss", "train/loss_epoch"} <= set(tags["scalars"])
    assert any(tag.startswith("lr-") for tag in tags["scalars"])
    assert [event.value for event in events.Scalars("validation/map")] == pytest.approx(
        [row["validation/map"] for row in trained.history]
    )


def test_every_image_is_counted_once_an_epoch(build, recipe, train, tmp_path):
    assert train(build("gem", recipe(epochs=2)), tmp_path).images == 2 * 24


def test_no_epoch_changes_nothing(build, recipe, train, tmp_path):
    model = build("gem", recipe(epochs=0))
    before = weights(model)
    trained = train(model, tmp_path)
    assert trained.history == []
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert trained.checkpoint.is_file()


def test_without_validation(dataset, build, recipe, train, tmp_path):
    trained = train(build("gem", recipe(epochs=1)), tmp_path, data=replace(dataset, validation=None))
    assert not any(name.startswith("validation") for name in trained.history[0])


def test_validation_every_second_epoch(build, recipe, train, tmp_path):
    trained = train(build("gem", recipe(epochs=4)), tmp_path, validate_every=2)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    assert len(events.Scalars("validation/map")) == 2
    assert [row["epoch"] for row in trained.history] == [1, 2, 3, 4]


def test_an_epoch_without_validation_repeats_no_old_figure(build, recipe, train, tmp_path):
    trained = train(build("gem", recipe(epochs=4)), tmp_path, validate_every=2)
    assert ["validation/map" in row for row in trained.history] == [False, True, False, True]


def test_the_validation_map_is_that_of_the_weights(dataset, build, recipe, train, tmp_path):
    """Leave-one-out mAP over the held-out images, computed here by hand."""
    model = build("gem", recipe(epochs=2))
    trained = train(model, tmp_path)
    labels = torch.tensor(dataset.validation.labels)
    images = [pil_to_tensor(Image.open(path))[None] for path in dataset.validation.paths]
    described = torch.cat([model.describe(image, scales=(1.0,)) for image in images])
    figures = []
    for row, label in enumerate(labels):
        others = torch.arange(len(labels)) != row
        order = (described[others] @ described[row]).argsort(descending=True, stable=True)
        hits = (labels[others] == label)[order].double()
        found, positions = hits.cumsum(0), torch.arange(1, len(hits) + 1)
        before = torch.where(positions == 1, 1.0, (found - hits) / (positions - 1).clamp(min=1))
        figures.append((hits * (before + found / positions) / 2).sum() / hits.sum())
    assert trained.history[-1]["validation/map"] == pytest.approx(torch.stack(figures).mean().item(), abs=1e-5)


def test_the_same_seed_gives_the_same_weights(build, recipe, train, tmp_path):
    models = [build("gem", recipe(epochs=1, jitter=0.8, flip=0.5)) for _ in range(2)]
    for number, model in enumerate(models):
        train(model, tmp_path / str(number))
    assert all(torch.equal(value, models[1].state_dict()[name]) for name, value in models[0].state_dict().items())


def test_the_weights_are_the_average_where_the_recipe_averages(build, recipe, train, tmp_path, monkeypatch):
    model, decay = build("gem", recipe(epochs=2, ema=0.7)), 0.7
    seen = []
    monkeypatch.setattr(model, "on_train_batch_start", lambda *_: seen.append(weights(model)))
    trained = train(model, tmp_path)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["current_model_state"]
    name = "projection.weight"
    # `seen` are the weights in front of each step; the average starts from those behind the first.
    average = seen[1][name]
    for after in [*(state[name] for state in seen[2:]), last[name]]:
        average = decay * average + (1 - decay) * after
    assert_allclose(model.state_dict()[name], average, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(average, last[name])
    final = torch.load(trained.checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(final[name], model.state_dict()[name])


def test_a_checkpoint_of_an_averaging_run_gives_the_average(build, recipe, train, tmp_path):
    model = build("delg", recipe(epochs=1, ema=0.5))
    trained = train(model, tmp_path)
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    for file in (trained.checkpoint, tmp_path / "checkpoints" / "last.ckpt"):
        assert torch.equal(rb.create_model("delg", weights=file).describe(image), model.describe(image)), file.name


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_statistics_stay(method, frozen, build, recipe, train, tmp_path):
    model = build(method, recipe(epochs=1, freeze_batchnorm=frozen))
    before = weights(model)
    train(model, tmp_path, share=0.3)
    running = [name for name in before if "running_" in name]
    kept = [name for name in running if torch.equal(before[name], model.state_dict()[name])]
    assert running
    assert kept == (running if frozen else [])
    affine = model.state_dict()["backbone.body.bn1.weight"]
    assert not torch.equal(affine, before["backbone.body.bn1.weight"])


def test_frozen_statistics_stay_behind_a_validation_in_every_epoch(build, recipe, train, tmp_path):
    model = build("gem", recipe(epochs=3, freeze_batchnorm=True))
    before = weights(model)
    train(model, tmp_path, share=0.3)
    running = [name for name in before if "running_" in name]
    assert all(torch.equal(before[name], model.state_dict()[name]) for name in running)


def steps_of(model, monkeypatch) -> list[float]:
    """Norms of the gradients that the optimiser uses, step by step."""
    norms = []
    clip = model.configure_gradient_clipping

    def record(optimizer, *arguments, **options):
        clip(optimizer, *arguments, **options)
        norms.append(torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm().item())

    monkeypatch.setattr(model, "configure_gradient_clipping", record)
    return norms


def test_gradients_are_clipped(build, recipe, train, tmp_path, monkeypatch):
    free, clipped = build("gem", recipe(epochs=1)), build("gem", recipe(epochs=1, clip_norm=0.01))
    norms = [steps_of(model, monkeypatch) for model in (free, clipped)]
    train(free, tmp_path / "free")
    train(clipped, tmp_path / "clipped")
    assert min(norms[0]) > 0.02
    assert max(norms[1]) <= 0.0101


def test_batches_accumulate_to_a_step(build, recipe, train, tmp_path, monkeypatch):
    model = build("gem", recipe(epochs=2, batch_size=4, accumulate=3))
    norms = steps_of(model, monkeypatch)
    train(model, tmp_path)
    assert len(norms) == 2 * 2


def test_accumulated_gradients_are_averaged(build, recipe, train, tmp_path, monkeypatch):
    given = {"epochs": 1, "lr": 1e-6, "freeze_batchnorm": True, "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}
    whole = build("gem", recipe(batch_size=24, **given))
    parts = build("gem", recipe(batch_size=8, accumulate=3, **given))
    norms = [steps_of(model, monkeypatch) for model in (whole, parts)]
    train(whole, tmp_path / "whole")
    train(parts, tmp_path / "parts")
    assert [len(found) for found in norms] == [1, 1]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_the_rate_follows_the_schedule(build, recipe, train, tmp_path):
    train(build("gem", recipe(epochs=2, batch_size=2, schedule="linear", lr=0.06)), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    tag = next(tag for tag in events.Tags()["scalars"] if tag.startswith("lr-"))
    seen = [event.value for event in events.Scalars(tag)]
    steps = [event.step for event in events.Scalars(tag)]
    assert len(steps) >= 2
    assert seen == pytest.approx([0.06 * (1 - step / 24) for step in steps], abs=1e-6)


def test_history_tells_the_rate_that_the_epoch_ended_with(build, recipe, train, tmp_path):
    rows = train(build("gem", recipe(epochs=3, schedule="constant", lr=0.02)), tmp_path).history
    assert [row["lr"] for row in rows] == pytest.approx([0.02] * 3)


def test_nothing_half_written_stays(build, recipe, train, tmp_path):
    train(build("gem", recipe(epochs=1)), tmp_path)
    assert [path for path in tmp_path.rglob("*") if "partial" in path.name or path.suffix in (".tmp", ".part")] == []


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        (RuntimeSettings(accelerator="cpu"), "32-true"),
        (RuntimeSettings(accelerator="cpu", precision="bf16-mixed"), "bf16-mixed"),
        (RuntimeSettings(precision="16-mixed"), "16-mixed"),
    ],
)
def test_precision(runtime, expected):
    assert precision(runtime) == expected


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_precision_on_a_gpu(monkeypatch, bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    assert precision(RuntimeSettings()) == expected


def test_training_in_half_precision_stays_finite(method, build, recipe, tmp_path, dataset):
    model = build(method, recipe(epochs=1))
    data = RetrievalDataModule(dataset, model.recipe, model.protocol, workers=0)
    fit(model, data, tmp_path, RuntimeSettings(accelerator="cpu", precision="bf16-mixed", workers=0))
    assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.slow
def test_two_processes(dataset, tmp_path):
    """Both see their half of every epoch and end with one set of weights."""
    script = Path(__file__).parent / "train_in_two_processes.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(dataset.root), str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["images"] == 2 * 24
    assert figures["start images"] == 24
    assert figures["epochs"] == [1.0, 2.0]
    assert 0 < figures["map"] <= 1
