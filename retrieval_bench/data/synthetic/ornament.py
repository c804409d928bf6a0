"""What tells look-alikes apart: signs with glyph-like marks, clocks, rosettes, murals, reliefs, banners, graffiti."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""uint8; the type stubs of OpenCV know no element types."""

Colour = tuple[int, int, int]

KINDS = ("sign", "clock", "rosette", "mural", "relief", "banner", "graffiti", "mosaic", "lattice")
PAINTS: tuple[Colour, ...] = (
    (176, 44, 40), (36, 78, 140), (40, 110, 70), (222, 176, 46), (238, 234, 224), (34, 32, 36), (128, 60, 112),
)  # fmt: skip


@dataclass(frozen=True)
class Ornament:
    """One ornament: kind, centre and size as shares of the wall (0..1), and the seed of its drawing."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    seed: int


def draw_ornament(rng: np.random.Generator) -> Ornament:
    """A random ornament at a random place of a wall."""
    kind = str(rng.choice(KINDS))
    wide = {"sign": (0.4, 0.8), "mosaic": (0.5, 0.95), "banner": (0.1, 0.18)}.get(kind, (0.2, 0.42))
    high = {"sign": (0.11, 0.2), "mosaic": (0.08, 0.16), "banner": (0.35, 0.65)}.get(kind, (0.22, 0.42))
    return Ornament(
        kind=kind,
        x=float(rng.uniform(0.2, 0.8)),
        y=float(rng.uniform(0.15, 0.8)),
        width=float(rng.uniform(*wide)),
        height=float(rng.uniform(*high)),
        seed=int(rng.integers(2**31)),
    )


def paint_ornament(rgb: Image, glow: Image, ornament: Ornament) -> None:
    """Paint an ornament into a wall's RGB; signs and clocks glow at night, other ornaments never do."""
    rows, columns = glow.shape
    half = np.array([ornament.width * columns, ornament.height * rows]) / 2
    if ornament.kind in ("clock", "rosette"):
        half[:] = max(9.0, min(half))
    x0, y0 = (np.array([ornament.x * columns, ornament.y * rows]) - half).round().astype(int).clip(0)
    x1, y1 = (np.array([ornament.x * columns, ornament.y * rows]) + half).round().astype(int)
    x1, y1 = min(int(x1), columns), min(int(y1), rows)
    if x1 - x0 < 10 or y1 - y0 < 8:
        return
    rng = np.random.default_rng(ornament.seed)
    patch = rgb[y0:y1, x0:x1]
    if ornament.kind != "graffiti":
        glow[y0:y1, x0:x1] = 220 if ornament.kind == "sign" else 0
    ground, ink = (PAINTS[i] for i in rng.permutation(len(PAINTS))[:2])
    _PAINTERS[ornament.kind](patch, rng, ground, ink)


def _sign(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    rows, columns = patch.shape[:2]
    patch[:] = ground
    cv2.rectangle(patch, (1, 1), (columns - 2, rows - 2), ink, 1)
    step = max(6, round(rows * 0.75))
    for left in range(4, columns - step - 1, step + 3):
        if rng.random() > 0.12:
            _glyph(patch, rng, left, 4, step - 1, rows - 8, ink, max(1, rows // 9))


def _glyph(patch: Image, rng: np.random.Generator, x: int, y: int, wide: int, high: int, ink: Colour, pen: int) -> None:
    """A letter-like mark: a few strokes between the nodes of a 3 x 3 grid."""
    nodes = [(x + wide * (i % 3) // 2, y + high * (i // 3) // 2) for i in range(9)]
    walk = rng.permutation(9)[: rng.integers(3, 6)]
    for first, second in pairwise(walk):
        cv2.line(patch, nodes[first], nodes[second], ink, pen)


def _clock(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    centre, radius = _disc(patch)
    cv2.circle(patch, centre, radius, ink, -1)
    cv2.circle(patch, centre, round(radius * 0.84), ground, -1)
    for hour in range(12):
        angle = hour * np.pi / 6
        inner, outer = (_on_circle(centre, radius * share, angle) for share in (0.62, 0.78))
        cv2.line(patch, inner, outer, ink, 2)
    for share in (0.7, 0.45):
        cv2.line(patch, centre, _on_circle(centre, radius * share, rng.uniform(0, 2 * np.pi)), ink, 2)


def _rosette(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    centre, radius = _disc(patch)
    cv2.circle(patch, centre, radius, (214, 204, 184), -1)
    cv2.circle(patch, centre, round(radius * 0.86), (44, 46, 60), -1)
    petals = int(rng.integers(5, 13))
    for petal in range(petals):
        angle = 2 * np.pi * petal / petals
        cv2.line(patch, centre, _on_circle(centre, radius * 0.86, angle), (214, 204, 184), 2)
        colour = ground if petal % 2 else ink
        cv2.circle(patch, _on_circle(centre, radius * 0.62, angle + np.pi / petals), max(2, radius // 7), colour, -1)
    cv2.circle(patch, centre, max(2, radius // 4), ground, -1)


def _mural(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    rows, columns = patch.shape[:2]
    patch[:] = ground
    for _ in range(int(rng.integers(4, 8))):
        colour = PAINTS[rng.integers(len(PAINTS))]
        if rng.random() < 0.5:
            points = (rng.random((int(rng.integers(3, 6)), 2)) * [columns, rows]).astype(np.int32)
            cv2.fillPoly(patch, [points], colour)
        else:
            centre = (int(rng.integers(columns)), int(rng.integers(rows)))
            cv2.circle(patch, centre, int(rng.integers(3, max(4, min(rows, columns) // 2))), colour, -1)
    cv2.rectangle(patch, (0, 0), (columns - 1, rows - 1), ink, 2)


def _relief(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    rows, columns = patch.shape[:2]
    stone = tuple(int(channel * 0.85) for channel in patch.reshape(-1, 3).mean(axis=0))
    patch[:] = stone
    light, dark = (tuple(min(255, int(channel * gain)) for channel in stone) for gain in (1.3, 0.5))
    for _ in range(int(rng.integers(5, 10))):
        centre = (int(rng.integers(columns)), int(rng.integers(rows)))
        axes = (int(rng.integers(2, max(3, columns // 4))), int(rng.integers(2, max(3, rows // 4))))
        turn = float(rng.uniform(0, 180))
        cv2.ellipse(patch, (centre[0] + 1, centre[1] + 1), axes, turn, 0, 360, dark, 2)
        cv2.ellipse(patch, centre, axes, turn, 0, 360, light, 2)
    cv2.rectangle(patch, (0, 0), (columns - 1, rows - 1), dark, 1)


def _banner(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    rows, columns = patch.shape[:2]
    patch[:] = ground
    step = max(8, columns - 6)
    for top in range(4, rows - step, step + 3):
        _glyph(patch, rng, 4, top, columns - 9, step - 2, ink, 2)


def _graffiti(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    rows, columns = patch.shape[:2]
    for colour in (ground, ink):
        angle = np.cumsum(rng.normal(0, 0.8, 40))
        path = np.cumsum(np.stack([np.cos(angle), np.sin(angle)], axis=1), axis=0)
        path = (path - path.min(axis=0)) / np.ptp(path, axis=0) * [columns - 3, rows - 3]
        cv2.polylines(patch, [path.astype(np.int32)], False, colour, 3)


def _mosaic(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    rows, columns = patch.shape[:2]
    side = max(4, rows // int(rng.integers(2, 5)))
    cells = rng.integers(0, 3, (rows // side + 1, columns // side + 1))
    colours = np.array([ground, ink, (228, 222, 206)], np.uint8)
    tiles = colours[cells].repeat(side, axis=0).repeat(side, axis=1)
    patch[:] = tiles[:rows, :columns]


def _lattice(patch: Image, rng: np.random.Generator, ground: Colour, ink: Colour) -> None:
    rows, columns = patch.shape[:2]
    step = int(rng.integers(7, 14))
    patch[:] = (40, 42, 50)
    slant = int(rng.integers(rows // 2, rows * 2))
    for start in range(-slant, columns + slant, step):
        cv2.line(patch, (start, 0), (start + slant, rows), ground, 2)
        if rng.random() < 0.8:
            cv2.line(patch, (start, 0), (start - slant, rows), ink, 2)
    cv2.rectangle(patch, (0, 0), (columns - 1, rows - 1), ground, 2)


def _disc(patch: Image) -> tuple[tuple[int, int], int]:
    rows, columns = patch.shape[:2]
    return (columns // 2, rows // 2), max(4, min(rows, columns) // 2 - 1)


def _on_circle(centre: tuple[int, int], radius: float, angle: float) -> tuple[int, int]:
    return round(centre[0] + radius * np.sin(angle)), round(centre[1] - radius * np.cos(angle))


_PAINTERS = {
    "sign": _sign, "clock": _clock, "rosette": _rosette, "mural": _mural, "relief": _relief, "banner": _banner,
    "graffiti": _graffiti, "mosaic": _mosaic, "lattice": _lattice,
}  # fmt: skip
