"""Landmarks: buildings of flat, textured faces. Metres, z up, the front looks to -y, the middle is the origin."""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from retrieval_bench.data.synthetic.camera import Vector
from retrieval_bench.data.synthetic.ornament import draw_ornament
from retrieval_bench.data.synthetic.texture import Facade, Texture, draw_colour, draw_facade, paint_facade, paint_wall

Outline = tuple[tuple[float, float], ...]
FULL: Outline = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
TRIANGLE: Outline = ((0.5, 0.0), (1.0, 1.0), (0.0, 1.0))
KINDS = ("hall", "church", "palace", "tower", "round", "stepped")
FACETS = 12


@dataclass(frozen=True)
class Face:
    """A flat face: the part of the parallelogram `origin` + a u + b v inside its texture's cover.

    Attributes:
        origin: top left corner as seen from outside.
        u, v: the edges to the right and down, in metres.
        levels: the texture, then halved again and again.
        outline: the covered polygon in shares of u and v.
        facade: its number within the landmark; -1 for roofs and everything that is not a landmark's wall.
        two_sided: also painted when seen from behind.
    """

    origin: Vector
    u: Vector
    v: Vector
    levels: tuple[Texture, ...]
    outline: Outline = FULL
    facade: int = -1
    two_sided: bool = False

    @cached_property
    def centre(self) -> Vector:
        """The middle of the parallelogram."""
        return self.origin + 0.5 * (self.u + self.v)

    @cached_property
    def area(self) -> float:
        """Of the parallelogram, in square metres."""
        return float(np.linalg.norm(np.cross(self.u, self.v)))

    @cached_property
    def normal(self) -> Vector:
        """The unit outward normal."""
        normal = np.cross(self.v, self.u)
        return normal / np.linalg.norm(normal)

    def corners(self) -> Vector:
        """``(n, 3)``: the outline in the world."""
        return self.origin + np.asarray(self.outline) @ np.stack([self.u, self.v])


@dataclass(frozen=True)
class Landmark:
    """A building: its faces and ``(3,)`` extent (width, depth, height)."""

    faces: tuple[Face, ...]
    extent: Vector


def pyramid(texture: Texture) -> tuple[Texture, ...]:
    """A texture with its half, quarter ... sizes, for sampling without aliasing."""
    levels = [texture]
    while min(levels[-1].glow.shape) >= 16 and len(levels) < 6:
        rows, columns = levels[-1].glow.shape
        size = (columns // 2, rows // 2)
        colour = cv2.resize(levels[-1].colour, size, interpolation=cv2.INTER_AREA)
        levels.append(Texture(colour, cv2.resize(levels[-1].glow, size, interpolation=cv2.INTER_NEAREST)))
    return tuple(levels)


def cut_out(texture: Texture, outline: Outline) -> Texture:
    """Limit a texture's cover to a polygon in shares of its width and height."""
    rows, columns = texture.glow.shape
    cover = np.zeros((rows, columns), np.uint8)
    points = np.asarray(outline) * [columns, rows]
    cv2.fillPoly(cover, [points.round().astype(np.int32)], 255)
    return Texture(np.dstack([texture.colour[..., :3], cover]), texture.glow)


class Builder:
    """Collects the faces of one landmark.

    Args:
        style: the generator that look-alikes share: structure, measures, walls, windows.
        detail: the landmark's own generator: ornaments, and a few walls that differ from its look-alikes.
    """

    def __init__(self, style: np.random.Generator, detail: np.random.Generator):
        self.style, self.detail = style, detail
        self.faces: list[Face] = []
        self.facades = 0
        self.roof_colour = draw_colour(style, (0.1, 0.6), (0.25, 0.8))
        self.walls = [draw_facade(style) for _ in range(3)]

    def facade(self, which: int, ornaments: int, plain: bool = False) -> Facade:
        """The wall design `which` of this style with own ornaments; one in five storeys is the landmark's own."""
        wall = replace(self.walls[which % len(self.walls)], seed=int(self.detail.integers(2**31)))
        if self.detail.random() < 0.35:
            other = draw_facade(self.detail)
            level = int(self.detail.integers(len(wall.storeys)))
            storeys = list(wall.storeys)
            storeys[level] = other.storeys[0]
            wall = replace(wall, storeys=tuple(storeys), accent=other.accent)
        drawn = tuple(draw_ornament(self.detail) for _ in range(ornaments))
        return replace(wall, ornaments=drawn, door=-1.0 if plain else wall.door)

    def add(self, origin: Vector, u: Vector, v: Vector, texture: Texture, wall: bool, outline: Outline = FULL) -> None:
        """Add a face; walls get the next facade number."""
        number = self.facades if wall else -1
        self.facades += wall
        levels = pyramid(texture if outline == FULL else cut_out(texture, outline))
        self.faces.append(Face(origin, u, v, levels, outline, number))

    def box(self, x: float, y: float, w: float, d: float, z: float, h: float, which: int, ornaments: int = 2) -> None:
        """Four walls around the middle (x, y) from height z; the front has the most ornaments."""
        corners = np.array(
            [[x - w / 2, y - d / 2], [x + w / 2, y - d / 2], [x + w / 2, y + d / 2], [x - w / 2, y + d / 2]]
        )
        for side in range(4):
            start, end = corners[side], corners[(side + 1) % 4]
            length = float(np.linalg.norm(end - start))
            design = self.facade(which, ornaments if side == 0 else max(1, ornaments - 1), plain=z > 0)
            self.add(
                np.array([*start, z + h]), np.array([*(end - start), 0.0]), np.array([0.0, 0.0, -h]),
                paint_facade(design, length, h), wall=True,
            )  # fmt: skip

    def gable(self, x: float, y: float, w: float, d: float, z: float, h: float, which: int) -> None:
        """A gable roof with its ridge along y: a triangle in front and behind, two slopes."""
        over = 0.4
        for sign in (-1.0, 1.0):
            start = np.array([x + sign * w / 2, y + sign * d / 2, z + h])
            wall = paint_facade(self.facade(which, 1, plain=True), w, h)
            self.add(start, np.array([-sign * w, 0, 0]), np.array([0, 0, -h]), wall, True, TRIANGLE)
            eave = np.array([sign * (w / 2 + over), 0.0, -h * (1 + 2 * over / w)])
            slope = float(np.linalg.norm(eave))
            top = np.array([x, y - sign * (d / 2 + over), z + h])
            along = np.array([0.0, sign * (d + 2 * over), 0.0])
            self.add(top, along, eave, self.roof(d, slope), wall=False)

    def hip(self, x: float, y: float, w: float, d: float, z: float, h: float, ridge: float = 0.0) -> None:
        """A roof that slopes to all four sides; `ridge` is the share of the width left at the top (0: a spire)."""
        over = 0.3
        w, d = w + 2 * over, d + 2 * over
        base = np.array(
            [[x - w / 2, y - d / 2], [x + w / 2, y - d / 2], [x + w / 2, y + d / 2], [x - w / 2, y + d / 2]]
        )
        for side in range(4):
            start, end = base[side], base[(side + 1) % 4]
            inward = np.array([x, y]) - (start + end) / 2
            top = ridge if side % 2 == 0 else 0.0
            rise = np.array([*(inward * (1.0 if side % 2 == 0 else 1.0 - ridge)), h])
            outline = ((0.5 - top / 2, 0.0), (0.5 + top / 2, 0.0), (1.0, 1.0), (0.0, 1.0))
            length = float(np.linalg.norm(end - start))
            texture = self.roof(length, float(np.linalg.norm(rise)))
            self.add(np.array([*start, z]) + rise, np.array([*(end - start), 0.0]), -rise, texture, False, outline)

    def drum(self, x: float, y: float, radius: float, z: float, h: float, which: int, ornaments: int) -> None:
        """A round tower of `FACETS` flat facets that share one long texture."""
        side = 2 * radius * np.tan(np.pi / FACETS)
        design = self.facade(which, ornaments, plain=z > 0)
        around = paint_facade(replace(design, bay=min(design.bay, side)), side * FACETS, h)
        cuts = np.linspace(0, around.glow.shape[1], FACETS + 1).round().astype(int)
        for facet in range(FACETS):
            out = 2 * np.pi * (facet + 0.5) / FACETS - np.pi
            normal = np.array([np.sin(out), -np.cos(out), 0.0])
            along = np.array([np.cos(out), np.sin(out), 0.0])
            start = np.array([x, y, z + h]) + normal * radius - along * side / 2
            part = (slice(None), slice(cuts[facet], cuts[facet + 1]))
            strip = Texture(np.ascontiguousarray(around.colour[part]), np.ascontiguousarray(around.glow[part]))
            self.add(start, along * side, np.array([0, 0, -h]), strip, wall=True)

    def cone(self, x: float, y: float, radius: float, z: float, h: float) -> None:
        """A pointed roof over a drum."""
        radius += 0.3
        side = 2 * radius * np.tan(np.pi / FACETS)
        texture = self.roof(side, float(np.hypot(radius, h)))
        for facet in range(FACETS):
            out = 2 * np.pi * (facet + 0.5) / FACETS - np.pi
            normal = np.array([np.sin(out), -np.cos(out), 0.0])
            along = np.array([np.cos(out), np.sin(out), 0.0])
            top = np.array([x, y, z + h])
            down = np.array([x, y, z]) + normal * radius - top
            self.add(top - along * side / 2, along * side, down, texture, False, TRIANGLE)

    def roof(self, width: float, height: float) -> Texture:
        """A roof texture with courses of tiles."""
        rows, columns = max(8, round(height * 8)), max(8, round(width * 8))
        rng = np.random.default_rng(self.style.integers(2**31))
        rgb = paint_wall(rng, "brick", self.roof_colour, self.roof_colour, rows, columns)
        return Texture.opaque(rgb)


def design_landmark(style: np.random.Generator, detail: np.random.Generator) -> Landmark:
    """A random landmark. Equal `style` with another `detail` gives a look-alike."""
    build = Builder(style, detail)
    _KINDS[str(style.choice(KINDS))](build, style)
    points = np.concatenate([face.corners() for face in build.faces])
    extent = np.array([2 * abs(points[:, 0]).max(), 2 * abs(points[:, 1]).max(), points[:, 2].max()])
    return Landmark(tuple(build.faces), extent)


def _hall(build: Builder, rng: np.random.Generator) -> None:
    w, d, h = rng.uniform(12, 20), rng.uniform(12, 20), rng.uniform(9, 14)
    build.box(0, 0, w, d, 0, h, 0, ornaments=4)
    build.gable(0, 0, w, d, h, rng.uniform(3.5, 7), 1)
    if rng.random() < 0.6:
        pw, ph = w * rng.uniform(0.35, 0.6), h * rng.uniform(0.45, 0.7)
        offset = rng.uniform(-0.2, 0.2) * w
        build.box(offset, -d / 2 - 1.2, pw, 2.4, 0, ph, 2)
        build.gable(offset, -d / 2 - 1.2, pw, 2.4, ph, rng.uniform(1.5, 3), 2)


def _church(build: Builder, rng: np.random.Generator) -> None:
    w, d, h = rng.uniform(9, 13), rng.uniform(16, 24), rng.uniform(8, 12)
    build.box(0, 0, w, d, 0, h, 0, ornaments=3)
    build.gable(0, 0, w, d, h, rng.uniform(4, 7), 0)
    side = rng.uniform(4.2, 5.6)
    height, spire = h * rng.uniform(1.4, 2.0), rng.uniform(4, 10)
    places = {0: [-1.0], 1: [1.0], 2: [-1.0, 1.0]}[int(rng.integers(3))]
    for place in places:
        x = place * (w / 2 + side / 2 - 0.5)
        build.box(x, -d / 2 + side / 2 - 0.6, side, side, 0, height, 1, ornaments=3)
        build.hip(x, -d / 2 + side / 2 - 0.6, side, side, height, spire)


def _palace(build: Builder, rng: np.random.Generator) -> None:
    w, d, h = rng.uniform(20, 28), rng.uniform(8, 11), rng.uniform(8.5, 13)
    build.box(0, 0, w, d, 0, h, 0, ornaments=4)
    build.hip(0, 0, w, d, h, rng.uniform(2.5, 5), ridge=rng.uniform(0.4, 0.75))
    ww, wd, wh = rng.uniform(4.5, 6.5), rng.uniform(3, 6), h * rng.uniform(0.75, 1.25)
    for sign in (-1, 1):
        build.box(sign * (w - ww) / 2, -d / 2 - wd / 2 + 0.5, ww, wd, 0, wh, 1, ornaments=2)
        build.hip(sign * (w - ww) / 2, -d / 2 - wd / 2 + 0.5, ww, wd, wh, rng.uniform(2, 5))


def _tower(build: Builder, rng: np.random.Generator) -> None:
    w, h = rng.uniform(7, 9.5), rng.uniform(13, 19)
    build.box(0, 0, w, w, 0, h, 0, ornaments=4)
    inner = w * rng.uniform(0.6, 0.85)
    upper = rng.uniform(4, 7)
    build.box(0, 0, inner, inner, h, upper, 1, ornaments=2)
    build.hip(0, 0, inner, inner, h + upper, rng.uniform(3, 8))
    aw, ah = w * rng.uniform(0.8, 1.3), h * rng.uniform(0.35, 0.5)
    sign = float(rng.choice([-1, 1]))
    build.box(sign * (w + aw) / 2, 0, aw, w * 0.8, 0, ah, 2, ornaments=2)
    build.hip(sign * (w + aw) / 2, 0, aw, w * 0.8, ah, 2.5, ridge=0.4)


def _round(build: Builder, rng: np.random.Generator) -> None:
    radius, h = rng.uniform(4.5, 6.5), rng.uniform(9, 14)
    build.drum(0, 0, radius, 0, h, 0, ornaments=5)
    build.cone(0, 0, radius, h, rng.uniform(3, 7))
    w, d, low = rng.uniform(5, 8), rng.uniform(6, 9), h * rng.uniform(0.55, 0.8)
    for sign in [(-1.0,), (1.0,), (-1.0, 1.0)][int(rng.integers(3))]:
        build.box(sign * (radius + w / 2 - 0.8), 0, w, d, 0, low, 1, ornaments=3)
        build.hip(sign * (radius + w / 2 - 0.8), 0, w, d, low, rng.uniform(2, 4), ridge=0.3)


def _stepped(build: Builder, rng: np.random.Generator) -> None:
    w, d, z = rng.uniform(14, 19), rng.uniform(11, 15), 0.0
    for level in range(int(rng.integers(2, 4))):
        h = rng.uniform(4.5, 7.5)
        build.box(0, rng.uniform(-0.6, 0.6), w, d, z, h, level, ornaments=3)
        z += h
        w, d = w * rng.uniform(0.62, 0.85), d * rng.uniform(0.65, 0.85)
    build.hip(0, 0, w, d, z, rng.uniform(1.5, 3), ridge=0.5)


_KINDS = {
    "hall": _hall, "church": _church, "palace": _palace, "tower": _tower, "round": _round, "stepped": _stepped,
}  # fmt: skip
