"""The run record: everything that the report and the comparison of runs read, as one JSON file.

A run folder holds, beside `record.json`:

- `per_query.parquet`: a row per query; `query`, `group`, `n_easy`, `n_hard`, `n_junk`, and for every stage
  `<stage>/ap_easy`, `<stage>/ap_medium`, `<stage>/ap_hard`, `<stage>/p1_easy` ... with `global` or `reranked` as stage;
- `ranking.npz`: `indices`, `scores` of the last stage and, where there was a re-ranking, `global_indices`,
  `global_scores`;
- `gallery.json`: what the report draws per query (`Gallery`).
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from retrieval_bench.settings.card import ProtocolCard
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.whole_file import write_text

SCHEMA = 1
LEVELS = ("easy", "medium", "hard")


class Level(BaseModel):
    """One difficulty of one stage. Figures are fractions, 0 to 1; None where no query has positives at this level."""

    model_config = ConfigDict(extra="forbid")

    map: float | None
    interval: tuple[float, float] | None = Field(description="95 % bootstrap interval of the mAP over queries")
    precision_at: dict[int, float | None]
    queries: int = Field(description="how many queries have positives at this level")


class Stage(BaseModel):
    """The figures of one ranking: before (`global`) or after re-ranking (`reranked`)."""

    model_config = ConfigDict(extra="forbid")

    name: str
    levels: dict[str, Level] = Field(description="easy, medium, hard")
    groups: dict[str, float | None] = Field(
        default_factory=dict, description="medium mAP per query group, where the dataset has groups"
    )


class Cost(BaseModel):
    """One measured cost, such as ('training', 153.2, 's')."""

    model_config = ConfigDict(extra="forbid")

    name: str
    value: float
    unit: str


class Published(BaseModel):
    """A figure printed by the authors, never mixed with measured ones."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    level: str
    stage: str
    map: float = Field(description="0 to 1")
    variant: str = Field(description="backbone and training set")
    source: str


class PluginFile(BaseModel):
    """Where a part of the user's own lives."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(description="from the folder in which the run was made, where it lies inside")
    sha256: str = Field(description="of the content that ran; empty where there is no file")


class RunRecord(BaseModel):
    """One run."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA
    run_id: str
    title: str = Field(description="how the run is called in tables: the method and what was swapped")
    method: str
    parts: dict[str, str] = Field(description="backbone, pooling, loss, re-ranker by name")
    part_options: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="kind of part, method and dataset among them -> option -> value, of those that are not its default",
    )
    plugin_files: dict[str, PluginFile] = Field(
        default_factory=dict, description="kind of part -> file, of those that are not the package's own"
    )
    dataset: str
    created: str = Field(description="ISO 8601, UTC")
    stages: list[Stage]
    costs: list[Cost]
    card: ProtocolCard
    provenance: dict[str, str] = Field(description="versions, commit, machine, device, seed, command")
    published: list[Published] = Field(default_factory=list)
    validation: list[dict[str, float]] = Field(default_factory=list, description="per epoch: losses, lr, mAP")

    def write(self, folder: Path) -> Path:
        """Write `record.json` into `folder`, whole or not at all."""
        return write_text(folder / "record.json", self.model_dump_json(indent=1) + "\n")


class Candidate(BaseModel):
    """One database image in a query's gallery row."""

    model_config = ConfigDict(extra="forbid")

    name: str
    path: str
    position: int = Field(description="0-based in the last stage")
    before: int | None = Field(default=None, description="0-based before re-ranking, where it was re-ranked")
    score: float
    relation: str = Field(description="easy, hard, junk or negative")
    query_points: list[tuple[float, float]] = Field(
        default_factory=list, description="verified keypoints in the query crop, pixels of the crop"
    )
    database_points: list[tuple[float, float]] = Field(default_factory=list, description="their partners")


class GalleryRow(BaseModel):
    """One query with its best candidates and the positives that were found last."""

    model_config = ConfigDict(extra="forbid")

    query: str
    path: str
    box: tuple[float, float, float, float] | None
    best: list[Candidate]
    missed: list[Candidate]


class Gallery(BaseModel):
    """What the report draws."""

    model_config = ConfigDict(extra="forbid")

    rows: list[GalleryRow]


def read_record(folder: Path) -> RunRecord:
    """The record in a run folder.

    Raises:
        InputError: no record there, or one that this version cannot read.
    """
    path = folder / "record.json"
    if not path.is_file():
        raise InputError(f"no record.json in {folder}: it is no finished run (run `retrieval-bench bench` first)")
    text = path.read_text(encoding="utf-8")
    try:
        schema = json.loads(text).get("schema_version")
        if schema != SCHEMA:
            raise InputError(f"{path} has schema {schema}, this version reads {SCHEMA}; run it again")
        return RunRecord.model_validate_json(text)
    except InputError:
        raise
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is no whole record ({str(error).splitlines()[0]}); run it again") from error
