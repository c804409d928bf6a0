"""The run record as a file: whole or not at all, and read back equal."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from retrieval_bench.settings.card import ProtocolCard
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.record import (
    SCHEMA,
    Candidate,
    Cost,
    Gallery,
    GalleryRow,
    Level,
    Published,
    RunRecord,
    Stage,
    read_record,
)


@pytest.fixture
def record() -> RunRecord:
    levels = {
        "easy": Level(map=0.5, interval=(0.4, 0.6), precision_at={1: 1.0, 5: 0.5}, queries=3),
        "medium": Level(map=1 / 3, interval=None, precision_at={1: 0.1}, queries=3),
        "hard": Level(map=None, interval=None, precision_at={1: None}, queries=0),
    }
    return RunRecord(
        run_id="20260101-000000-abcdef01",
        title="GeM résumé",
        method="gem",
        parts={"pooling": "gem"},
        dataset="synthetic",
        created="2026-01-01T00:00:00+00:00",
        stages=[Stage(name="global", levels=levels, groups={"facade": 0.25, "arch": None})],
        costs=[Cost(name="training", value=1.5, unit="s")],
        card=ProtocolCard(
            dataset="synthetic",
            images="synthetic, seed 0",
            ground_truth_digest="0" * 64,
            queries=3,
            database=9,
            protocol=Protocol(scales=(2**-0.5, 1.0)),
            query_crop="none",
            search="exact inner product (torch)",
            train_set="synthetic train",
            weights="trained in this run",
            weights_digest="1" * 64,
        ),
        provenance={"seed": "0"},
        published=[
            Published(dataset="roxford5k", level="hard", stage="global", map=0.4, variant="R50", source="paper")
        ],
        validation=[{"epoch": 1.0, "lr": 0.1}],
    )


def test_it_is_read_back_equal(record, tmp_path):
    assert record.write(tmp_path) == tmp_path / "record.json"
    again = read_record(tmp_path)
    assert again == record
    assert again.stages[0].levels["easy"].precision_at == {1: 1.0, 5: 0.5}
    assert again.stages[0].levels["medium"].map == 1 / 3


def test_nothing_else_is_left(record, tmp_path):
    record.write(tmp_path)
    record.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_a_write_that_fails_leaves_the_old_record(record, tmp_path, monkeypatch, step):
    record.write(tmp_path)

    def fail(self: Path, *arguments: object, **options: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(OSError, match="disk full"):
        record.model_copy(update={"title": "other"}).write(tmp_path)
    monkeypatch.undo()
    assert read_record(tmp_path) == record


def test_a_folder_without_a_record(tmp_path):
    with pytest.raises(InputError, match=r"no record\.json in .*no finished run"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"run_id": 5}'])
def test_a_damaged_record_is_named_in_one_line(tmp_path, content):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(InputError, match=r"record\.json .*run it again") as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_schema_is_refused_by_number(record, tmp_path):
    content = json.loads(record.write(tmp_path).read_text()) | {"schema_version": SCHEMA + 1}
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"has schema {SCHEMA + 1}, this version reads {SCHEMA}"):
        read_record(tmp_path)


def test_another_schema_is_named_as_such_even_where_its_fields_differ(record, tmp_path):
    content = json.loads(record.write(tmp_path).read_text()) | {"schema_version": SCHEMA + 1, "tables": []}
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"has schema {SCHEMA + 1}, this version reads {SCHEMA}"):
        read_record(tmp_path)


def test_unknown_fields_are_refused(record):
    with pytest.raises(ValidationError, match="extra"):
        RunRecord(**record.model_dump(), extra=1)


def test_a_gallery_is_read_back_equal():
    candidate = Candidate(
        name="a", path="/a.jpg", position=0, before=3, score=0.5, relation="easy", query_points=[(1.5, 2.0)]
    )
    gallery = Gallery(
        rows=[GalleryRow(query="q", path="/q.jpg", box=(0, 1, 2, 3), best=[candidate], missed=[])],
    )
    assert Gallery.model_validate_json(gallery.model_dump_json()) == gallery
