"""What a dataset hands to everything else: image lists, boxes, labels and ground truth. No torch, no pixels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from retrieval_bench.settings.errors import InputError

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the whole image, zero-based."""

GroundTruth = list[dict[str, list[int]]]
"""One entry per query with `easy`, `hard` and `junk` (rows of the database) and, where there is one, `bbx`."""


@dataclass(frozen=True)
class ImageList:
    """Images in a fixed order: row i of a descriptor matrix belongs to entry i.

    Attributes:
        names: what the images are called in lists and tables; unique.
        paths: their files.
        boxes: the part of each that counts, None for the whole image.
    """

    names: Sequence[str]
    paths: Sequence[Path]
    boxes: Sequence[Box | None] = ()

    def __post_init__(self) -> None:
        if not self.boxes:
            object.__setattr__(self, "boxes", (None,) * len(self.names))
        if not len(self.names) == len(self.paths) == len(self.boxes):
            raise InputError(
                f"an image list has {len(self.names)} names, {len(self.paths)} paths and {len(self.boxes)} boxes; "
                "they must be as many"
            )
        if len(set(self.names)) != len(self.names):
            twice = next(name for name, count in Counter(self.names).items() if count > 1)
            raise InputError(f"the image name {twice!r} occurs twice in one list; names must be unique")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class LabelledImages:
    """Images with class labels, for training and validation.

    Attributes:
        paths: the files.
        labels: ``0 .. C-1`` each, as many as paths.
        classes: the names of the C classes.
    """

    paths: Sequence[Path]
    labels: Sequence[int]
    classes: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise InputError(f"{len(self.paths)} training images but {len(self.labels)} labels; they must be as many")
        outside = next((label for label in self.labels if not 0 <= label < len(self.classes)), None)
        if outside is not None:
            raise InputError(f"label {outside} is outside 0..{len(self.classes) - 1}; number the classes from 0")

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class RetrievalDataset:
    """Everything a run needs to know about its data.

    Attributes:
        name: as in the registry.
        root: its folder.
        queries, database: the two image lists of the test.
        ground_truth: one entry per query, in the Revisited format.
        train: labelled images, or None where the dataset has none.
        validation: labelled images of the *training* classes or of classes of their own, never of the test.
        facts: what the protocol card repeats: release of the images, seed, limits, licence, split rule.
        query_groups: the kind of each query, for figures per kind; empty where there are none.
    """

    name: str
    root: Path
    queries: ImageList
    database: ImageList
    ground_truth: GroundTruth
    train: LabelledImages | None = None
    validation: LabelledImages | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    query_groups: Sequence[str] = ()

    def __post_init__(self) -> None:
        if len(self.ground_truth) != len(self.queries):
            raise InputError(
                f"dataset {self.name!r}: the ground truth has {len(self.ground_truth)} entries for "
                f"{len(self.queries)} queries"
            )
        if self.query_groups and len(self.query_groups) != len(self.queries):
            raise InputError(
                f"dataset {self.name!r}: {len(self.query_groups)} query groups for {len(self.queries)} queries; "
                "give each query one, or none at all"
            )
        if not len(self.database):
            raise InputError(f"dataset {self.name!r}: the database is empty; give it at least one image")
        rows = range(len(self.database))
        for query, entry in zip(self.queries.names, self.ground_truth, strict=True):
            for level in ("easy", "hard", "junk"):
                outside = next((row for row in entry.get(level, []) if row not in rows), None)
                if outside is not None:
                    raise InputError(
                        f"dataset {self.name!r}: query {query!r} lists database row {outside} as {level}, but the "
                        f"database has {len(rows)} images; ground truth and images do not belong together"
                    )
