"""A pooling that begins from data is shown training images once, before the first step, and what it would pool."""

import json
from copy import deepcopy

import pytest
import torch
from torch import Tensor

import retrieval_bench as rb
from retrieval_bench.data.module import RetrievalDataModule
from retrieval_bench.methods.starting import pooling_inputs, start_images, start_pooling
from retrieval_bench.pooling import POOLINGS, Pooling
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.run import RuntimeSettings
from retrieval_bench.training.fit import fit

NETVLAD = {"name": "netvlad", "clusters": 4, "cluster_dim": 8}
BATCHES = 3
"""Batches of an epoch."""


class Watching(Pooling):
    """The mean; it keeps what it is shown."""

    start_images = 10

    def __init__(self, in_channels: int):
        super().__init__()
        self.out_channels = in_channels
        self.register_buffer("level", torch.zeros(()))
        self.shown: list[Tensor] = []
        self.told: list[tuple[bool, bool, int]] = []

    def start_from(self, inputs, generator):
        self.shown += [feature_map for (feature_map,) in inputs]
        drawn = int(torch.randint(1 << 30, (1,), generator=generator))
        self.told.append((self.training, torch.is_grad_enabled(), drawn))
        self.level.fill_(torch.rand(()))

    def forward(self, feature_map):
        return feature_map.mean(dim=(2, 3))


class Broken(Watching):
    """Starts with NaN."""

    def start_from(self, inputs, generator):
        super().start_from(inputs, generator)
        self.level.fill_(float("nan"))


@pytest.fixture(autouse=True)
def watching():
    """The poolings above by name."""
    POOLINGS.names()
    for part in (Watching, Broken):
        POOLINGS.register(part.__name__.lower())(part)
    yield
    for part in (Watching, Broken):
        del POOLINGS._parts[part.__name__.lower()]


def data_of(dataset, model, **given) -> RetrievalDataModule:
    return RetrievalDataModule(dataset, model.recipe, model.protocol, workers=0, **{"validation_share": 0, **given})


def before_steps(model, monkeypatch) -> list[dict[str, Tensor]]:
    """The pooling's tensors in front of every step."""
    seen = []
    state = model.pooling.state_dict
    monkeypatch.setattr(
        model, "on_train_batch_start", lambda *_: seen.append({k: v.clone() for k, v in state().items()})
    )
    return seen


def test_it_is_shown_centre_views_of_training_images_that_are_not_held_out(dataset, build, recipe, tmp_path):
    model = build("gem", recipe(epochs=1), pooling="watching")
    data = data_of(dataset, model, validation_share=0.3)
    with torch.no_grad():
        batches = list(data.mining_dataloader())
        known = torch.cat([model.batch_features({"images": batch["images"]}).maps[-1] for batch in batches])
    trained = fit(model, data, tmp_path, RuntimeSettings(accelerator="cpu"))
    shown = torch.cat(model.pooling.shown)
    assert (len(known), len(shown), trained.start_images) == (20, 10, 10)
    differences = (shown[:, None] - known).flatten(2).abs().amax(dim=2)
    assert (differences < 1e-4).sum(dim=1).tolist() == [1] * 10
    assert len(set(differences.argmin(dim=1).tolist())) == 10
    assert [(training, gradients) for training, gradients, _ in model.pooling.told] == [(False, False)]


def test_the_seed_of_the_data_decides(dataset, build, recipe, tmp_path):
    found = []
    for number, seed in enumerate((0, 0, 1)):
        model = build("gem", recipe(epochs=1), pooling="watching")
        torch.manual_seed(number)
        fit(model, data_of(dataset, model, seed=seed), tmp_path / str(number), RuntimeSettings(accelerator="cpu"))
        found.append((model.pooling.told[0][2], torch.cat(model.pooling.shown)))
    assert found[0][0] == found[1][0] != found[2][0]
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][1], found[2][1])


@pytest.mark.parametrize(("limit", "expected"), [(None, 10), (3, 3), (100, 10), (0, 0)])
def test_the_setting_bounds_how_many(limit, expected, build, recipe, train, tmp_path):
    model = build("gem", recipe(epochs=1), pooling="watching")
    assert train(model, tmp_path, start_images=limit).start_images == expected
    assert sum(map(len, model.pooling.shown)) == expected
    assert len(model.pooling.told) == (expected > 0)


def test_a_small_training_set_gives_all_it_has(build, recipe, train, tmp_path, capsys):
    trained = train(build("gem", recipe(epochs=1), pooling=NETVLAD), tmp_path)
    assert trained.start_images == 24
    assert trained.start_seconds > 0
    assert "netvlad starts from 24 training images, " in capsys.readouterr().err
    assert json.loads((tmp_path / "start.json").read_text()) == {"images": 24, "seconds": trained.start_seconds}


def test_nothing_starts_where_nothing_is_trained_or_wanted(build, recipe, train, tmp_path):
    for number, (epochs, pooling) in enumerate(((0, "watching"), (1, "gem"))):
        model = build("gem", recipe(epochs=epochs), pooling=pooling)
        assert train(model, tmp_path / str(number)).start_images == 0
        assert not (tmp_path / str(number) / "start.json").exists()
        assert not getattr(model.pooling, "told", [])


def test_a_resumed_or_finished_training_does_not_start_again(build, recipe, train, tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    def fail(batch, batch_idx):
        if killed.current_epoch:
            raise PowerCutError
        return step(batch, batch_idx)

    killed = build("gem", recipe(epochs=2), pooling="watching")
    step = killed.training_step
    monkeypatch.setattr(killed, "training_step", fail)
    with pytest.raises(PowerCutError):
        train(killed, tmp_path)
    for _ in range(2):
        again = build("gem", recipe(epochs=2), pooling="watching", seed=9)
        trained = train(again, tmp_path)
        assert again.pooling.told == []
        assert torch.equal(again.pooling.level, killed.pooling.level)
        assert trained.start_images == 10
        assert trained.start_seconds > 0


def test_a_kill_before_the_first_checkpoint_starts_anew(build, recipe, train, tmp_path, monkeypatch):
    killed = build("gem", recipe(epochs=1), pooling=NETVLAD)
    monkeypatch.setattr(killed, "training_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(killed, tmp_path / "killed")
    again, whole = (build("gem", recipe(epochs=1), pooling=NETVLAD) for _ in range(2))
    assert train(again, tmp_path / "killed").start_images == train(whole, tmp_path / "whole").start_images == 24
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_what_a_file_gave_stays(build, recipe, train, tmp_path):
    trained = train(build("gem", recipe(epochs=1), pooling=NETVLAD), tmp_path / "netvlad")
    given = rb.create_model("gem", weights=trained.checkpoint)
    assert start_images(given, None) == 0
    assert start_images(build("gem", recipe(), pooling=NETVLAD), None) == 500
    plain = train(build("gem", recipe(epochs=1), dim=32), tmp_path / "gem")
    as_wide = {**NETVLAD, "cluster_dim": build("gem", recipe()).pooling.out_channels // 4}
    swapped = rb.create_model("gem", weights=plain.checkpoint, pooling=as_wide)
    assert start_images(swapped, None) == 500


def test_the_start_moves_no_generator_of_the_training(dataset, build, recipe):
    model = build("gem", recipe(), pooling="watching").train()
    before = torch.get_rng_state()
    count = start_pooling(model, data_of(dataset, model).mining_dataloader([3, 1, 7]), torch.Generator())
    assert count == 3
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


def test_the_momentum_network_starts_from_the_same(build, recipe, train, tmp_path, monkeypatch):
    model = build("cvnet", recipe(epochs=1), pooling=NETVLAD)
    seen, copies = before_steps(model, monkeypatch), []
    catch_up, copied = model.contrast.catch_up, model.contrast.network.pooling.state_dict

    def watched(network):
        catch_up(network)
        copies.append(deepcopy(copied()))

    monkeypatch.setattr(model.contrast, "catch_up", watched)
    random = model.pooling.centres.clone()
    train(model, tmp_path)
    assert not torch.equal(seen[0]["centres"], random)
    assert all(torch.equal(value, copies[0][name]) for name, value in seen[0].items())


def test_moving_averages_begin_from_the_start(build, recipe, train, tmp_path, monkeypatch):
    still = {"lr": 1e-9, "weight_decay": 0.0, "ema": 0.99}
    model = build("gem", recipe(epochs=2, **still), pooling=NETVLAD)
    seen, random = before_steps(model, monkeypatch), model.pooling.centres.clone()
    train(model, tmp_path)
    assert len(seen) == 2 * BATCHES
    assert not torch.allclose(seen[0]["centres"], random)
    torch.testing.assert_close(model.pooling.centres.detach(), seen[0]["centres"])


@pytest.mark.parametrize("method", rb.list_methods())
def test_the_inputs_are_those_of_the_losses(method, build, recipe):
    """Of the network as it is trained, so without what superglobal adds in evaluation, and behind senet's module."""
    model = build(method, recipe())
    batch = {"images": torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))}
    with torch.no_grad():
        found = pooling_inputs(model, batch, fill=1)
        pooled = []
        model.pooling.register_forward_pre_hook(lambda _, given: pooled.append(given))
        model.losses(batch["images"], torch.arange(4))
    assert len(found) == len(pooled[0])
    assert all(torch.equal(one, other) for one, other in zip(found, pooled[0], strict=True))


def test_a_pooling_that_needs_more_is_handed_more(build, recipe):
    model = build("gem", recipe(), backbone="test_vit", pooling="cls")
    feature_map, tokens = pooling_inputs(model, {"images": torch.rand(2, 3, 160, 160)}, fill=1)
    assert (feature_map.ndim, tokens.ndim) == (4, 3)


def test_maps_come_in_float32_where_the_network_computes_in_less(dataset, build, recipe, tmp_path):
    model = build("gem", recipe(epochs=1), pooling="watching")
    fit(model, data_of(dataset, model), tmp_path, RuntimeSettings(accelerator="cpu", precision="bf16-mixed"))
    assert all(shown.dtype == torch.float32 for shown in model.pooling.shown)
    assert all(torch.equal(shown, shown.bfloat16().float()) for shown in model.pooling.shown)
    other = build("gem", recipe(epochs=1), pooling=NETVLAD)
    path = tmp_path / "netvlad"
    fit(other, data_of(dataset, other), path, RuntimeSettings(accelerator="cpu", precision="bf16-mixed"))
    assert all(value.isfinite().all() for value in other.state_dict().values())


def test_a_start_that_is_not_finite_is_told(build, recipe, train, tmp_path):
    with pytest.raises(InputError, match=r"pooling 'broken' started from 10 training images .* \(level\); check the"):
        train(build("gem", recipe(epochs=1), pooling="broken"), tmp_path)


def test_a_method_that_does_not_pool_is_told(build, recipe, train, tmp_path, monkeypatch):
    model = build("gem", recipe(epochs=1), pooling="watching")
    monkeypatch.setattr(model, "head", lambda features: features.maps[-1].mean(dim=(2, 3)))
    with pytest.raises(InputError, match=r"gem does not pool, .* set train\.start_images=0"):
        train(model, tmp_path)
