"""What every picture may contain beside a landmark: neighbours, trees, people, cars, poles, paving, clouds.

One stock is drawn from the seed and shared by all pictures of all splits, so it tells nothing about a landmark.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from retrieval_bench.data.synthetic.landmark import pyramid
from retrieval_bench.data.synthetic.ornament import PAINTS, Image
from retrieval_bench.data.synthetic.plan import Options, Stream, generator
from retrieval_bench.data.synthetic.texture import Texture, draw_facade, paint_facade

HOUSES, TREES, PEOPLE, CARS, POLES, HEDGES = 24, 10, 14, 8, 3, 4


@dataclass(frozen=True)
class Cutout:
    """A flat shape that stands on the street: its texture levels, width and height in metres."""

    levels: tuple[Texture, ...]
    width: float
    height: float


@dataclass(frozen=True)
class Stock:
    """Shared material.

    Attributes:
        houses: walls of nameless houses with their width and height.
        things: what stands before a landmark, by kind: "tree", "person", "car", "pole", "hedge".
        paving: street textures.
        clouds: ``(256, 256)`` float32 fields of 0..1.
    """

    houses: tuple[Cutout, ...]
    things: dict[str, tuple[Cutout, ...]]
    paving: tuple[tuple[Texture, ...], ...]
    clouds: tuple[NDArray[np.float32], ...]


def draw_stock(options: Options) -> Stock:
    """The stock of a build."""
    rng = generator(options, Stream.STOCK)
    houses = []
    for _ in range(HOUSES):
        width, height = float(rng.uniform(8, 18)), float(rng.uniform(7, 16))
        houses.append(Cutout(pyramid(paint_facade(draw_facade(rng), width, height)), width, height))
    painters: dict[str, tuple[int, Callable[[np.random.Generator], Cutout]]] = {
        "tree": (TREES, _tree), "person": (PEOPLE, _person), "car": (CARS, _car), "pole": (POLES, _pole),
        "hedge": (HEDGES, _hedge),
    }  # fmt: skip
    things = {kind: tuple(paint(rng) for _ in range(count)) for kind, (count, paint) in painters.items()}
    paving = tuple(pyramid(_paving(rng)) for _ in range(5))
    clouds = tuple(_clouds(rng) for _ in range(6))
    return Stock(tuple(houses), things, paving, clouds)


def _canvas(width: float, height: float, density: float = 32.0) -> Image:
    return np.zeros((max(16, round(height * density)), max(16, round(width * density)), 4), np.uint8)


def _dark(canvas: Image) -> Texture:
    return Texture(canvas, np.zeros(canvas.shape[:2], np.uint8))


def _fill(canvas: Image, mask: Image, colour: NDArray[np.float64]) -> None:
    canvas[mask > 0, :3] = colour.clip(0, 255).astype(np.uint8)
    canvas[mask > 0, 3] = 255


def _tree(rng: np.random.Generator) -> Cutout:
    width, height = float(rng.uniform(3.5, 6.5)), float(rng.uniform(5, 9))
    canvas = _canvas(width, height, 20.0)
    rows, columns = canvas.shape[:2]
    trunk = np.zeros((rows, columns), np.uint8)
    cv2.rectangle(trunk, (columns // 2 - 4, rows // 2), (columns // 2 + 4, rows), 255, -1)
    bare = rng.random() < 0.25
    for _ in range(14 if bare else 4):
        end = (int(rng.uniform(0.1, 0.9) * columns), int(rng.uniform(0.05, 0.5) * rows))
        cv2.line(trunk, (columns // 2, int(rng.uniform(0.45, 0.7) * rows)), end, 255, 2)
    _fill(canvas, trunk, np.array([74, 60, 46.0]))
    if not bare:
        leaf = np.array([rng.uniform(50, 110), rng.uniform(80, 120), rng.uniform(36, 60)])
        for _ in range(70):
            blob = np.zeros((rows, columns), np.uint8)
            centre = (rng.normal([0.5, 0.34], [0.18, 0.14]) * [columns, rows]).astype(int)
            cv2.circle(blob, (int(centre[0]), int(centre[1])), int(rng.uniform(0.05, 0.13) * columns), 255, -1)
            _fill(canvas, blob, leaf * rng.uniform(0.6, 1.25))
    return Cutout(pyramid(_dark(canvas)), width, height)


def _person(rng: np.random.Generator) -> Cutout:
    width, height = 0.7, float(rng.uniform(1.5, 1.95))
    canvas = _canvas(width, height, 40.0)
    rows, columns = canvas.shape[:2]
    shapes = [
        ((0.32, 0.5, 0.68, 1.0), rng.uniform(20, 110, 3)),
        ((0.24, 0.17, 0.76, 0.55), rng.uniform(20, 230, 3)),
    ]
    for (x0, y0, x1, y1), colour in shapes:
        mask = np.zeros((rows, columns), np.uint8)
        cv2.rectangle(mask, (int(x0 * columns), int(y0 * rows)), (int(x1 * columns), int(y1 * rows)), 255, -1)
        _fill(canvas, mask, colour)
    head = np.zeros((rows, columns), np.uint8)
    cv2.circle(head, (columns // 2, int(0.1 * rows)), int(0.085 * rows), 255, -1)
    _fill(canvas, head, np.array([1.0, 0.8, 0.66]) * rng.uniform(90, 225))
    return Cutout(pyramid(_dark(canvas)), width, height)


def _car(rng: np.random.Generator) -> Cutout:
    bus = rng.random() < 0.25
    width, height = (9.0, 3.0) if bus else (float(rng.uniform(3.6, 4.8)), float(rng.uniform(1.4, 1.9)))
    canvas = _canvas(width, height)
    rows, columns = canvas.shape[:2]
    body, glass, wheels = (np.zeros((rows, columns), np.uint8) for _ in range(3))
    waist = 0.12 if bus else 0.45
    points = [(0.02, 0.85), (0.02, waist + 0.05), (0.2, waist), (0.3, 0.05), (0.75, 0.05), (0.88, waist), (0.98, 0.6)]
    outline = np.array([*points, (0.98, 0.85)]) * [columns, rows]
    cv2.fillPoly(body, [outline.astype(np.int32)], 255)
    _fill(canvas, body, np.asarray(PAINTS[rng.integers(len(PAINTS))], np.float64))
    for left in np.arange(0.06, 0.9, 0.15) if bus else (0.3, 0.54):
        right = left + (0.12 if bus else 0.2)
        corners = (int(left * columns), int(0.14 * rows)), (int(right * columns), int(0.44 * rows))
        cv2.rectangle(glass, *corners, 255, -1)
    _fill(canvas, glass, np.array([44, 52, 60.0]))
    for middle in (0.2, 0.8):
        cv2.circle(wheels, (int(middle * columns), int(0.85 * rows)), int(0.14 * rows) + 2, 255, -1)
    _fill(canvas, wheels, np.array([24, 24, 26.0]))
    return Cutout(pyramid(_dark(canvas)), width, height)


def _pole(rng: np.random.Generator) -> Cutout:
    height = float(rng.uniform(5, 8))
    canvas = _canvas(1.2, height, 30.0)
    rows, columns = canvas.shape[:2]
    mask = np.zeros((rows, columns), np.uint8)
    cv2.rectangle(mask, (columns // 2 - 2, 0), (columns // 2 + 2, rows), 255, -1)
    _fill(canvas, mask, np.full(3, rng.uniform(40, 130)))
    board = np.zeros((rows, columns), np.uint8)
    cv2.rectangle(board, (2, 4), (columns - 3, columns - 4), 255, -1)
    _fill(canvas, board, np.asarray(PAINTS[rng.integers(len(PAINTS))], np.float64))
    return Cutout(pyramid(Texture(canvas, board)), 1.2, height)


def _hedge(rng: np.random.Generator) -> Cutout:
    width, height = float(rng.uniform(6, 12)), float(rng.uniform(0.9, 2.0))
    canvas = _canvas(width, height, 20.0)
    rows, columns = canvas.shape[:2]
    tone = rng.normal(1.0, 0.2, (rows // 3 + 1, columns // 3 + 1)).repeat(3, axis=0).repeat(3, axis=1)[:rows, :columns]
    canvas[..., :3] = (tone[..., None] * np.array([66, 92, 52.0])).clip(0, 255).astype(np.uint8)
    canvas[4:, :, 3] = 255
    return Cutout(pyramid(_dark(canvas)), width, height)


def _paving(rng: np.random.Generator) -> Texture:
    size, stone = 512, int(rng.integers(10, 40))
    shade = rng.normal(0, 6, (size // stone + 1, size // stone + 1)).repeat(stone, axis=0).repeat(stone, axis=1)
    shade = shade[:size, :size] + rng.normal(0, 3, (size, size))
    if rng.random() < 0.7:
        shade[np.arange(size) % stone == 0] -= 18
        shade[:, np.arange(size) % stone == 0] -= 18
    grey = rng.uniform(90, 165) * np.array([1.0, rng.uniform(0.95, 1.02), rng.uniform(0.85, 1.02)])
    return Texture.opaque((shade[..., None] + grey).clip(0, 255).astype(np.uint8))


def _clouds(rng: np.random.Generator) -> NDArray[np.float32]:
    field = np.zeros((256, 256), np.float32)
    for cells, weight in ((4, 1.0), (9, 0.55), (20, 0.3)):
        noise = rng.random((cells, cells)).astype(np.float32)
        field += weight * cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC)
    cloudy = (field - field.min()) / np.ptp(field)
    return ((cloudy - 0.45) * 2.2).clip(0, 1).astype(np.float32)
