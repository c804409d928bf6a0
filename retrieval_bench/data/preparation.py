"""Get a dataset, and check what is there: the work behind ``retrieval-bench data``."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from retrieval_bench.data.download import Progress, download
from retrieval_bench.data.ground_truth import read_ground_truth
from retrieval_bench.data.reading import ImageError, probe_size
from retrieval_bench.data.registry import DATASETS, load_dataset
from retrieval_bench.data.revisited import PREPARED, dataset_folder, ground_truth_path, missing_images
from retrieval_bench.data.sources import DEFAULT_RELEASE, SOURCES, RemoteFile, archives
from retrieval_bench.data.unpacking import unpack
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.places import default_root
from retrieval_bench.values.dataset import RetrievalDataset

Report = Callable[[str], Progress]
"""From a file's name to the function that is told about its bytes."""


@dataclass(frozen=True)
class Fetch:
    """A file that `prepare` would fetch.

    Attributes:
        url: from where.
        path: to where; archives are removed once unpacked.
        size: bytes, exact or about.
        exact: which of the two.
        present: whether it is there already, or no longer needed.
    """

    url: str
    path: Path
    size: int
    exact: bool
    present: bool


@dataclass
class Verification:
    """What `verify` found. `problems` make results wrong or impossible; `notes` belong beside them."""

    name: str
    root: Path
    queries: int = 0
    database: int = 0
    train: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def plan(name: str, root: str | Path | None = None, release: str = DEFAULT_RELEASE) -> list[Fetch]:
    """What `prepare` would fetch; empty for datasets that are made or brought and not fetched.

    Raises:
        InputError: unknown dataset or release.
    """
    DATASETS.get(name)
    if name not in SOURCES:
        return []
    source = SOURCES[name]
    folder = _folder(name, root)
    annotation = ground_truth_path(name, folder)
    complete = annotation.is_file() and not _missing(name, folder)
    fetches = [_fetch(source.ground_truth, annotation, annotation.is_file())]
    for archive in archives(source, release):
        path = folder / "archives" / archive.name
        fetches.append(_fetch(archive, path, complete or path.is_file()))
    return fetches


def prepare(
    name: str,
    root: str | Path | None = None,
    *,
    release: str = DEFAULT_RELEASE,
    keep_archives: bool = False,
    report: Report | None = None,
) -> RetrievalDataset:
    """Fetch, unpack and load a dataset; go on where an earlier call stopped. Datasets without a source are just loaded.

    Raises:
        InputError: unknown dataset or release, too little disk, another release in the folder, a damaged archive.
        DownloadError: the network or the server fails.
    """
    fetches = plan(name, root, release)
    if not fetches:
        return load_dataset(name, root)
    source = SOURCES[name]
    folder = _folder(name, root)
    folder.mkdir(parents=True, exist_ok=True)
    _check_release(folder, release)
    _check_disk(folder, fetches)
    _get(source.ground_truth, ground_truth_path(name, folder), report)
    if _missing(name, folder):
        packed = [(archive, folder / "archives" / archive.name) for archive in archives(source, release)]
        for archive, path in packed:
            _get(archive, path, report)
        _unpack_images(name, folder, [path for _, path in packed])
        _write_prepared(folder, release, packed)
        if not keep_archives:
            shutil.rmtree(folder / "archives")
    return load_dataset(name, folder)


def verify(name: str, root: str | Path | None = None, **options: Any) -> Verification:
    """Look at every image's header, at the ground truth and at the counts; nothing is changed.

    Args:
        name, root, options: as in `load_dataset`.

    Raises:
        InputError: unknown dataset or option. What is wrong with the files is in the result instead.
    """
    known = DATASETS.options(name)
    if unknown := [key for key in options if key not in known or key == "root"]:
        raise InputError(f"dataset {name!r} has no option {unknown[0]!r} (it has: {', '.join(sorted(known))})")
    folder = _folder(name, root)
    result = Verification(name, folder)
    if name in SOURCES and ground_truth_path(name, folder).is_file():
        try:
            missing = _missing(name, folder)
        except InputError as error:
            result.problems.append(str(error))
            return result
        if missing:
            result.problems += [f"{path} is missing" for path in missing]
            return result
    try:
        dataset = load_dataset(name, root, **options)
    except InputError as error:
        result.problems.append(str(error))
        return result
    result.queries, result.database = len(dataset.queries), len(dataset.database)
    result.facts = dict(dataset.facts)
    labelled = [part for part in (dataset.train, dataset.validation) if part is not None]
    result.train = sum(len(part) for part in labelled)
    sizes: dict[Path, tuple[int, int]] = {}
    files = [*dataset.queries.paths, *dataset.database.paths, *(path for part in labelled for path in part.paths)]
    for path in dict.fromkeys(files):
        try:
            sizes[path] = probe_size(path)
        except ImageError as error:
            result.problems.append(str(error))
    if name in SOURCES:
        _compare_with_source(name, dataset, sizes, result)
    return result


def _compare_with_source(
    name: str, dataset: RetrievalDataset, sizes: dict[Path, tuple[int, int]], result: Verification
) -> None:
    source = SOURCES[name]
    if dataset.facts["ground_truth"] != "official file":
        result.notes.append(f"{ground_truth_path(name, dataset.root).name} is {dataset.facts['ground_truth']}")
    if (result.queries, result.database) != (source.queries, source.database):
        result.notes.append(
            f"{result.queries} queries and {result.database} database images; the published set has {source.queries} "
            f"and {source.database}"
        )
    # Every released database image has a longer side of exactly 1024 pixels.
    resized = [path.name for path in dataset.database.paths if path in sizes and max(sizes[path]) != 1024]
    if resized:
        result.notes.append(
            f"{len(resized)} database images, {resized[0]} first, have no longer side of 1024 pixels as released"
        )


def _folder(name: str, root: str | Path | None) -> Path:
    folder = default_root() / name if root is None else Path(root).expanduser()
    return dataset_folder(name, folder) if name in SOURCES else folder


def _fetch(file: RemoteFile, path: Path, present: bool) -> Fetch:
    return Fetch(file.urls[0], path, file.size or file.about, file.size is not None, present)


def _get(file: RemoteFile, path: Path, report: Report | None) -> None:
    if path.is_file() and path.suffix == ".pkl":
        return  # a copy of the user's own is theirs to keep; `verify` and the card say that it differs
    download(file.urls, path, size=file.size, sha256=file.sha256, progress=report(file.name) if report else None)


def _missing(name: str, folder: Path) -> list[Path]:
    return missing_images(read_ground_truth(ground_truth_path(name, folder)), folder)


def _unpack_images(name: str, folder: Path, packed: list[Path]) -> None:
    """The images that the ground truth names, into ``jpg/``; archives hold a few more, some of them corrupt."""
    truth = read_ground_truth(ground_truth_path(name, folder))
    wanted = {*truth.queries, *truth.database}

    def choose(path: PurePosixPath) -> str | None:
        return f"{path.stem}.jpg" if path.suffix.lower() == ".jpg" and path.stem in wanted else None

    staging = folder / "jpg.partial"
    shutil.rmtree(staging, ignore_errors=True)
    names = [file for archive in packed for file in unpack(archive, staging, choose)]
    if absent := wanted - {Path(file).stem for file in names}:
        shutil.rmtree(staging)
        raise InputError(
            f"{', '.join(str(path) for path in packed)}: {len(absent)} images of {name} are not inside, "
            f"{min(absent)} first; remove the archives and fetch them again"
        )
    images = folder / "jpg"
    images.mkdir(exist_ok=True)
    for file in set(names):
        (staging / file).replace(images / file)
    staging.rmdir()


def _write_prepared(folder: Path, release: str, packed: list[tuple[RemoteFile, Path]]) -> None:
    files = {}
    for archive, path in packed:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        files[archive.name] = {"url": archive.urls[0], "bytes": path.stat().st_size, "sha256": digest}
    partial = folder / f"{PREPARED}.partial"
    partial.write_text(json.dumps({"release": release, "files": files}, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / PREPARED)


def _check_release(folder: Path, release: str) -> None:
    path = folder / PREPARED
    if not path.is_file():
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))["release"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged; remove it and prepare again") from error
    if there != release:
        raise InputError(f"{folder} holds the release {there!r}; prepare {release!r} in another folder")


def _check_disk(folder: Path, fetches: list[Fetch]) -> None:
    need = 2 * sum(fetch.size for fetch in fetches if not fetch.present)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free, archives and images need about {need / 1e9:.1f} GB; free some or "
            "choose another folder"
        )
