"""The registered dataset `synthetic`: build if need be, verify, load."""

import hashlib
import json
from pathlib import Path
from typing import Any

from retrieval_bench.data.registry import register_dataset
from retrieval_bench.data.synthetic.build import build, digest_of
from retrieval_bench.data.synthetic.plan import RENDERER_VERSION, Options
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import ImageList, LabelledImages, RetrievalDataset

LIMITS = (
    "rendered buildings, one stock of clutter, no interiors or paintings, colours and structure simpler than in "
    "photographs; it ranks ideas, it does not replace ROxford5k or RParis6k"
)
LABELLING = (
    "easy/hard/junk by visible share, turn and zoom of the queried facades, light and blur, as the renderer knows them "
    "(retrieval_bench/data/synthetic/labels.py)"
)


@register_dataset("synthetic")
def synthetic(
    root: Path,
    seed: int = 0,
    train_landmarks: int = Options.train_landmarks,
    train_images_per_landmark: int = Options.train_images_per_landmark,
    validation_landmarks: int = Options.validation_landmarks,
    validation_images_per_landmark: int = Options.validation_images_per_landmark,
    test_landmarks: int = Options.test_landmarks,
    queries_per_landmark: int = Options.queries_per_landmark,
    database_images_per_landmark: int = Options.database_images_per_landmark,
    lookalikes: int = Options.lookalikes,
    images_per_lookalike: int = Options.images_per_lookalike,
    distractors: int = Options.distractors,
    image_size: int = Options.image_size,
    workers: int = 2,
) -> RetrievalDataset:
    """Rendered landmarks in the Revisited format; see the package's docstring for its rules and limits.

    Args:
        root: its folder; every choice of options has a folder of its own in it.
        seed: of everything.
        train_landmarks, train_images_per_landmark: the training classes.
        validation_landmarks, validation_images_per_landmark: classes of their own, in no other split.
        test_landmarks: landmarks with queries; in no other split.
        queries_per_landmark, database_images_per_landmark: of each test landmark.
        lookalikes, images_per_lookalike: database landmarks without queries, each in the style of a test landmark.
        distractors: database images of one-off buildings and streets.
        image_size: longer side of the largest images in pixels.
        workers: processes that render when it is built; the images do not depend on it.

    Raises:
        InputError: an option out of range, or a built folder with a damaged or missing file.
    """
    if workers < 1:
        raise InputError(f"dataset 'synthetic': workers={workers} must be at least 1")
    options = Options(
        seed, train_landmarks, train_images_per_landmark, validation_landmarks, validation_images_per_landmark,
        test_landmarks, queries_per_landmark, database_images_per_landmark, lookalikes, images_per_lookalike,
        distractors, image_size,
    )  # fmt: skip
    folder = root / options.digest()
    if not folder.exists():
        build(root, options, workers)
    return load(folder)


def load(folder: Path) -> RetrievalDataset:
    """Verify a built folder against its manifest and load it.

    Raises:
        InputError: a file is missing or differs from what was built; the first such file is named.
    """
    manifest = verify(folder)
    options = Options(**manifest["options"])
    truth = json.loads((folder / "gnd.json").read_text(encoding="utf-8"))
    views = json.loads((folder / "views.json").read_text(encoding="utf-8"))
    entries = [{**entry, "bbx": tuple(entry["bbx"])} if len(entry["bbx"]) == 4 else entry for entry in truth["gnd"]]
    paths = {name: folder / "jpg" / f"{name}.jpg" for name in (*truth["imlist"], *truth["qimlist"])}
    return RetrievalDataset(
        name="synthetic",
        root=folder,
        queries=ImageList(
            truth["qimlist"], [paths[name] for name in truth["qimlist"]], [tuple(entry["bbx"]) for entry in entries]
        ),
        database=ImageList(truth["imlist"], [paths[name] for name in truth["imlist"]]),
        ground_truth=truth["gnd"],
        train=_labelled(folder, views, "train"),
        validation=_labelled(folder, views, "validation"),
        facts={
            "images": f"synthetic, renderer {RENDERER_VERSION}, seed {options.seed}",
            "images sha256": _digest_of_images(manifest),
            "size": f"{len(truth['qimlist'])} queries, {len(truth['imlist'])} database images",
            "split": "training, validation and test landmarks are disjoint",
            "labels": LABELLING,
            "limits": LIMITS,
        },
    )


def verify(folder: Path) -> dict[str, Any]:
    """Compare every file of a built folder with its manifest, and return the manifest.

    Raises:
        InputError: names the first file that is missing or damaged.
    """
    mend = f"delete the folder {folder} and load the dataset again, it is rebuilt"
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        digests = dict(manifest["sha256"])
        Options(**manifest["options"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'manifest.json'} is missing or damaged; {mend}") from error
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing; {mend}")
        if digest_of(path) != digest:
            raise InputError(f"{path} is damaged (its sha256 differs from the manifest's); {mend}")
    return manifest


def _labelled(folder: Path, views: list[dict[str, Any]], role: str) -> LabelledImages | None:
    chosen = [record for record in views if record["role"] == role]
    if not chosen:
        return None
    classes = sorted({record["view"]["landmark"] for record in chosen})
    labels = [classes.index(record["view"]["landmark"]) for record in chosen]
    return LabelledImages([folder / "jpg" / f"{record['name']}.jpg" for record in chosen], labels, classes)


def _digest_of_images(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest["sha256"], sort_keys=True).encode()).hexdigest()
