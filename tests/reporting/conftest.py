"""A run folder as a finished run leaves it, with pictures drawn here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from retrieval_bench.settings.card import ProtocolCard
from retrieval_bench.settings.protocol import Protocol
from retrieval_bench.settings.record import (
    LEVELS,
    Candidate,
    Cost,
    Gallery,
    GalleryRow,
    Level,
    Published,
    RunRecord,
    Stage,
)

RELATIONS = ("easy", "negative", "junk", "hard", "negative", "negative", "easy", "negative", "negative", "junk")
NASTY = '<b>&".jpg'


def draw_picture(path: Path, seed: int, size: tuple[int, int] = (200, 150)) -> None:
    """A facade of seeded colours with windows."""
    generator = np.random.default_rng(seed)
    wall, window = (tuple(int(c) for c in generator.integers(30, 226, 3)) for _ in range(2))
    picture = Image.new("RGB", size, (170, 190, 210))
    draw = ImageDraw.Draw(picture)
    left, top = (int(c) for c in generator.integers(5, 40, 2))
    draw.rectangle((left, top, size[0] - 20, size[1] - 5), fill=wall)
    for x in range(left + 8, size[0] - 40, 28):
        for y in range(top + 10, size[1] - 30, 30):
            draw.rectangle((x, y, x + 14, y + 18), fill=window)
    picture.save(path, quality=90)


@pytest.fixture
def make_stage() -> Callable[..., Stage]:
    def make(name: str = "global", shift: float = 0.0, **levels: Level) -> Stage:
        figures = {}
        for number, level in enumerate(LEVELS):
            value = 0.71234 - 0.2 * number + shift
            figures[level] = Level(
                map=value,
                interval=(value - 0.04321, value + 0.03877),
                precision_at={1: value + 0.1, 5: value + 0.05, 10: value},
                queries=12 - number,
            )
        return Stage(name=name, levels={**figures, **levels}, groups={"towers": 0.4 + shift, "facades": 0.6 + shift})

    return make


@pytest.fixture
def make_card() -> Callable[..., ProtocolCard]:
    def make(**changes: object) -> ProtocolCard:
        fields: dict[str, object] = {
            "dataset": "synthetic",
            "images": "synthetic, seed 0",
            "dataset_facts": {"licence": "generated"},
            "ground_truth_digest": "0123456789abcdef" * 4,
            "queries": 12,
            "database": 400,
            "protocol": Protocol(image_size=256, scales=(0.7071, 1.0, 1.4142)),
            "query_crop": "cut to the box",
            "search": "exact inner product (torch)",
            "reranking": "geometric: affine, 1000 hypotheses",
            "reranked": 100,
            "train_set": "synthetic train landmarks",
            "training": "whole network, random views",
            "weights": "trained in this run",
            "weights_digest": "fedcba9876543210" * 4,
        }
        return ProtocolCard.model_validate({**fields, **changes})

    return make


@pytest.fixture
def make_record(make_stage: Callable[..., Stage], make_card: Callable[..., ProtocolCard]) -> Callable[..., RunRecord]:
    def make(**changes: object) -> RunRecord:
        fields: dict[str, object] = {
            "run_id": "20250101-120000",
            "title": "DELG ResNet-18",
            "method": "delg",
            "parts": {"backbone": "resnet18", "pooling": "gem", "loss": "arcface", "reranker": "geometric"},
            "dataset": "synthetic",
            "created": "2025-01-01T12:00:00+00:00",
            "stages": [make_stage(), make_stage("reranked", 0.03)],
            "costs": [
                Cost(name="training", value=153.24, unit="s"),
                Cost(name="descriptor store", value=3_276_800, unit="bytes"),
                Cost(name="re-ranking per pair", value=0.04321, unit="ms"),
            ],
            "card": make_card(),
            "provenance": {"commit": "abc1234", "seed": "0", "command": "retrieval-bench bench delg"},
            "published": [
                Published(
                    dataset="roxford5k",
                    level="medium",
                    stage="reranked",
                    map=0.7654,
                    variant="R50",
                    source="Paper, T. 1",
                ),
                Published(
                    dataset="synthetic", level="hard", stage="global", map=0.4, variant="R18", source="Notes & <data>"
                ),
            ],
            "validation": [
                {
                    "epoch": epoch,
                    "train/loss": 9.0 / (epoch + 1),
                    "val/loss": 8.0 / (epoch + 1),
                    "lr": 0.01,
                    "val/mAP": v,
                }
                for epoch, v in enumerate((0.1, 0.3, 0.42))
            ],
        }
        return RunRecord.model_validate({**fields, **changes})

    return make


@pytest.fixture
def make_run(tmp_path: Path, make_record: Callable[..., RunRecord]) -> Callable[..., Path]:
    """Writes a run folder: record, per-query table and gallery with pictures; returns the folder."""

    def make(queries: int = 4, record: RunRecord | None = None) -> Path:
        pictures = tmp_path / "pictures"
        pictures.mkdir(exist_ok=True)
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        for number in range(12):
            draw_picture(pictures / f"d{number}.jpg", number)
        record = record or make_record()
        record.write(folder)
        names = [NASTY, *(f"query {number}" for number in range(1, queries))]
        _per_query(names, [stage.name for stage in record.stages]).to_parquet(folder / "per_query.parquet")
        rows = [_row(name, pictures) for name in names]
        (folder / "gallery.json").write_text(Gallery(rows=rows).model_dump_json(), encoding="utf-8")
        return folder

    return make


def _per_query(names: list[str], stages: list[str]) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    columns: dict[str, object] = {"query": names, "group": ["towers"] * len(names)}
    columns |= {f"n_{kind}": generator.integers(1, 9, len(names)) for kind in ("easy", "hard", "junk")}
    for stage in stages:
        for level in LEVELS:
            columns[f"{stage}/ap_{level}"] = generator.random(len(names))
            columns[f"{stage}/p1_{level}"] = generator.integers(0, 2, len(names)).astype(float)
    return pd.DataFrame(columns)


def _row(name: str, pictures: Path) -> GalleryRow:
    points = [(float(10 + 9 * i), float(8 + 7 * i)) for i in range(9)]
    best = [
        Candidate(
            name=f"d{position}.jpg",
            path=str(pictures / f"d{position}.jpg"),
            position=position,
            before=11 - position,
            score=40.5 - position,
            relation=relation,
            query_points=points if position == 0 else [],
            database_points=[(x + 20, y + 30) for x, y in points] if position == 0 else [],
        )
        for position, relation in enumerate(RELATIONS)
    ]
    missed = [
        Candidate(name="d11.jpg", path=str(pictures / "d11.jpg"), position=56, before=80, score=0.25, relation="hard")
    ]
    path = str(pictures / "d0.jpg")
    return GalleryRow(query=name, path=path, box=(20.4, 15.6, 160.2, 140.8), best=best, missed=missed)
