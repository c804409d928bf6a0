"""A user's own images: a CSV, or one folder per label.

Splits: `query` and `database` images are only that; `train` and `validation` images are for training; `test` images,
and all images where no split is given, are evaluated by leave-one-out: each is in the database, and each whose label
another database image has is a query, with itself as junk so that it leaves its own ranking.

All positives are `easy`, none is `hard`. So Easy and Medium are the same figure, and Hard has no query and is left out.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from retrieval_bench.data.label_table import Columns, LabelledImage, read_label_table
from retrieval_bench.data.registry import register_dataset
from retrieval_bench.data.scanning import image_files
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import GroundTruth, ImageList, LabelledImages, RetrievalDataset


@register_dataset("folder")
def folder(
    root: Path,
    csv: str | None = None,
    images: str = ".",
    image_column: str = "image",
    label_column: str = "label",
    split_column: str = "split",
    box_columns: Sequence[str] = ("x0", "y0", "x1", "y1"),
    distractor_label: str = "distractor",
    group_column: str | None = None,
    group_csv: str | None = None,
) -> RetrievalDataset:
    """Own images.

    A box cuts the image where it is a query; in a row of the split `database` it cuts the database image. Training uses
    whole images.

    Args:
        root: the folder.
        csv: a table relative to `root`; None takes each folder directly below `root` as a label.
        images: the folder, relative to `root`, to which the image names of the table are relative.
        image_column, label_column, split_column, box_columns: what the table calls them.
        distractor_label: images of this label are in the database and never positive.
        group_column: a column with the kind of the image; figures are reported per kind of the query.
        group_csv: a second table, with a row per label, that holds `group_column`.

    Raises:
        InputError: a missing file or column, a wrong cell, or no query with a positive.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; set the root to where your images are")
    if csv is None:
        if group_column or group_csv:
            raise InputError("group_column and group_csv need csv=, a table of the images")
        rows = _folders(root)
    else:
        if len(box_columns) != 4:
            raise InputError(f"box_columns names {len(box_columns)} columns; it needs four, for x0, y0, x1, y1")
        if group_csv and not group_column:
            raise InputError("group_csv needs group_column=, the column to take from it")
        x0, y0, x1, y1 = box_columns
        columns = Columns(image_column, label_column, split_column, (x0, y0, x1, y1), group_column)
        groups = root / group_csv if group_csv else None
        rows = read_label_table(root / csv, root / images, columns, groups)
    _require_files(rows, root)
    return _assemble(rows, root, distractor_label, csv or "one folder per label")


def _folders(root: Path) -> list[LabelledImage]:
    files = image_files(root)
    labelled = [path for path in files if path.parent != root]
    if not labelled:
        raise InputError(f"{root} has no folders with images; make one folder per label, or give csv= a table")
    if len(labelled) < len(files):
        stray = next(path for path in files if path.parent == root)
        raise InputError(f"{stray} lies in no label's folder; move it into one, or give csv= a table")
    names = [path.relative_to(root) for path in labelled]
    return [LabelledImage(name.as_posix(), path, name.parts[0]) for name, path in zip(names, labelled, strict=True)]


def _require_files(rows: Sequence[LabelledImage], root: Path) -> None:
    missing = [row.path for row in rows if not row.path.is_file()]
    if missing:
        raise InputError(
            f"{missing[0]} does not exist ({len(missing)} of {len(rows)} images are missing); image names are relative "
            f"to {root} and the images= option"
        )


def _assemble(rows: Sequence[LabelledImage], root: Path, distractor: str, table: str) -> RetrievalDataset:
    database = [row for row in rows if row.split in ("database", "test")]
    members: dict[str, list[int]] = {}
    places: dict[Path, list[int]] = {}
    for place, row in enumerate(database):
        members.setdefault(row.label, []).append(place)
        places.setdefault(row.path, []).append(place)
    queries = [row for row in rows if row.split == "query"]
    if odd := next((row for row in queries if row.label == distractor), None):
        raise InputError(f"{odd.path} is a query, but its label says {distractor!r}; give it a landmark's label")
    queries += [row for row in rows if row.split == "test" and row.label != distractor and len(members[row.label]) > 1]
    asked = ImageList([row.name for row in queries], [row.path for row in queries], [row.box for row in queries])
    searched = ImageList(
        [row.name for row in database],
        [row.path for row in database],
        [row.box if row.split == "database" else None for row in database],
    )
    truth: GroundTruth = []
    for query in queries:
        itself = places.get(query.path, [])
        positives = [place for place in members.get(query.label, []) if place not in itself]
        truth.append({"easy": positives, "hard": [], "junk": list(itself)})
    if not any(entry["easy"] for entry in truth):
        raise InputError(f"{root}: no query has a database image of its own label; at least one label needs two images")
    train = _labelled([row for row in rows if row.split == "train" and row.label != distractor], None)
    validation = [row for row in rows if row.split == "validation" and row.label != distractor]
    known = set(train.classes) if train else set()
    within = train.classes if train and {row.label for row in validation} <= known else None
    return RetrievalDataset(
        name="folder",
        root=root,
        queries=asked,
        database=searched,
        ground_truth=truth,
        train=train,
        validation=_labelled(validation, within),
        facts=_facts(rows, queries, table, distractor, known),
        query_groups=[row.group for row in queries] if any(row.group for row in queries) else (),
    )


def _labelled(rows: Sequence[LabelledImage], classes: Sequence[str] | None) -> LabelledImages | None:
    if not rows:
        return None
    names = list(classes) if classes is not None else sorted({row.label for row in rows})
    numbers = {name: number for number, name in enumerate(names)}
    return LabelledImages([row.path for row in rows], [numbers[row.label] for row in rows], names)


def _facts(
    rows: Sequence[LabelledImage], queries: Sequence[LabelledImage], table: str, distractor: str, train: set[str]
) -> dict[str, str]:
    splits = Counter(row.split for row in rows)
    shared = {row.label for row in queries} & train
    facts = {
        "images": "the user's own",
        "table": table,
        "split rule": ", ".join(f"{split} {count}" for split, count in sorted(splits.items()))
        + ("; leave-one-out over test" if splits["test"] else ""),
        "levels": "all positives are easy: Easy = Medium, Hard is empty",
        "distractors": str(sum(row.label == distractor and row.split in ("test", "database") for row in rows)),
    }
    if shared:
        facts["train/test overlap"] = f"{len(shared)} labels of queries are training classes, such as {min(shared)}"
    return facts
