"""What a study is: the YAML file that a user writes.

settings:                        # common to all runs, like a run's own settings
  method: gem
  train.epochs: 5
grid:                            # every combination of these is a row of the table
  pooling: [gem, mac, {name: gem, p: 4}]
  size:                          # no setting: each value is a name and the settings that belong to it
    - {name: small, model.dim: 128}
    - {name: large, model.dim: 512}
exclude:                         # combinations that are left out
  - {pooling: mac, size: large}
include:                         # rows beside the grid; what the grid does not vary may be set, too
  - {name: long, pooling: gem, train.epochs: 50}
seeds: [0, 1, 2]                 # every row runs once per seed
skip_misfits: true               # rows that cannot be made are left out and named below the table; default: refuse all
trained:                         # runs that come first; `trained:NAME` as a value is the checkpoint of one
  start: {method: gem}
plugins: [my_gem.py]
slurm: {slurm_partition: gpu, timeout_min: 600, gpus_per_node: 1}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.loading import read_yaml

RESERVED = ("seed", "runs", "plugins", "title")
"""Settings that a study gives its runs itself, or that must be one for all of them."""


class Study(BaseModel):
    """A study, checked for its form; what its runs are is decided by `grid.rows` and `plan.plan`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^\w[\w.-]*$", description="of its folder; default: the file's name")
    title: str | None = Field(default=None, description="above its table; null: the name")
    settings: dict[str, Any] = Field(default_factory=dict, description="common to all runs")
    grid: dict[str, list[Any]] = Field(default_factory=dict, description="setting, or free name -> values")
    include: list[dict[str, Any]] = Field(default_factory=list, description="rows beside the grid")
    exclude: list[dict[str, Any]] = Field(default_factory=list, description="combinations left out")
    seeds: list[int] = Field(default=[0], min_length=1)
    skip_misfits: bool = Field(default=False, description="go on without the rows that cannot be made")
    trained: dict[str, dict[str, Any]] = Field(default_factory=dict, description="runs that come first, by name")
    plugins: list[Path] = Field(default_factory=list)
    slurm: dict[str, Any] = Field(default_factory=dict, description="parameters of the jobs, as submitit names them")

    @field_validator("plugins", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Path) else value

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("seeds must be different whole numbers from 0")
        return seeds


def read_study(file: Path) -> Study:
    """Read a study file.

    Raises:
        InputError: no such file, no YAML mapping, an unknown key (with the nearest known one), or a wrong type.
    """
    if not file.is_file():
        raise InputError(f"no study file at {file}; `configs/studies` holds some to start from")
    return study_of({"name": file.stem, **read_yaml(file)}, source=str(file))


def study_of(values: Mapping[str, Any], source: str = "study") -> Study:
    """A study from plain values.

    Args:
        values: as a study file holds them.
        source: named in messages.

    Raises:
        InputError: as `read_study`.
    """
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(item) for item in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(f"{source}: {nearest(key, Study.model_fields, noun='part of a study')}") from error
        raise InputError(f"{source}: {key}={first['input']!r} is wrong: {first['msg'].lower()}") from error
    if not study.grid and not study.include:
        raise InputError(f"{source} has no runs: give grid: a mapping of settings to lists of values, or include: rows")
    given = [("settings", study.settings), ("grid", study.grid), *(("include", row) for row in study.include)]
    for section, keys in given:
        for name in RESERVED:
            if name in keys:
                mend = {"seed": "write seeds: [0, 1, 2]", "plugins": "write plugins: beside it"}.get(
                    name, f"give {name}=... on the command line" if name == "runs" else "tables name rows themselves"
                )
                raise InputError(f"{source}: {section} must not hold {name}; {mend}")
    return study
