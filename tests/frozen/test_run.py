"""What a run with a frozen backbone says of itself, shares with others, and refuses."""

import io

import pytest
import yaml
from rich.console import Console

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.pooling.netvlad import NetVLAD
from retrieval_bench.reporting.protocol_card import compact_card, full_card
from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.reading import read_state


def costs(record):
    return {cost.name: cost.value for cost in record.costs}


def test_a_second_pooling_and_a_second_seed_use_the_stores_of_the_first_run(bench):
    told = io.StringIO()
    first, folder = bench("gem", console=Console(file=told, width=200))
    assert "store the features of 57 images" in told.getvalue()
    assert "free" in told.getvalue()
    stores = sorted((folder.parents[2] / "features").iterdir())
    assert len(stores) == 4
    other, _ = bench("gem", "pooling=rmac", "seed=1", console=Console(file=(again := io.StringIO()), width=200))
    assert "store the features" not in again.getvalue()
    assert sorted((folder.parents[2] / "features").iterdir()) == stores
    assert "feature extraction" in costs(first)
    assert costs(other)["feature extraction (stored by an earlier run)"] == costs(first)["feature extraction"]


def test_settings_and_card_say_what_was_done(bench, backbone_weights):
    record, folder = bench("gem")
    train = yaml.safe_load((folder / "config.yaml").read_text())["train"]
    expected = {"freeze": "backbone", "stored_features": True, "views": "centre", "flip": 0.0, "jitter": 0.0}
    assert {key: train[key] for key in expected} == expected
    assert record.card.training == (
        f"backbone frozen ({backbone_weights.name}), one centre view per image, on stored features (float32)"
    )
    for table in (compact_card(record), full_card(record)):
        assert ("training", record.card.training) in [tuple(cell.text for cell in row) for row in table.rows]
    random, _ = bench("gem", "train.views=random")
    assert random.card.training == f"backbone frozen ({backbone_weights.name}), random views"
    whole, _ = bench("gem", "train.freeze=none", "backbone=test_resnet", "train.epochs=1")
    assert whole.card.training == "whole network, random views"


def test_a_pooling_that_starts_from_images_says_so_and_starts_once(bench, monkeypatch):
    given = ("pooling=netvlad", "pooling.clusters=4", "pooling.cluster_dim=8", "train.epochs=1")
    calls, start = [], NetVLAD.start_from
    monkeypatch.setattr(NetVLAD, "start_from", lambda *arguments: calls.append(1) or start(*arguments))
    record, folder = bench("cfcd", "loss=madacos", "loss.alpha=0.04", *given)
    assert (folder / "stages").is_dir()
    assert len(calls) == 1
    assert record.card.training.endswith("stored features (float32), pooling started from 20 training images")
    assert costs(record)["start of the pooling"] > 0
    fewer, _ = bench("gem", *given, "train.start_images=6")
    assert fewer.card.training.endswith("pooling started from 6 training images")
    none, _ = bench("gem", *given, "train.start_images=0")
    assert "started" not in none.card.training
    assert "start of the pooling" not in costs(none)
    untrained, _ = bench("gem", *given[:-1], "train.enabled=false")
    assert any("untrained" in warning for warning in untrained.card.warnings)
    assert len(calls) == 2


def test_random_backbones_are_warned_of(bench):
    record, _ = bench("gem", "backbone=test_resnet", "train.epochs=1")
    assert any("random weights" in warning for warning in record.card.warnings)


def test_the_backbone_of_a_finished_run_carries_another_pooling(bench):
    _, first = bench("gem", "train.freeze=none", "backbone=test_resnet", "train.epochs=1")
    trained = first / "checkpoints" / "final.ckpt"
    record, folder = bench("delg", f"backbone.weights={trained}", "backbone=test_resnet", "pooling=rmac")
    given, kept = read_state(trained)[0], read_state(folder / "checkpoints" / "final.ckpt")[0]
    body = [name for name in kept if name.startswith("backbone.")]
    assert len(body) > 10
    assert all(given[name].equal(kept[name]) for name in body)
    assert "final.ckpt, trained on synthetic train: 24 images, 4 classes" in record.card.training


def test_a_killed_training_goes_on_to_the_same_weights(bench, monkeypatch):
    step, seen = RetrievalModule.training_step, []

    def killed(self, batch, batch_idx):
        seen.append(batch_idx)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(RetrievalModule, "training_step", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            bench("gem", "train.epochs=3", runs="other")
    _, expected = bench("gem", "train.epochs=3")
    _, resumed = bench("gem", "train.epochs=3", runs="other")
    one, other = (read_state(folder / "checkpoints" / "final.ckpt")[0] for folder in (expected, resumed))
    assert all(value.equal(other[name]) for name, value in one.items())


def test_given_weights_are_evaluated_on_stored_features(bench):
    trained, folder = bench("gem")
    weights = folder / "checkpoints" / "final.ckpt"
    again, _ = bench("gem", f"weights={weights}")
    assert again.stages[0].levels == trained.stages[0].levels
    assert any("feature extraction" in name for name in costs(again))
    assert again.card.training == "none"


@pytest.mark.parametrize(
    ("method", "more", "said"),
    [
        ("cvnet", (), r"cvnet.*needs the images.*cfcd, delg, dolg, gem"),
        ("gem", ("train.freeze=none",), "train.freeze=backbone"),
        ("gem", ("train.views=random",), "views=random"),
    ],
)
def test_what_cannot_be_stored_is_refused(method, more, said, bench):
    with pytest.raises(InputError, match=said):
        bench(method, "train.stored_features=true", *more)


def test_a_method_that_needs_images_trains_on_them_and_says_so(bench):
    told = io.StringIO()
    record, _ = bench("superglobal", "train.epochs=1", "backbone=resnet10t", console=Console(file=told, width=300))
    assert "are not stored: method 'superglobal' needs the images" in told.getvalue()
    assert not any("stored features" in name for name in costs(record))
