"""Weights that are no longer finite end the training, and no checkpoint holds them."""

import pytest
import torch

from retrieval_bench.settings.errors import InputError


@pytest.mark.parametrize(("ema", "validate_every"), [(0.0, 1), (0.9, 1), (0.0, 5)])
def test_a_diverged_training_ends_and_leaves_the_epoch_before(
    build, recipe, train, tmp_path, monkeypatch, ema, validate_every
):
    model = build("gem", recipe(epochs=4, ema=ema), loss="normsoftmax")
    step = model.training_step

    def training_step(batch, batch_idx):
        return step(batch, batch_idx) * (torch.nan if model.current_epoch == 2 else 1.0)

    monkeypatch.setattr(model, "training_step", training_step)
    with pytest.raises(InputError, match=r"training diverged: after epoch 3 the weights .* train\.lr lower") as caught:
        train(model, tmp_path, validate_every=validate_every)
    assert "\n" not in str(caught.value)
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 1
    assert all(bool(value.isfinite().all()) for value in kept["state_dict"].values() if value.is_floating_point())
    assert not (tmp_path / "checkpoints" / "final.ckpt").exists()


def test_a_loss_that_is_not_finite_alone_ends_nothing(build, recipe, train, tmp_path, monkeypatch):
    model = build("gem", recipe(epochs=2), loss="normsoftmax")
    log = model.log_dict

    def log_dict(values, **how):
        log({name: value * torch.nan for name, value in values.items()}, **how)

    monkeypatch.setattr(model, "log_dict", log_dict)
    assert len(train(model, tmp_path).history) == 2
