"""Revisited Oxford and Paris (Radenović et al., CVPR 2018): ``gnd_<name>.pkl`` and ``jpg/*.jpg``."""

import json
from pathlib import Path

from retrieval_bench.data.ground_truth import RevisitedGroundTruth, read_ground_truth
from retrieval_bench.data.registry import register_dataset
from retrieval_bench.data.sources import RELEASES, SOURCES
from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.values.dataset import ImageList, RetrievalDataset

PREPARED = "prepared.json"
"""What `data prepare` leaves beside the images: their release and the digests of what it fetched."""


@register_dataset("roxford5k")
def roxford5k(root: Path, release: str | None = None) -> RetrievalDataset:
    """ROxford5k: 70 queries, 4993 database images.

    Args:
        root: the folder with ``gnd_roxford5k.pkl`` and ``jpg``, or the one above it.
        release: "v1-blurred" or "original", for the protocol card; None takes what `data prepare` wrote down.

    Raises:
        InputError: a file is missing, or the ground truth is of another form.
    """
    return _load("roxford5k", root, release)


@register_dataset("rparis6k")
def rparis6k(root: Path, release: str | None = None) -> RetrievalDataset:
    """RParis6k: 70 queries, 6322 database images.

    Args:
        root: the folder with ``gnd_rparis6k.pkl`` and ``jpg``, or the one above it.
        release: "v1-blurred" or "original", for the protocol card; None takes what `data prepare` wrote down.

    Raises:
        InputError: a file is missing, or the ground truth is of another form.
    """
    return _load("rparis6k", root, release)


def dataset_folder(name: str, root: Path) -> Path:
    """`root`, or the folder `name` inside it where only that one holds the ground truth."""
    inside = root / name
    return inside if not ground_truth_path(name, root).is_file() and ground_truth_path(name, inside).is_file() else root


def ground_truth_path(name: str, folder: Path) -> Path:
    """Where the annotation of a set lies in its folder."""
    return folder / SOURCES[name].ground_truth.name


def missing_images(truth: RevisitedGroundTruth, folder: Path) -> list[Path]:
    """The images of the ground truth that are not in ``jpg/``, in its order, queries first."""
    images = folder / "jpg"
    present = {path.name for path in images.iterdir()} if images.is_dir() else set()
    return [images / f"{stem}.jpg" for stem in [*truth.queries, *truth.database] if f"{stem}.jpg" not in present]


def _load(name: str, root: Path, release: str | None) -> RetrievalDataset:
    if release is not None and release not in RELEASES:
        raise InputError(nearest(release, RELEASES, noun="release"))
    folder = dataset_folder(name, root)
    annotation = ground_truth_path(name, folder)
    if not annotation.is_file():
        raise InputError(f"{annotation} is missing; {_mend(name, root)}")
    truth = read_ground_truth(annotation)
    images = folder / "jpg"
    if missing := missing_images(truth, folder):
        raise InputError(f"{missing[0]} and {len(missing) - 1} more images are missing; {_mend(name, root)}")
    official = truth.sha256 == SOURCES[name].ground_truth.sha256
    facts = {
        "images": _release(folder, release),
        "ground_truth": "official file" if official else f"not the official file: sha256 {truth.sha256}",
        "annotation": "Radenović, Iscen, Tolias, Avrithis, Chum, CVPR 2018",
    }
    return RetrievalDataset(
        name=name,
        root=folder,
        queries=ImageList(truth.queries, [images / f"{stem}.jpg" for stem in truth.queries], truth.boxes),
        database=ImageList(truth.database, [images / f"{stem}.jpg" for stem in truth.database]),
        ground_truth=truth.entries,
        facts=facts,
    )


def _release(folder: Path, stated: str | None) -> str:
    prepared = folder / PREPARED
    recorded = None
    if prepared.is_file():
        try:
            recorded = json.loads(prepared.read_text(encoding="utf-8"))["release"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{prepared} is damaged; remove it and set release=...") from error
    if stated and recorded and stated != recorded:
        raise InputError(f"release={stated} is set, but {prepared} says {recorded!r}; drop one of them")
    release = stated or recorded
    return RELEASES.get(release, str(release)) if release else "release not recorded (set release=...)"


def _mend(name: str, root: Path) -> str:
    return f"get it with `retrieval-bench data prepare {name}`, or point the root at the official layout (now {root})"
