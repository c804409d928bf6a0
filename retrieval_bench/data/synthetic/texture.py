"""Facade textures: wall patterns, storeys of windows, cornices, doors. Identity lies here and in `ornament`."""

import colorsys
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from retrieval_bench.data.synthetic.ornament import Image, Ornament, paint_ornament

Colour = tuple[int, int, int]

TEXELS_PER_METRE = 14.0

WALLS = ("brick", "ashlar", "plaster", "bands", "panels", "rubble", "boards", "checker", "stripes", "diamonds")
WINDOWS = ("rect", "arch", "pointed", "round", "twin", "cross", "slit", "grid", "shutters", "oriel", "blank")
FRAMES = ("none", "surround", "lintel", "pediment")
GLASS_COLOURS: tuple[Colour, ...] = ((52, 60, 70), (40, 44, 48), (74, 86, 98))


class Texture(NamedTuple):
    """What a face looks like.

    Attributes:
        colour: ``(H, W, 4)`` uint8: RGB and cover, 255 inside the face's outline and 0 outside.
        glow: ``(H, W)`` uint8: how readily a pixel is lit at night; it shines above the night's threshold.
    """

    colour: Image
    glow: Image

    @classmethod
    def opaque(cls, rgb: Image, glow: Image | None = None) -> "Texture":
        """A texture that covers its whole rectangle; without `glow` nothing shines."""
        cover = np.full((*rgb.shape[:2], 1), 255, np.uint8)
        return cls(np.concatenate([rgb, cover], axis=2), np.zeros(rgb.shape[:2], np.uint8) if glow is None else glow)


@dataclass(frozen=True)
class Storey:
    """One storey: height in metres, window kind and frame, window width and height as shares of its cell."""

    height: float
    window: str
    frame: str
    width: float
    tall: float


@dataclass(frozen=True)
class Facade:
    """What a wall looks like.

    Attributes:
        wall: pattern, one of `WALLS`.
        colour, second, trim, glass: RGB; the second colour is that of bands, checks, stripes and diamonds.
        storeys: from the ground up, repeated when the wall is taller.
        bay: width of a window axis in metres.
        rhythm: which bays have the storey's window (1), an accent window (2) or none (0), repeated along the wall.
        accent: window kind of the accented bays.
        pilasters: whether flat columns stand between the bays.
        ornaments: signs, clocks, reliefs ... of this wall alone.
        door: position of the door along the wall, 0..1; negative: none.
        seed: of the pattern's irregularities.
    """

    wall: str
    colour: Colour
    second: Colour
    trim: Colour
    glass: Colour
    storeys: tuple[Storey, ...]
    bay: float
    rhythm: tuple[int, ...]
    accent: str
    pilasters: bool
    ornaments: tuple[Ornament, ...]
    door: float
    seed: int


def draw_colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A random RGB colour of any hue; saturation and value in 0..1."""
    shares = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    red, green, blue = (round(255 * share) for share in shares)
    return red, green, blue


def draw_storey(rng: np.random.Generator) -> Storey:
    """A random storey."""
    return Storey(
        height=float(rng.uniform(3.2, 5.4)),
        window=str(rng.choice(WINDOWS[:-1])),
        frame=str(rng.choice(FRAMES)),
        width=float(rng.uniform(0.34, 0.66)),
        tall=float(rng.uniform(0.5, 0.76)),
    )


def draw_facade(rng: np.random.Generator) -> Facade:
    """A random wall without ornaments: the style that look-alikes share."""
    return Facade(
        wall=str(rng.choice(WALLS)),
        colour=draw_colour(rng, (0.08, 0.6), (0.45, 0.95)),
        second=draw_colour(rng, (0.1, 0.7), (0.3, 0.95)),
        trim=draw_colour(rng, (0.0, 0.5), (0.25, 1.0)),
        glass=GLASS_COLOURS[rng.integers(len(GLASS_COLOURS))],
        storeys=tuple(draw_storey(rng) for _ in range(rng.integers(2, 5))),
        bay=float(rng.uniform(2.2, 4.4)),
        rhythm=tuple(int(kind) for kind in rng.choice([0, 1, 1, 1, 1, 2], size=rng.integers(2, 8))),
        accent=str(rng.choice(WINDOWS)),
        pilasters=bool(rng.random() < 0.3),
        ornaments=(),
        door=float(rng.uniform(0.15, 0.85)) if rng.random() < 0.7 else -1.0,
        seed=int(rng.integers(2**31)),
    )


def paint_facade(facade: Facade, width: float, height: float) -> Texture:
    """Paint a wall of `width` by `height` metres."""
    columns = max(8, round(width * TEXELS_PER_METRE))
    rows = max(8, round(height * TEXELS_PER_METRE))
    rng = np.random.default_rng(facade.seed)
    rgb = paint_wall(rng, facade.wall, facade.colour, facade.second, rows, columns)
    glow = np.zeros((rows, columns), np.uint8)
    bays = max(1, round(width / facade.bay))
    cell = columns / bays
    if facade.pilasters:
        for bay in range(bays + 1):
            middle = round(bay * cell)
            cv2.rectangle(rgb, (middle - 4, 0), (middle + 4, rows), facade.trim, -1)
            cv2.rectangle(rgb, (middle + 3, 0), (middle + 4, rows), _darker(facade.trim, 0.6), -1)
    bottom, level = rows - round(0.5 * TEXELS_PER_METRE), 0
    cv2.rectangle(rgb, (0, bottom), (columns, rows), _darker(facade.colour, 0.62), -1)
    while bottom > 1.8 * TEXELS_PER_METRE:
        storey = facade.storeys[level % len(facade.storeys)]
        top = bottom - round(storey.height * TEXELS_PER_METRE)
        if top < -0.5 * storey.height * TEXELS_PER_METRE:
            break
        top = max(top, 3)
        _paint_storey(rgb, glow, facade, storey, rng, top, bottom, bays)
        if level == 0 and facade.door >= 0 and width > 5:
            _paint_door(rgb, glow, facade, round(facade.door * columns), bottom, min(bottom - top, 60))
        cv2.rectangle(rgb, (0, top), (columns, top + 3), facade.trim, -1)
        cv2.line(rgb, (0, top + 4), (columns, top + 4), _darker(facade.colour, 0.55))
        bottom, level = top, level + 1
    cv2.rectangle(rgb, (0, 0), (columns, 6), facade.trim, -1)
    cv2.line(rgb, (0, 8), (columns, 8), _darker(facade.colour, 0.45), 2)
    for ornament in facade.ornaments:
        paint_ornament(rgb, glow, ornament)
    return Texture.opaque(rgb, glow)


def paint_wall(rng: np.random.Generator, kind: str, colour: Colour, second: Colour, rows: int, columns: int) -> Image:
    """A bare wall, ``(rows, columns, 3)`` uint8."""
    stain = cv2.resize(
        rng.normal(0, 1, (rows // 24 + 2, columns // 24 + 2)).astype(np.float32), (columns, rows),
        interpolation=cv2.INTER_CUBIC,
    )  # fmt: skip
    shade = 7.0 * stain + rng.normal(0, 3.0, (rows, columns)).astype(np.float32)
    courses = {"brick": (5, 12), "ashlar": (11, 24), "panels": (26, 34), "rubble": (8, 13)}
    if kind in courses:
        course, block = courses[kind]
        y, x = np.arange(rows) // course, np.arange(columns)
        shift = (y % 2) * (block // 2)
        column = (x[None] + shift[:, None]) // block
        strength = 16.0 if kind == "rubble" else 8.0
        tone = rng.normal(0, strength, (int(y[-1]) + 1, columns // block + 3)).astype(np.float32)
        shade += tone[y[:, None], column]
        joints = ((np.arange(rows) % course) == 0)[:, None] | (((x[None] + shift[:, None]) % block) == 0)
        shade[joints] -= 24.0
    elif kind == "boards":
        shade[:, np.arange(columns) % 7 == 0] -= 30.0
    other = _second_colour(kind, rows, columns)
    wall = np.where(other[..., None], np.asarray(second, np.float32), np.asarray(colour, np.float32)) + shade[..., None]
    return wall.clip(0, 255).astype(np.uint8)


def _second_colour(kind: str, rows: int, columns: int) -> NDArray[np.bool_]:
    """Where a two-coloured wall has its second colour."""
    y, x = np.arange(rows)[:, None], np.arange(columns)[None]
    if kind == "bands":
        return np.broadcast_to(y // 12 % 2 == 0, (rows, columns))
    if kind == "stripes":
        return np.broadcast_to(x // 16 % 2 == 0, (rows, columns))
    if kind == "checker":
        return (y // 16 + x // 16) % 2 == 0
    if kind == "diamonds":
        return abs(y % 36 - 18) + abs(x % 36 - 18) < 13
    return np.zeros((rows, columns), np.bool_)


def _paint_storey(
    rgb: Image, glow: Image, facade: Facade, storey: Storey, rng: np.random.Generator, top: int, bottom: int, bays: int
) -> None:
    cell, tall = rgb.shape[1] / bays, bottom - top
    wide, high = max(5, round(cell * storey.width)), max(6, round(tall * storey.tall))
    stamps = {1: _stamp(storey.window, storey.frame, facade, wide, high)}
    stamps[2] = _stamp(facade.accent, storey.frame, facade, wide, high)
    lit = rng.integers(1, 256, bays)
    for bay in range(bays):
        kind = facade.rhythm[bay % len(facade.rhythm)]
        if kind == 0:
            continue
        patch, mask, pane = stamps[kind]
        y = top + (tall - patch.shape[0]) // 2 + 2
        x = round((bay + 0.5) * cell) - patch.shape[1] // 2
        y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + len(patch), len(rgb)), min(x + patch.shape[1], rgb.shape[1])
        cut = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
        cv2.copyTo(patch[cut], mask[cut], rgb[y0:y1, x0:x1])
        glow[y0:y1, x0:x1][pane[cut] > 0] = lit[bay]


def _stamp(kind: str, frame: str, facade: Facade, wide: int, high: int) -> tuple[Image, Image, Image]:
    """A window: its RGB patch, the mask of what it covers, and the mask of its panes."""
    edge = 6
    size = (high + 2 * edge, wide + 2 * edge)
    patch = np.zeros((*size, 3), np.uint8)
    patch[:] = facade.trim
    mask: Image = np.zeros(size, np.uint8)
    pane: Image = np.zeros(size, np.uint8)
    if kind == "blank":
        return patch, mask, pane
    x0, y0, x1, y1 = edge, edge, edge + wide - 1, edge + high - 1
    _window_shape(pane, kind, x0, y0, x1, y1)
    mask = cv2.dilate(pane, np.ones((3, 3), np.uint8), iterations=2 if frame == "surround" else 1)
    if frame in ("lintel", "pediment"):
        cv2.rectangle(mask, (x0 - 4, y1 + 2), (x1 + 4, y1 + 5), 255, -1)
        if frame == "lintel":
            cv2.rectangle(mask, (x0 - 4, y0 - 5), (x1 + 4, y0 - 2), 255, -1)
        else:
            cv2.fillPoly(mask, [np.array([(x0 - 5, y0 - 1), ((x0 + x1) // 2, 0), (x1 + 5, y0 - 1)])], 255)
    glass = np.linspace(1.25, 0.8, size[0])[:, None, None] * np.asarray(facade.glass, np.float64)
    patch[pane > 0] = np.broadcast_to(glass.clip(0, 255), patch.shape)[pane > 0].astype(np.uint8)
    bars: list[tuple[tuple[int, int], tuple[int, int]]] = []
    middle = (x0 + x1) // 2
    if kind in ("cross", "rect", "arch", "shutters"):
        bars = [((middle, y0), (middle, y1)), ((x0, y0 + high // 3), (x1, y0 + high // 3))]
    elif kind == "grid":
        bars = [((x0 + wide * i // 4, y0), (x0 + wide * i // 4, y1)) for i in (1, 2, 3)]
        bars += [((x0, y0 + high * i // 4), (x1, y0 + high * i // 4)) for i in (1, 2, 3)]
    elif kind == "round":
        bars = [((middle, y0), (middle, y1)), ((x0, (y0 + y1) // 2), (x1, (y0 + y1) // 2))]
    for start, end in bars:
        cv2.line(patch, start, end, facade.trim, 2 if kind == "cross" else 1)
        cv2.line(pane, start, end, 0, 1)
    if kind == "shutters":
        leaf = _darker(facade.trim, 0.55)
        for left in (x0 - edge + 1, x1 + 1):
            cv2.rectangle(patch, (left, y0), (left + edge - 2, y1), leaf, -1)
            cv2.rectangle(mask, (left, y0), (left + edge - 2, y1), 255, -1)
    return patch, mask, pane


def _window_shape(pane: Image, kind: str, x0: int, y0: int, x1: int, y1: int) -> None:
    middle, half = (x0 + x1) // 2, max(2, (x1 - x0) // 2)
    if kind == "arch":
        cv2.ellipse(pane, (middle, y0 + half), (half, half), 0, 180, 360, 255, -1)
        cv2.rectangle(pane, (middle - half, min(y0 + half, y1)), (middle + half, y1), 255, -1)
    elif kind == "pointed":
        knee = y0 + (y1 - y0) // 2
        points = [(x0, y1), (x0, knee), (x0 + half // 3, y0 + (knee - y0) // 3), (middle, y0)]
        points += [(x1 - half // 3, y0 + (knee - y0) // 3), (x1, knee), (x1, y1)]
        cv2.fillPoly(pane, [np.array(points)], 255)
    elif kind == "round":
        radius = min(half, (y1 - y0) // 2)
        cv2.circle(pane, (middle, (y0 + y1) // 2), radius, 255, -1)
    elif kind == "twin":
        for left, right in ((x0, middle - 2), (middle + 2, x1)):
            cv2.ellipse(pane, ((left + right) // 2, y0 + half // 2), (half // 2, half // 2), 0, 180, 360, 255, -1)
            cv2.rectangle(pane, (left, y0 + half // 2), (right, y1), 255, -1)
    elif kind == "slit":
        cv2.rectangle(pane, (middle - max(1, half // 3), y0), (middle + max(1, half // 3), y1), 255, -1)
    elif kind == "oriel":
        points = [(x0, y0 + 4), (x0 + 3, y0), (x1 - 3, y0), (x1, y0 + 4), (x1, y1 - 4), (x1 - 3, y1), (x0 + 3, y1)]
        cv2.fillPoly(pane, [np.array([*points, (x0, y1 - 4)])], 255)
        cv2.line(pane, (x0 + half // 2, y0), (x0 + half // 2, y1), 0, 2)
        cv2.line(pane, (x1 - half // 2, y0), (x1 - half // 2, y1), 0, 2)
    else:
        cv2.rectangle(pane, (x0, y0), (x1, y1), 255, -1)


def _paint_door(rgb: Image, glow: Image, facade: Facade, middle: int, bottom: int, tall: int) -> None:
    half, top = 12, bottom - round(0.8 * tall)
    leaf = _darker(facade.trim, 0.42)
    glow[top - 6 : bottom, max(0, middle - half - 5) : middle + half + 6] = 0
    cv2.rectangle(rgb, (middle - half - 5, top - 6), (middle + half + 5, bottom), facade.trim, -1)
    cv2.rectangle(rgb, (middle - half, top), (middle + half, bottom), leaf, -1)
    cv2.line(rgb, (middle, top), (middle, bottom), facade.trim, 1)
    cv2.rectangle(rgb, (middle - half, top), (middle + half, top + 7), facade.glass, -1)


def _darker(colour: Colour, factor: float) -> Colour:
    red, green, blue = (round(channel * factor) for channel in colour)
    return red, green, blue
