"""A whole run, small: what it leaves behind, that a rerun gives the same figures, and what each wrong input says."""

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from tiny_data import TINY_DATA

import retrieval_bench as rb
from retrieval_bench.bench import extract_only, run, score_again, train_only
from retrieval_bench.data.registry import load_dataset
from retrieval_bench.recording.run_folder import finished_run
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.loading import load_settings
from retrieval_bench.settings.record import Gallery, read_record

SMALL = (
    *TINY_DATA,
    "dataset.image_size=96",
    "backbone=resnet10t",
    "train.epochs=1",
    "train.batch_size=8",
    "train.image_size=64",
    "model.dim=32",
    "evaluate.resamples=50",
    "runtime.workers=0",
)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    return tmp_path_factory.mktemp("synthetic")


def settings(method: str, root: Path, runs: Path, *more: str):
    return load_settings([f"method={method}", *SMALL, f"dataset.root={root}", f"runs={runs}", *more])


@pytest.fixture(scope="module")
def delg(data_root, tmp_path_factory):
    return run(settings("delg", data_root, tmp_path_factory.mktemp("runs")), Console(quiet=True))


def test_the_run_folder_holds_everything(delg):
    record, folder = delg
    kept = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "record.json", "per_query.parquet", "ranking.npz", "gallery.json", "report.html"} <= kept
    assert not [name for name in kept if "partial" in name]
    assert read_record(folder) == record
    assert list((folder / "tensorboard").glob("events*"))
    assert (folder / "checkpoints" / "final.ckpt").is_file()


def test_the_record_says_how_it_was_made(delg):
    record, _ = delg
    assert [stage.name for stage in record.stages] == ["global", "reranked"]
    assert record.parts == {"backbone": "resnet10t", "pooling": "gem", "loss": "arcface", "re-ranker": "geometric"}
    card = record.card
    assert card.train_set == "synthetic train: 24 images, 4 classes"
    assert card.weights == "trained in this run"
    assert len(card.weights_digest) == 64
    assert card.ground_truth_in_candidates is False
    assert {"training", "extraction", "re-ranking per pair", "descriptor"} <= {cost.name for cost in record.costs}
    assert record.published == []
    assert len(record.validation) == 1
    assert "validation/map" in record.validation[0]


def test_the_files_agree_with_the_record(delg):
    record, folder = delg
    table = pd.read_parquet(folder / "per_query.parquet")
    for stage in record.stages:
        for level, figures in stage.levels.items():
            mean = table[f"{stage.name}/ap_{level}"].mean()
            assert figures.map == pytest.approx(mean, nan_ok=True)
    again = score_again(folder)
    assert again["reranked"].map_medium == pytest.approx(record.stages[1].levels["medium"].map)
    assert again["global"].map_medium == pytest.approx(record.stages[0].levels["medium"].map)
    gallery = Gallery.model_validate_json((folder / "gallery.json").read_text())
    assert len(gallery.rows) == len(table)
    assert all(Path(candidate.path).is_file() for row in gallery.rows for candidate in row.best)


def test_rankings_are_not_scored_against_another_dataset(delg, monkeypatch):
    _, folder = delg

    def mended(*given, **options):
        dataset = load_dataset(*given, **options)
        return replace(dataset, ground_truth=dataset.ground_truth[::-1])

    monkeypatch.setattr(sys.modules["retrieval_bench.bench"], "load_dataset", mended)
    with pytest.raises(InputError, match=r"is not what .* was evaluated on"):
        score_again(folder)


def test_the_config_of_a_run_repeats_it(delg, tmp_path):
    record, folder = delg
    repeated, other = run(load_settings([f"runs={tmp_path}"], folder / "config.yaml"), Console(quiet=True))
    assert other != folder
    assert [stage.model_dump() for stage in repeated.stages] == [stage.model_dump() for stage in record.stages]
    assert repeated.card.weights_digest == record.card.weights_digest
    with np.load(folder / "ranking.npz") as first, np.load(other / "ranking.npz") as second:
        np.testing.assert_array_equal(first["indices"], second["indices"])


def test_a_trained_checkpoint_is_evaluated_without_training(delg, data_root, tmp_path):
    record, folder = delg
    weights = folder / "checkpoints" / "final.ckpt"
    evaluated, _ = run(settings("delg", data_root, tmp_path, f"weights={weights}"), Console(quiet=True))
    assert evaluated.stages[1].levels["medium"].map == pytest.approx(record.stages[1].levels["medium"].map)
    assert evaluated.card.train_set == record.card.train_set
    assert evaluated.card.weights_digest == record.card.weights_digest
    assert "final.ckpt" in evaluated.card.weights


def test_a_killed_run_goes_on_where_it_was(delg, data_root, tmp_path, monkeypatch):
    record, _ = delg
    wanted = settings("delg", data_root, tmp_path)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["retrieval_bench.bench"], "write_run", killed)
        with pytest.raises(KeyboardInterrupt):
            run(wanted, Console(quiet=True))
    (unfinished,) = (tmp_path / "synthetic" / "delg").iterdir()
    continued, folder = run(wanted, Console(quiet=True))
    assert folder == unfinished
    assert [stage.model_dump() for stage in continued.stages] == [stage.model_dump() for stage in record.stages]
    assert any("stored" in cost.name for cost in continued.costs)


def other_content(weights: Path) -> None:
    """The same tensors in a file of other bytes, in its place."""
    content = torch.load(weights, weights_only=True)
    torch.save({**content, "epoch": content["epoch"] + 1}, weights)


def test_a_killed_run_does_not_go_on_with_weights_that_changed(delg, data_root, tmp_path, monkeypatch):
    _, trained = delg
    weights = Path(shutil.copy(trained / "checkpoints" / "final.ckpt", tmp_path / "mine.ckpt"))
    wanted = settings("delg", data_root, tmp_path / "runs", f"weights={weights}", "train.enabled=true")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["retrieval_bench.bench"], "write_run", killed)
        with pytest.raises(KeyboardInterrupt):
            run(wanted, Console(quiet=True))
    (unfinished,) = (tmp_path / "runs" / "synthetic" / "delg").iterdir()
    assert (unfinished / "checkpoints" / "final.ckpt").is_file()
    other_content(weights)
    record, folder = run(wanted, Console(quiet=True))
    assert folder != unfinished
    assert record.provenance["weights sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert str(weights) in (folder / "config.yaml").read_text()
    assert finished_run(wanted) == folder
    other_content(weights)
    assert finished_run(wanted) is None


def test_weights_that_change_while_they_are_read_are_refused(delg, data_root, tmp_path, monkeypatch):
    _, trained = delg
    weights = Path(shutil.copy(trained / "checkpoints" / "final.ckpt", tmp_path / "mine.ckpt"))
    bench = sys.modules["retrieval_bench.bench"]
    real = bench.build_model

    def read_and_changed(*given: object) -> object:
        model = real(*given)
        other_content(weights)
        return model

    monkeypatch.setattr(bench, "build_model", read_and_changed)
    with pytest.raises(InputError, match="the file of weights= was changed"):
        run(settings("delg", data_root, tmp_path / "runs", f"weights={weights}"), Console(quiet=True))
    assert not (tmp_path / "runs").exists()


def test_training_alone_then_the_whole_run(delg, data_root, tmp_path):
    record, _ = delg
    wanted = settings("delg", data_root, tmp_path)
    checkpoint = train_only(wanted, Console(quiet=True))
    assert checkpoint.name == "final.ckpt"
    whole, folder = run(wanted, Console(quiet=True))
    assert folder == checkpoint.parents[1]
    assert whole.card.weights_digest == record.card.weights_digest


def test_extraction_alone_leaves_stores_and_no_run(delg, data_root, tmp_path):
    _, folder = delg
    weights = folder / "checkpoints" / "final.ckpt"
    stores = extract_only(settings("delg", data_root, tmp_path, f"weights={weights}"), Console(quiet=True))
    assert {name: len(store) for name, store in stores.items()} == {"queries": 3, "database": 24}
    assert len(stores["queries"].local_features) == 3
    assert not list((tmp_path / "synthetic" / "delg").iterdir())


def test_gem_from_plain_values(data_root, tmp_path):
    values: dict = {"method": "gem", "train": {"enabled": False}, "model": {"dim": 16}, "backbone": "resnet10t"}
    values["dataset"] = {"name": "synthetic", "root": str(data_root)}
    for setting in SMALL:
        key, _, value = setting.partition("=")
        section, _, option = key.partition(".")
        if section == "dataset":
            values["dataset"][option] = int(value)
    record = rb.bench({**values, "runs": str(tmp_path)}, console=Console(quiet=True))
    assert [stage.name for stage in record.stages] == ["global"]
    assert any("untrained" in warning for warning in record.card.warnings)
    assert record.stages[0].levels["medium"].map is not None


@pytest.mark.parametrize("kind", ["pca", "learned"])
def test_whitening_is_learnt_on_training_images_and_written_on_the_card(kind, delg, data_root, tmp_path):
    _, folder = delg
    weights = folder / "checkpoints" / "final.ckpt"
    wanted = (f"weights={weights}", "rerank=none", f"whitening.kind={kind}", "whitening.dim=8", "whitening.images=16")
    record, made = run(settings("delg", data_root, tmp_path, *wanted), Console(quiet=True))
    assert record.card.whitening.startswith(f"{kind} to 8-d, learnt on synthetic train (")
    again = (f"weights={weights}", "rerank=none", "whitening.kind=file", "whitening.dim=8")
    path = made / "whitening.safetensors"
    repeated, _ = run(settings("delg", data_root, tmp_path, *again, f"whitening.path={path}"), Console(quiet=True))
    assert [stage.model_dump() for stage in repeated.stages] == [stage.model_dump() for stage in record.stages]


def test_skipped_images_are_named_on_the_card(tmp_path):
    from PIL import Image

    generator = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    (tmp_path / "images" / "b" / "broken.jpg").write_bytes(b"no image")
    wanted = [
        "method=gem",
        "dataset=folder",
        f"dataset.root={tmp_path / 'images'}",
        "backbone=resnet10t",
        "model.dim=16",
        "train.enabled=false",
        f"runs={tmp_path / 'runs'}",
        "runtime.workers=0",
    ]
    with pytest.raises(InputError, match=r"broken\.jpg"):
        run(load_settings(wanted), Console(quiet=True))
    record, folder = run(load_settings([*wanted, "extract.on_error=skip"]), Console(quiet=True))
    assert any("broken.jpg" in warning for warning in record.card.warnings)
    assert len(json.loads((folder / "gallery.json").read_text())["rows"]) == 6


def test_the_embedded_dataset_has_its_preset():
    """Without the preset a run would train a ResNet-50 at 512 pixels, which no small machine survives."""
    for method in rb.list_methods():
        preset = load_settings([f"method={method}"])
        assert preset.backbone.name == {"ultron": "ultron_s"}.get(method, "resnet10t")
        assert preset.train.image_size == 96
    assert load_settings(["method=delg"]).rerank.name == "geometric"
    assert load_settings(["method=delg", "weights=some.pth"]).backbone.name is None


@pytest.fixture(scope="module")
def cvnet(data_root, tmp_path_factory):
    wanted = settings("cvnet", data_root, tmp_path_factory.mktemp("runs"), "rerank.top_k=5", "model.queue_size=64")
    return run(wanted, Console(quiet=True))


def test_two_stages_are_trained_one_after_the_other(cvnet):
    record, folder = cvnet
    assert [row["epoch"] for row in record.validation] == [1, 2]
    assert "train/contrast" in record.validation[0]
    assert "train/positive" in record.validation[1]
    assert (folder / "stages" / "base" / "checkpoints" / "final.ckpt").is_file()
    assert (folder / "checkpoints" / "final.ckpt").is_file()
    assert record.card.reranked == 5
    assert record.card.ground_truth_in_candidates is False


def test_the_published_rule_has_a_ranking_for_each_level_and_says_so(cvnet, data_root, tmp_path):
    _, trained = cvnet
    weights = trained / "checkpoints" / "final.ckpt"
    published = ["rerank.top_k=2", "rerank.protocol=published", f"weights={weights}"]
    record, folder = run(settings("cvnet", data_root, tmp_path, *published), Console(quiet=True))
    assert record.card.ground_truth_in_candidates is True
    assert any("ground truth chose" in warning for warning in record.card.warnings)
    again = score_again(folder)["reranked"]
    for level, figures in record.stages[1].levels.items():
        assert figures.map == pytest.approx(getattr(again, f"map_{level}"))
    with np.load(folder / "ranking.npz") as stored:
        assert {"indices_easy", "indices", "indices_hard", "global_indices"} <= set(stored)


def test_a_descriptor_re_ranker_works_with_local_features_at_hand(delg, data_root, tmp_path):
    _, trained = delg
    more = [f"weights={trained / 'checkpoints' / 'final.ckpt'}", "rerank=superglobal", "rerank.top_m=5"]
    record, _ = run(settings("delg", data_root, tmp_path, *more), Console(quiet=True))
    assert record.parts["re-ranker"] == "superglobal"
    assert record.card.reranked == 5


def test_our_cvnet_weights_serve_superglobal(cvnet, data_root, tmp_path):
    _, trained = cvnet
    more = [f"weights={trained / 'checkpoints' / 'final.ckpt'}", "rerank.top_m=5"]
    record, _ = run(settings("superglobal", data_root, tmp_path, *more), Console(quiet=True))
    assert record.card.protocol.merge == "max"
    assert "method cvnet" in record.card.weights


def test_feature_maps_of_a_method_without_any(data_root, tmp_path):
    with pytest.raises(InputError, match="'cvnet' compares feature maps"):
        run(settings("gem", data_root, tmp_path, "rerank=cvnet"), Console(quiet=True))


def test_broken_images_are_not_skipped_from_tuples(data_root, tmp_path):
    with pytest.raises(InputError, match=r"the hard-tuples of cfcd stand in a fixed order.*on_error=error"):
        run(settings("cfcd", data_root, tmp_path, "loss=madacos", "extract.on_error=skip"), Console(quiet=True))
