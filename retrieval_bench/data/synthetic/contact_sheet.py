"""A contact sheet: one PNG with queries and their boxes beside their easy, hard, junk and unrelated pictures."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.dataset import Box, RetrievalDataset

FRAMES = {
    "query": (60, 60, 60), "easy": (60, 160, 60), "hard": (40, 140, 230), "junk": (150, 150, 150),
    "other": (60, 60, 210),
}  # fmt: skip
"""BGR frame per relation."""

MARGIN = 4


def write_contact_sheet(
    dataset: RetrievalDataset, path: Path, queries: int = 10, each: int = 3, side: int = 128
) -> None:
    """Write a PNG with a row per query: the query with its box, then easy, hard, junk and unrelated pictures.

    Frames: dark the query, green easy, orange hard, grey junk, red unrelated. Works for every dataset with ground
    truth.

    Args:
        queries: how many queries, evenly spread.
        each: how many pictures of each relation.
        side: of a picture's cell in pixels.

    Raises:
        InputError: an image that cannot be read.
    """
    rows = []
    for query in np.linspace(0, len(dataset.queries) - 1, min(queries, len(dataset.queries))).round().astype(int):
        entry = dataset.ground_truth[query]
        related = {row for level in ("easy", "hard", "junk") for row in entry.get(level, [])}
        others = [row for row in range(len(dataset.database)) if row not in related]
        others = others[query % max(1, len(others) // each) :: max(1, len(others) // each)]
        cells = [_cell(dataset.queries.paths[query], "query", side, dataset.queries.boxes[query])]
        for level, candidates in [
            *((level, entry.get(level, [])) for level in ("easy", "hard", "junk")),
            ("other", others),
        ]:
            chosen = candidates[:each]
            cells += [_cell(dataset.database.paths[row], level, side) for row in chosen]
            cells += [np.full((side, side, 3), 255, np.uint8)] * (each - len(chosen))
        rows.append(np.hstack(cells))
    done, data = cv2.imencode(".png", np.vstack(rows))
    if not done:
        raise InputError(f"the contact sheet {path} has no picture; give it at least one query")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data.tobytes())
    partial.replace(path)


def _cell(file: Path, relation: str, side: int, box: Box | None = None) -> NDArray[np.uint8]:
    picture = cv2.imread(str(file))
    if picture is None:
        raise InputError(f"cannot read the image {file}; verify the dataset")
    if box is not None:
        x0, y0, x1, y1 = (round(value) for value in box)
        cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), (0, 230, 250), 1)
    room = side - 2 * MARGIN
    scale = room / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    cell = np.full((side, side, 3), FRAMES[relation], np.uint8)
    top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    cell[0], cell[:, 0] = 255, 255
    return cell
