"""part_name: images in a folder, with a JSON file that says what belongs together.

    {"database": ["database/0.jpg", "database/1.jpg"],
     "queries": [{"image": "queries/0.jpg", "box": [0, 0, 320, 240],
                  "easy": ["database/0.jpg"], "hard": [], "junk": []}],
     "train": {"town hall": ["train/0.jpg", "train/1.jpg"]}}

Images are named by their path below the folder. ``box`` (x0, y0, x1, y1 in pixels), ``hard``, ``junk`` and ``train``
may be left out.

Source: who collected the images, where they are, under what licence.
"""

import json
from pathlib import Path
from typing import Any, Literal

from retrieval_bench.data.registry import register_dataset
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import Box, ImageList, LabelledImages, RetrievalDataset

LEVELS = ("easy", "hard", "junk")


@register_dataset("part_name")
def part_name(
    root: Path,
    truth: str = "ground_truth.json",
    crop: Literal["box", "none"] = "box",
) -> RetrievalDataset:
    """A folder of images with a ground truth in JSON (Authors, Venue Year).

    Args:
        root: the folder.
        truth: the JSON file, relative to `root`.
        crop: whether queries are cut to their boxes.

    Raises:
        InputError: a missing file, or a ground truth of another form.
    """
    file = root / truth
    if not file.is_file():
        raise InputError(f"no ground truth at {file}; set dataset.root to the folder that holds it")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        database, queries = [str(name) for name in found["database"]], list(found["queries"])
        asked = [str(query["image"]) for query in queries]
        boxes = [_box(query) if crop == "box" else None for query in queries]
        entries = [_rows(query, database, file) for query in queries]
        train = {str(label): [str(name) for name in names] for label, names in found.get("train", {}).items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} has another form than expected: {type(error).__name__}: {error}") from error
    names = [*database, *asked, *(name for members in train.values() for name in members)]
    missing = next((name for name in names if not (root / name).is_file()), None)
    if missing is not None:
        raise InputError(f"{file} names {missing}, which is not in {root}; copy it there or take it out")
    return RetrievalDataset(
        name="part_name",
        root=root,
        queries=ImageList(asked, [root / name for name in asked], boxes),
        database=ImageList(database, [root / name for name in database]),
        ground_truth=entries,
        train=_labelled(train, root),
        facts={"images": "part_name", "split rule": f"as {truth} says"},
    )


def _box(query: dict[str, Any]) -> Box | None:
    if query.get("box") is None:
        return None
    x0, y0, x1, y1 = (float(value) for value in query["box"])
    return x0, y0, x1, y1


def _rows(query: dict[str, Any], database: list[str], file: Path) -> dict[str, list[int]]:
    places = {name: row for row, name in enumerate(database)}
    unknown = next((name for level in LEVELS for name in query.get(level, []) if name not in places), None)
    if unknown is not None:
        raise InputError(f"{file}: query {query['image']} names {unknown}, which is not in its database")
    return {level: [places[name] for name in query.get(level, [])] for level in LEVELS}


def _labelled(train: dict[str, list[str]], root: Path) -> LabelledImages | None:
    if not train:
        return None
    paths = [root / name for names in train.values() for name in names]
    labels = [number for number, names in enumerate(train.values()) for _ in names]
    return LabelledImages(paths, labels, list(train))
