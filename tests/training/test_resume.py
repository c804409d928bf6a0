"""A training that was killed ends with the weights that it would have had."""

import json
from pathlib import Path

import pytest
import torch


class PowerCutError(Exception):
    """The process ends here."""


def fall_over(model, monkeypatch, after: int) -> None:
    """Raise in front of batch `after` (counted over all epochs)."""
    step, seen = model.training_step, []

    def training_step(batch, batch_idx):
        if len(seen) == after:
            raise PowerCutError
        seen.append(batch_idx)
        return step(batch, batch_idx)

    monkeypatch.setattr(model, "training_step", training_step)


AUGMENTED = {"epochs": 4, "jitter": 0.8, "flip": 0.5, "warmup_epochs": 1, "lr": 0.02}
BATCHES = 3
"""Batches of an epoch."""


@pytest.mark.parametrize(
    ("method", "given", "killed_at"),
    [
        ("gem", {}, 2 * BATCHES),
        ("gem", {}, 2 * BATCHES + 1),
        ("delg", {"pooling": {"name": "gem", "learnable": True}, "loss": "curricularface"}, 2 * BATCHES + 2),
        ("gem", {"recipe": {"ema": 0.8}}, 2 * BATCHES + 1),
        ("gem", {"recipe": {"optimiser": "adamw", "schedule": "epoch-cosine", "clip_norm": 1.0}}, 3 * BATCHES),
        ("gem", {"recipe": {"accumulate": 2}}, 2 * BATCHES),
        (
            "gem",
            {"pooling": "mixvpr", "loss": {"name": "smoothap", "batch_attention": "batchformer"}},
            2 * BATCHES + 1,
        ),
        ("gem", {"pooling": {"name": "netvlad", "clusters": 4, "cluster_dim": 8}}, 2 * BATCHES + 1),
    ],
    ids=[
        "between epochs",
        "within an epoch",
        "delg",
        "ema",
        "adamw",
        "accumulate",
        "batch attention",
        "pooling that starts from images",
    ],
)
def test_to_the_last_bit(method, given, killed_at, build, recipe, train, tmp_path, monkeypatch):
    given = dict(given)
    chosen = recipe(**AUGMENTED, **given.pop("recipe", {}))
    whole = build(method, chosen, **given)
    expected = train(whole, tmp_path / "whole", share=0.3)

    killed = build(method, chosen, **given)
    fall_over(killed, monkeypatch, killed_at)
    with pytest.raises(PowerCutError):
        train(killed, tmp_path / "killed", share=0.3)
    assert not (tmp_path / "killed" / "checkpoints" / "final.ckpt").exists()
    before = json.loads((tmp_path / "killed" / "costs.json").read_text())
    assert 0 < before["images"] < expected.images

    resumed = build(method, chosen, seed=99, **given)
    trained = train(resumed, tmp_path / "killed", share=0.3)
    different = [
        name for name, value in whole.state_dict().items() if not torch.equal(value, resumed.state_dict()[name])
    ]
    assert different == []
    assert trained.images == expected.images
    assert trained.seconds > before["seconds"] > 0
    assert trained.start_images == expected.start_images
    assert [row["epoch"] for row in trained.history] == [1, 2, 3, 4]
    for row, other in zip(trained.history, expected.history, strict=True):
        assert row == pytest.approx(other)


def test_a_kill_in_the_first_epoch_starts_anew(build, recipe, train, tmp_path, monkeypatch):
    chosen = recipe(**AUGMENTED | {"epochs": 2})
    whole = build("gem", chosen)
    train(whole, tmp_path / "whole")
    killed = build("gem", chosen)
    fall_over(killed, monkeypatch, 1)
    with pytest.raises(PowerCutError):
        train(killed, tmp_path / "killed")
    again = build("gem", chosen)
    train(again, tmp_path / "killed")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_finished_training_is_not_done_again(build, recipe, train, tmp_path, monkeypatch):
    chosen = recipe(epochs=2)
    first = build("gem", chosen)
    expected = train(first, tmp_path)
    second = build("gem", chosen, seed=99)
    fall_over(second, monkeypatch, 0)
    again = train(second, tmp_path)
    assert (again.images, again.seconds) == (expected.images, pytest.approx(expected.seconds))
    assert again.history == expected.history
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_a_finished_averaging_is_not_done_again(build, recipe, train, tmp_path):
    chosen = recipe(epochs=2, ema=0.7)
    first = build("gem", chosen)
    train(first, tmp_path)
    second = build("gem", chosen, seed=99)
    train(second, tmp_path)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_training_goes_on_where_only_the_history_was_lost(build, recipe, train, tmp_path, monkeypatch):
    chosen = recipe(epochs=2)
    killed = build("gem", chosen)
    fall_over(killed, monkeypatch, BATCHES + 1)
    with pytest.raises(PowerCutError):
        train(killed, tmp_path)
    assert [row["epoch"] for row in json.loads(Path(tmp_path / "history.json").read_text())] == [1]
    (tmp_path / "history.json").unlink()
    assert [row["epoch"] for row in train(build("gem", chosen), tmp_path).history] == [2]
