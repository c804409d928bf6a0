"""What every dataset owes. One that needs files is checked where they are."""

import functools
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import SkipTest

import numpy as np
from PIL import Image

from retrieval_bench.contracts.contract import Contract, Part
from retrieval_bench.contracts.expectations import Broken, require, require_refusal
from retrieval_bench.contracts.options import require_docstring, require_options
from retrieval_bench.data.reading import ImageError, probe_size
from retrieval_bench.data.registry import DATASETS, load_dataset
from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.kinds import KINDS
from retrieval_bench.settings.places import default_root
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset

LEVELS = ("easy", "hard", "junk")
READ = 200
"""Images of a list whose header is read; the existence of all files is checked."""

SMALL: Mapping[str, Mapping[str, int]] = {
    "synthetic": {
        "train_landmarks": 2,
        "train_images_per_landmark": 1,
        "validation_landmarks": 1,
        "validation_images_per_landmark": 1,
        "test_landmarks": 2,
        "queries_per_landmark": 1,
        "database_images_per_landmark": 3,
        "lookalikes": 1,
        "images_per_lookalike": 1,
        "distractors": 1,
        "image_size": 64,
        "workers": 1,
    }
}
"""Options with which a dataset that makes its images is made in moments."""


def load(part: Part) -> RetrievalDataset:
    """The dataset: from `root` where it is given, else from where it lies, else made in a folder of our own.

    Raises:
        SkipTest: its files are not there, with what it says of that.
        InputError: `root` is given, and there is no such dataset.
    """
    given = dict(part.options)
    if "root" in given:
        return load_dataset(part.name, Path(str(given.pop("root"))), **given)
    usual = default_root() / part.name
    if part.name in ("folder", *SMALL) or not usual.exists():
        root, options = made_for(part.name), {**SMALL.get(part.name, {}), **given}
        try:
            return load_dataset(part.name, root, **options)
        except InputError as error:
            if part.name in ("folder", *SMALL):
                raise
            raise SkipTest(
                f"it cannot be checked without its files, and {usual} does not exist: give root=FOLDER, or run "
                f"`retrieval-bench data prepare {part.name}` if it can be fetched"
            ) from error
    try:
        return load_dataset(part.name, usual, **given)
    except InputError as error:
        raise SkipTest(f"its files in {usual} cannot be used ({error}); give root=FOLDER") from error


def builds(part: Part) -> None:
    """It returns a RetrievalDataset that goes by its name, and has a docstring."""
    require_docstring(DATASETS.get(part.name), part.name)
    first = next(iter(DATASETS.options(part.name)), None)
    require(first == "root", f"its first parameter is {first}, not root, the folder in which it lies")
    dataset = load(part)
    require(dataset.name == part.name, f"it calls itself {dataset.name!r}, but is registered as {part.name!r}")
    require(isinstance(dataset.root, Path), f"root is a {type(dataset.root).__name__}, not a Path")


def options(part: Part) -> None:
    """Options are typed, defaults fit, and unknown ones are refused with the nearest name."""
    require_options(DATASETS, part.name, KINDS["dataset"].given)


def missing_files(part: Part) -> None:
    """From an empty folder it is made, or refused in one line that says what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        options = {**SMALL.get(part.name, {}), **{key: one for key, one in part.options.items() if key != "root"}}

        def attempt() -> None:
            load_dataset(part.name, Path(folder), **options)
            raise InputError("made")

        require_refusal(attempt, "an empty folder")


def image_lists(part: Part) -> None:
    """Queries and database are ImageLists of files that exist and can be read."""
    dataset = load(part)
    for noun in ("queries", "database"):
        images = getattr(dataset, noun)
        require(isinstance(images, ImageList), f"{noun} is a {type(images).__name__}, not an ImageList")
        require(len(images) > 0, f"{noun} has no images")
        require(all(isinstance(name, str) for name in images.names), f"a name in {noun} is no string")
        require_readable(images.paths, noun)


def boxes(part: Part) -> None:
    """Boxes are x0, y0, x1, y1 in pixels, and overlap their images."""
    dataset = load(part)
    for noun in ("queries", "database"):
        images = getattr(dataset, noun)
        boxed = [entry for entry in zip(images.paths, images.boxes, strict=True) if entry[1] is not None]
        for path, box in boxed[:READ]:
            shown = f"the box {box} of {path.name} in {noun}"
            require(len(box) == 4 and all(math.isfinite(side) for side in box), f"{shown} is not x0, y0, x1, y1")
            width, height = probe_size(path)
            x0, y0, x1, y1 = box
            require(x0 < x1 and y0 < y1, f"{shown} is empty; it is x0, y0, x1, y1, not x, y, width, height")
            require(
                x0 < width and y0 < height and x1 > 0 and y1 > 0, f"{shown} lies outside the image, {width} x {height}"
            )


def ground_truth(part: Part) -> None:
    """Each query has lists of database rows `easy`, `hard` and `junk`, no row in two, and some have a positive."""
    dataset = load(part)
    rows = range(len(dataset.database))
    require(isinstance(dataset.ground_truth, list), "ground_truth is no list")
    require(
        len(dataset.ground_truth) == len(dataset.queries),
        f"ground_truth has {len(dataset.ground_truth)} entries for {len(dataset.queries)} queries",
    )
    for name, entry in zip(dataset.queries.names, dataset.ground_truth, strict=True):
        absent = [level for level in LEVELS if level not in entry]
        require(not absent, f"the ground truth of query {name} has no {' and '.join(absent)}; an empty list will do")
        listed = [row for level in LEVELS for row in entry[level]]
        odd = next((row for row in listed if not isinstance(row, int | np.integer) or row not in rows), None)
        require(odd is None, f"the ground truth of query {name} names row {odd!r} of {len(rows)} database rows")
        twice = next((row for row in listed if listed.count(row) > 1), None) if len(set(listed)) < len(listed) else None
        require(twice is None, f"the ground truth of query {name} lists database row {twice} twice")
    positive = any(entry["easy"] or entry["hard"] for entry in dataset.ground_truth)
    require(positive, "no query has a positive, so there is nothing to find")


def no_leaks(part: Part) -> None:
    """No query finds its own file as a positive, and no training image is in the test."""
    dataset = load(part)
    files = list(dataset.database.paths)
    for name, path, entry in zip(dataset.queries.names, dataset.queries.paths, dataset.ground_truth, strict=True):
        own = next((row for row in (*entry["easy"], *entry["hard"]) if files[row] == path), None)
        require(own is None, f"query {name} has its own file as a positive (database row {own}); list it as junk")
    if dataset.train is not None:
        shared = set(dataset.train.paths) & {*files, *dataset.queries.paths}
        require(
            not shared, f"{len(shared)} training images are in the test, such as {min(shared).name if shared else ''}"
        )


def labels(part: Part) -> None:
    """Training and validation images exist, and their labels are whole numbers from 0 up, with a name each."""
    dataset = load(part)
    labelled = {"train": dataset.train, "validation": dataset.validation}
    for noun, images in labelled.items():
        if images is None:
            continue
        require(isinstance(images, LabelledImages), f"{noun} is a {type(images).__name__}, not LabelledImages")
        require(all(isinstance(label, int | np.integer) for label in images.labels), f"a label in {noun} is no integer")
        require_readable(images.paths, noun)
    if dataset.train is None:
        raise SkipTest("it has no training images")
    unused = sorted(set(range(len(dataset.train.classes))) - set(dataset.train.labels))
    require(not unused, f"{len(unused)} training classes have no image, such as {unused[:1]}; leave them out")


def same_twice(part: Part) -> None:
    """Loaded again, it has the same images in the same order, and the same ground truth."""
    first, second = load(part), load(part)
    for noun in ("queries", "database"):
        require(
            list(getattr(first, noun).names) == list(getattr(second, noun).names),
            f"{noun} have another order when it is loaded again; sort what is read from folders",
        )
    require(first.ground_truth == second.ground_truth, "the ground truth is another one when it is loaded again")
    if first.train is not None and second.train is not None:
        require(
            list(first.train.paths) == list(second.train.paths)
            and list(first.train.labels) == list(second.train.labels),
            "training images or labels are others when it is loaded again; sort what is read from folders",
        )


def facts(part: Part) -> str:
    """`facts`, which the protocol card repeats, are words."""
    dataset = load(part)
    odd = [key for key, value in dataset.facts.items() if not (isinstance(key, str) and isinstance(value, str))]
    require(not odd, f"facts {odd} are no strings")
    counts = f"{len(dataset.queries)} queries, {len(dataset.database)} database images"
    return counts + (f", {len(dataset.train)} training images" if dataset.train else "")


def require_readable(paths: Any, noun: str) -> None:
    """Raise `Broken` where a file is missing, or one of the first is no image."""
    absent = [path for path in paths if not path.is_file()]
    require(not absent, f"{noun}: {absent[0] if absent else ''} does not exist ({len(absent)} of {len(paths)} files)")
    for path in list(paths)[:READ]:
        try:
            probe_size(path)
        except ImageError as error:
            raise Broken(f"{noun}: {error}") from error


@functools.cache
def scratch() -> tempfile.TemporaryDirectory:
    """A folder for datasets that are made here; it goes with the process."""
    return tempfile.TemporaryDirectory(prefix="retrieval-bench-")


def made_for(name: str) -> Path:
    """A folder in which dataset `name` is made; for `folder`, one with the images of two labels."""
    root = Path(scratch().name) / name
    if not root.exists():
        root.mkdir()
        for label in ("bridge", "tower") if name == "folder" else ():
            (root / label).mkdir()
            for number in range(2):
                pixels = np.random.default_rng(number).integers(0, 255, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


CONTRACT = Contract(
    find=DATASETS.get,
    build=load,
    checks=(
        builds,
        options,
        missing_files,
        image_lists,
        boxes,
        ground_truth,
        no_leaks,
        labels,
        same_twice,
        facts,
    ),
)
