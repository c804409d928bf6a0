"""The runs of a study: settings of every row and seed, and which of them are recorded already."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from retrieval_bench.recording.content import Content, file_digests, stated_dataset_digest
from retrieval_bench.recording.part_code import named_in, part_code_digest
from retrieval_bench.recording.run_folder import finished_in, runs_folder, settings_digest
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.loading import layered, merge_all, parse_override
from retrieval_bench.settings.run import RunSettings
from retrieval_bench.studies.definition import Study
from retrieval_bench.studies.grid import Row, rows, settings_layers

TRAINED = "trained:"
"""A value ``trained:NAME`` stands for the checkpoint of the run of that name."""


@dataclass(frozen=True)
class Planned:
    """One run of a study.

    Attributes:
        name: row and seed in one line.
        row: number of its row; -1 for a run that only trains what others start from.
        settings: of the run, an ordinary one.
        content: of its files and dataset when it was planned.
        code: `part_code_digest` when it was planned.
    """

    name: str
    row: int
    settings: RunSettings
    content: Content
    code: str

    @cached_property
    def digest(self) -> str:
        """Of its settings and of what the files that they name hold; ends the name of its run folder.

        Provisional while a checkpoint that it starts from has not been made: see `waits_for`.
        """
        return settings_digest(self.settings, self.content, self.code)

    @property
    def waits_for(self) -> str | None:
        """The name of a run whose checkpoint this one starts from and which has not been made yet, or None."""
        return waiting(self.settings.model_dump(mode="json"))

    @property
    def folder(self) -> Path | None:
        """Of its finished run, or None."""
        return finished_in(runs_folder(self.settings), self.digest)


@dataclass(frozen=True)
class Plan:
    """The rows of a study and its runs, row by row.

    Attributes:
        rows: in the order of the table.
        runs: all of them, recorded or not.
        left_out: row -> why it cannot be made, where the study goes on without it.
    """

    rows: list[Row]
    runs: list[Planned]
    left_out: Mapping[int, str] = field(default_factory=dict)

    @property
    def wanted(self) -> list[Planned]:
        """The runs that are made or recorded already."""
        return [run for run in self.runs if run.row not in self.left_out or run.folder is not None]

    def of_row(self, number: int) -> list[Planned]:
        """The runs of a row, in the order of the seeds."""
        return [run for run in self.runs if run.row == number]


def plan(study: Study, overrides: Sequence[str], checkpoints: Mapping[str, Path], plugins: Sequence[Path] = ()) -> Plan:
    """What a study runs.

    Args:
        study: checked for its form.
        overrides: ``key=value`` for every run, over all else.
        checkpoints: of `study.trained`, by name; see `first_runs`.
        plugins: beside the study's own.

    Raises:
        InputError: a wrong setting, a setting that the grid varies among the overrides, or two rows that are the same.
    """
    given = [parse_override(one) for one in overrides]
    for one in overrides:
        key = one.partition("=")[0]
        if key == "seed":
            raise InputError("the seeds of a study stand in its file; change seeds: there")
        varied = next((name for name in study.grid if name == key or name.startswith(f"{key}.")), None)
        if varied is not None:
            raise InputError(f"{one} would make all rows of grid {varied!r} the same; take it out, or change the grid")
    table = rows(study)
    runs = []
    shared = _Shared()
    for number, row in enumerate(table):
        try:
            values = _with_checkpoints(_values(study, row, given), checkpoints)
            settings = _settings({**values, "seed": study.seeds[0]}, study, plugins)
            content, code = shared.content(settings), shared.code(settings)
        except InputError as error:
            raise InputError(f"study {study.name!r}, {row.title}: {error}") from error
        for seed in study.seeds:
            seeded = settings.model_copy(update={"seed": seed}, deep=True)
            runs.append(Planned(f"{row.title}, seed {seed}", number, seeded, content, code))
    _refuse_twins(table, runs)
    return Plan(table, runs)


def first_runs(study: Study, overrides: Sequence[str], plugins: Sequence[Path] = ()) -> dict[str, Planned]:
    """The runs whose checkpoints others start from, by name; those that no row uses are left out.

    Raises:
        InputError: a wrong setting, or ``trained:NAME`` of a name that `study.trained` lacks.
    """
    given = [parse_override(one) for one in overrides]
    wanted: dict[str, None] = {}
    for row in rows(study):
        wanted |= dict.fromkeys(_names(_values(study, row, given)))
    runs = {}
    shared = _Shared()
    for name in wanted:
        if name not in study.trained:
            raise InputError(f"study {study.name!r}: {nearest(name, study.trained, noun='run under trained')}")
        values: dict[str, Any] = {}
        merge_all(values, settings_layers(study.trained[name]))
        merge_all(values, given)
        try:
            settings = _settings(values, study, plugins)
            content, code = shared.content(settings), shared.code(settings)
        except InputError as error:
            raise InputError(f"study {study.name!r}, trained {name!r}: {error}") from error
        runs[name] = Planned(f"trained: {name}", -1, settings, content, code)
    return runs


def waiting(values: Any) -> str | None:
    """The name of a run whose checkpoint plain values stand for, the first of several; None where there is none."""
    return next(_names(values), None)


def checkpoint(folder: Path) -> Path:
    """Where a finished run keeps its weights."""
    return folder / "checkpoints" / "final.ckpt"


class _Shared:
    """What many runs have in common and takes long to find: datasets and the code of parts, each looked at once."""

    def __init__(self) -> None:
        self._datasets: dict[str, str | None] = {}
        self._code: dict[str, str] = {}

    def content(self, settings: RunSettings) -> Content:
        """`Content` of a run."""
        key = f"{settings.dataset.model_dump_json()} {settings.plugins}"
        if key not in self._datasets:
            self._datasets[key] = stated_dataset_digest(settings)
        return Content(file_digests(settings), self._datasets[key])

    def code(self, settings: RunSettings) -> str:
        """`part_code_digest` of a run."""
        key = f"{[sorted(names) for names in named_in(settings).values()]} {settings.plugins}"
        if key not in self._code:
            self._code[key] = part_code_digest(settings)
        return self._code[key]


def _values(study: Study, row: Row, given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    merge_all(values, settings_layers(study.settings))
    merge_all(values, row.layers)
    merge_all(values, given)
    return values


def _settings(values: Mapping[str, Any], study: Study, plugins: Sequence[Path]) -> RunSettings:
    settings = layered(values, [*study.plugins, *plugins])
    settings.plugins = [*settings.plugins, *study.plugins, *plugins]
    return settings


def _names(values: Any) -> Iterator[str]:
    if isinstance(values, Mapping):
        for value in values.values():
            yield from _names(value)
    elif isinstance(values, str) and values.startswith(TRAINED):
        yield values.removeprefix(TRAINED)


def _with_checkpoints(values: Any, checkpoints: Mapping[str, Path]) -> Any:
    if isinstance(values, Mapping):
        return {key: _with_checkpoints(value, checkpoints) for key, value in values.items()}
    if isinstance(values, str) and values.startswith(TRAINED):
        name = values.removeprefix(TRAINED)
        return checkpoints[name].as_posix() if name in checkpoints else values
    return values


def _refuse_twins(table: Sequence[Row], runs: Sequence[Planned]) -> None:
    seen: dict[str, Planned] = {}
    for run in runs:
        twin = seen.setdefault(run.digest, run)
        if twin is not run:
            raise InputError(
                f"rows {table[twin.row].title!r} and {table[run.row].title!r} have the same settings, or weight files "
                "of the same content; take one out"
            )
