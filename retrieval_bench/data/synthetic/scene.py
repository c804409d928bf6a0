"""One picture: landmark, neighbours, street and occluders through a camera, with a depth buffer.

Painting happens at `SUPERSAMPLING` times the final resolution. A face is a homography from its texture to the picture;
the third coordinate of the inverse is the inverse depth, so that one small matrix gives both colour and depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from retrieval_bench.data.synthetic.camera import Camera, Vector
from retrieval_bench.data.synthetic.labels import FacadeView
from retrieval_bench.data.synthetic.landmark import Face, Landmark
from retrieval_bench.data.synthetic.ornament import Image
from retrieval_bench.data.synthetic.stock import Cutout, Stock
from retrieval_bench.data.synthetic.texture import Texture
from retrieval_bench.data.synthetic.weather import Light, add_haze, add_rain

SUPERSAMPLING = 2
NEAR = 0.3
TOWARDS_THE_SKY = np.array([0.0, -0.8, 0.6])
LAMP = np.array([255.0, 214.0, 140.0])


@dataclass(frozen=True)
class Picture:
    """A painted scene.

    Attributes:
        rgb: ``(H, W, 3)`` uint8.
        owner: ``(h, w)`` int16 at painting resolution: index of the landmark's face seen there, -1 for everything else.
    """

    rgb: Image
    owner: NDArray[np.int16]


class Canvas:
    """Colour, inverse depth and owner per pixel, and the painting of faces into them."""

    def __init__(self, camera: Camera, light: Light):
        self.camera, self.light = camera, light
        self.projection = camera.matrix()
        self.colour = np.zeros((camera.height, camera.width, 4), np.uint8)
        self.inverse_depth = np.zeros((camera.height, camera.width), np.float32)
        self.owner = np.full((camera.height, camera.width), -1, np.int16)

    def paint(self, face: Face, owner: int = -1) -> None:
        """Paint a face where it is nearer than what is there."""
        towards = self.camera.position - face.centre
        if not face.two_sided and float(face.normal @ towards) <= 0:
            return
        window = self._window(face)
        if window is None:
            return
        x0, y0, x1, y1 = window
        texture, inverse = self._sampling(face)
        shift = np.array([[1.0, 0, x0], [0, 1.0, y0], [0, 0, 1.0]])
        local = inverse @ shift
        size = (x1 - x0, y1 - y0)
        patch = cv2.warpPerspective(texture, local, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        row = local[2].astype(np.float32)
        depth = row[0] * np.arange(size[0], dtype=np.float32)[None] + (
            row[1] * np.arange(size[1], dtype=np.float32)[:, None] + row[2]
        )
        behind = self.inverse_depth[y0:y1, x0:x1]
        mask = (patch[..., 3] > 127) & (depth > behind) & (depth < 1 / NEAR)
        drawn = mask.view(np.uint8)
        cv2.copyTo(patch, drawn, self.colour[y0:y1, x0:x1])
        cv2.copyTo(depth, drawn, behind)
        self.owner[y0:y1, x0:x1][mask] = owner

    def _window(self, face: Face) -> tuple[int, int, int, int] | None:
        """The picture's rectangle that holds the face, None where it is out of sight."""
        corners = self.projection @ np.vstack([face.corners().T, np.ones(len(face.outline))])
        if (corners[2] <= NEAR).all():
            return None
        if (corners[2] <= NEAR).any():
            return 0, 0, self.camera.width, self.camera.height
        points = corners[:2] / corners[2]
        x0, y0 = np.floor(points.min(axis=1)).clip(0).astype(int)
        x1, y1 = np.ceil(points.max(axis=1)).astype(int) + 1
        x1, y1 = min(int(x1), self.camera.width), min(int(y1), self.camera.height)
        return (int(x0), int(y0), x1, y1) if x1 > x0 and y1 > y0 else None

    def _sampling(self, face: Face) -> tuple[Image, Vector]:
        """The lit texture level that suits the face's size, and the map from pixel indices to its indices."""
        rows, columns = face.levels[0].glow.shape
        plane = np.zeros((4, 3))
        plane[:3] = np.stack([face.u, face.v, face.origin], axis=1)
        plane[3, 2] = 1.0
        to_picture = self.projection @ plane
        centre = to_picture @ [0.5, 0.5, 1.0]
        depth = max(float(centre[2]), NEAR)
        texels = np.sqrt(rows * columns / face.area)
        per_pixel = texels * depth / self.camera.focal
        level = int(np.clip(np.log2(max(per_pixel, 1.0)) + 0.35, 0, len(face.levels) - 1))
        texture = face.levels[level]
        rows, columns = texture.glow.shape
        to_unit = np.array([[1 / columns, 0, 0.5 / columns], [0, 1 / rows, 0.5 / rows], [0, 0, 1.0]])
        to_index = np.array([[1.0, 0, -0.5], [0, 1.0, -0.5], [0, 0, 1.0]])
        return self._lit(texture, face), np.linalg.inv(to_index @ to_picture @ to_unit)

    def _lit(self, texture: Texture, face: Face) -> Image:
        gain = self.light.gain(TOWARDS_THE_SKY if face.two_sided else face.normal)
        table = np.empty((1, 256, 4), np.uint8)
        table[0] = (np.arange(256)[:, None] * [*gain, 1.0]).clip(0, 255)
        colour = cv2.LUT(texture.colour, table)
        if self.light.lit < 256:
            shines = texture.glow > self.light.lit
            colour[shines, :3] = (0.35 * colour[shines, :3] + 0.65 * LAMP).astype(np.uint8)
        return colour


def standing(cutout: Cutout, place: Vector, camera: Camera) -> Face:
    """A cutout that stands at `place` on the street and faces the camera."""
    towards = camera.position[:2] - place[:2]
    towards /= max(float(np.linalg.norm(towards)), 1e-6)
    along = np.array([-towards[1], towards[0], 0.0]) * cutout.width
    origin = np.array([*place[:2], cutout.height]) - along / 2
    return Face(origin, along, np.array([0.0, 0.0, -cutout.height]), cutout.levels, two_sided=True)


def house(rng: np.random.Generator, stock: Stock, place: Vector, turn: float) -> list[Face]:
    """A nameless house at `place`: four walls from the stock."""
    front, side = (stock.houses[int(i)] for i in rng.integers(len(stock.houses), size=2))
    cos, sin = np.cos(turn), np.sin(turn)
    right, back = np.array([cos, sin]) * front.width, np.array([-sin, cos]) * side.width
    corner = place[:2] - (right + back) / 2
    ring = [corner, corner + right, corner + right + back, corner + back]
    faces = []
    for index in range(4):
        start, edge = ring[index], ring[(index + 1) % 4] - ring[index]
        levels = (front, side)[index % 2].levels
        origin = np.array([*start, front.height])
        faces.append(Face(origin, np.array([*edge, 0.0]), np.array([0.0, 0.0, -front.height]), levels))
    return faces


def surroundings(rng: np.random.Generator, stock: Stock, camera: Camera, reach: float, occluders: int) -> list[Face]:
    """Neighbours behind and beside a landmark of radius `reach`, and things between it and the camera."""
    view = -camera.position[:2]
    distance = float(np.linalg.norm(view))
    ahead = view / distance
    aside = np.array([ahead[1], -ahead[0]])
    faces: list[Face] = []
    for _ in range(int(rng.integers(1, 6))):
        far, lateral = rng.uniform(reach + 12, reach + 45), rng.uniform(-1.1, 1.1) * (distance + 30)
        faces += house(rng, stock, ahead * far + aside * lateral, rng.uniform(-0.6, 0.6))
    if rng.random() < 0.5:
        lateral = float(rng.choice([-1.0, 1.0])) * (reach + rng.uniform(9, 18))
        faces += house(rng, stock, aside * lateral + ahead * rng.uniform(-4, 10), rng.uniform(-0.4, 0.4))
    kinds = rng.choice(list(stock.things), p=(0.24, 0.34, 0.22, 0.12, 0.08), size=occluders)
    for kind in kinds:
        thing = stock.things[str(kind)][int(rng.integers(len(stock.things[str(kind)])))]
        near = 0.4 if kind in ("tree", "car", "hedge") else 0.22
        share = rng.uniform(near, 0.95)
        room = distance - reach
        depth = max(room * share, 2.5)
        lateral = rng.uniform(-0.55, 0.55) * camera.width / camera.focal * depth
        faces.append(standing(thing, camera.position[:2] + ahead * depth + aside * lateral, camera))
    return faces


def paint_scene(
    rng: np.random.Generator, stock: Stock, landmark: Landmark | None, camera: Camera, light: Light, occluders: int
) -> Picture:
    """Paint a landmark, or a street without one, as `camera` sees it."""
    fine = camera.resized(SUPERSAMPLING)
    canvas = Canvas(fine, light)
    _paint_sky_and_street(rng, stock, canvas)
    reach = 0.5 * float(np.hypot(*landmark.extent[:2])) if landmark else 8.0
    for face in surroundings(rng, stock, camera, reach, occluders):
        canvas.paint(face)
    for index, face in enumerate(landmark.faces if landmark else ()):
        canvas.paint(face, index)
    rgb = add_haze(cv2.cvtColor(canvas.colour, cv2.COLOR_RGBA2RGB), canvas.inverse_depth, light)
    if light.kind == "rain":
        rgb = add_rain(rng, rgb)
    rgb = cv2.resize(rgb, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return Picture(rgb, canvas.owner)


def _paint_sky_and_street(rng: np.random.Generator, stock: Stock, canvas: Canvas) -> None:
    camera, light = canvas.camera, canvas.light
    horizon, zenith = light.haze_colour.astype(np.float32), light.zenith.astype(np.float32)
    up = _rise(camera.resized(1 / (2 * SUPERSAMPLING)))
    height = (up * 1.6).clip(0, 1)[..., None]
    backdrop = horizon * (1 - height) + zenith * height
    clouds = stock.clouds[int(rng.integers(len(stock.clouds)))]
    top, left = rng.integers(0, 96, 2)
    field = cv2.resize(clouds[top : top + 160, left : left + 160], up.shape[::-1])[..., None]
    backdrop += (horizon * 1.08 - backdrop) * field * np.float32(rng.uniform(0.0, 0.8))
    size = (camera.width, camera.height)
    canvas.colour[..., :3] = cv2.resize(backdrop.clip(0, 255).astype(np.uint8), size)
    paving = stock.paving[int(rng.integers(len(stock.paving)))]
    ground = paving[-1].colour[..., :3].reshape(-1, 3).mean(axis=0) * light.gain(np.array([0.0, 0.0, 1.0]))
    mix = (np.maximum(-up, 0) * (60 / camera.position[2])).clip(0, 1)[..., None]
    street = ground.clip(0, 255) * mix + horizon * (1 - mix)
    inverse_depth = np.maximum(-_rise(camera), 0) / np.float32(camera.position[2])
    full = np.dstack([cv2.resize(street.astype(np.uint8), size), np.full(size[::-1], 255, np.uint8)])
    cv2.copyTo(full, (inverse_depth > 0).view(np.uint8), canvas.colour)
    turn, side = rng.uniform(0, np.pi), 70.0
    u = np.array([np.cos(turn), np.sin(turn), 0.0]) * side
    v = np.array([np.sin(turn), -np.cos(turn), 0.0]) * side
    canvas.paint(Face(-(u + v) / 2, u, v, paving))
    canvas.inverse_depth[:] = inverse_depth


def _rise(camera: Camera) -> NDArray[np.float32]:
    """How much the ray through each pixel rises, in metres per metre of depth."""
    x = (np.arange(camera.width, dtype=np.float32)[None] + 0.5 - camera.width / 2) / camera.focal
    y = (np.arange(camera.height, dtype=np.float32)[:, None] + 0.5 - camera.height / 2) / camera.focal
    turn = camera.rotation[:, 2].astype(np.float32)
    return (turn[0] * x + (turn[1] * y + turn[2])).astype(np.float32)


def observe(landmark: Landmark, camera: Camera, owner: NDArray[np.int16]) -> tuple[float, dict[int, FacadeView]]:
    """What a picture shows of a landmark: the visible share of its silhouette and of each facade facing the camera.

    Args:
        camera: of the picture (not of the painting, which has `SUPERSAMPLING` times its resolution).
        owner: as in `Picture`.
    """
    counts = np.bincount(owner[owner >= 0].ravel(), minlength=len(landmark.faces)) / SUPERSAMPLING**2
    projection = camera.matrix()
    outlines: list[NDArray[np.float64]] = []
    facades: dict[int, FacadeView] = {}
    for face, pixels in zip(landmark.faces, counts, strict=True):
        towards = camera.position - face.centre
        distance = float(np.linalg.norm(towards))
        cosine = float(face.normal @ towards) / distance
        corners = projection @ np.vstack([face.corners().T, np.ones(len(face.outline))])
        if cosine <= 0 or (corners[2] <= NEAR).any():
            continue
        points = (corners[:2] / corners[2]).T
        outlines.append(points)
        if face.facade < 0:
            continue
        area = cv2.contourArea(points.astype(np.float32))
        normal = np.degrees(np.arctan2(face.normal[0], -face.normal[1]))
        here = np.degrees(np.arctan2(towards[0], -towards[1]))
        facades[face.facade] = FacadeView(
            visible=min(1.0, float(pixels) / max(area, 1.0)),
            pixels=float(pixels),
            azimuth=float((here - normal + 180.0) % 360.0 - 180.0),
            oblique=float(np.degrees(np.arccos(min(1.0, cosine)))),
            scale=camera.focal / distance,
        )
    return _share(outlines, float(counts.sum())), facades


def _share(outlines: Sequence[NDArray[np.float64]], pixels: float) -> float:
    """Visible pixels over the area of the union of the outlines, drawn on a raster of its own."""
    if not outlines:
        return 0.0
    points = np.concatenate(outlines)
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    zoom = 128.0 / max(float(size.max()), 1.0)
    raster = np.zeros((140, 140), np.uint8)
    for outline in outlines:
        cv2.fillConvexPoly(raster, ((outline - low) * zoom + 2).round().astype(np.int32), 1)
    return min(1.0, pixels * zoom**2 / max(int(raster.sum()), 1))


def box_of(owner: NDArray[np.int16]) -> tuple[float, float, float, float] | None:
    """The smallest box around the landmark's visible pixels, x0, y0, x1, y1 in pixels of the picture."""
    rows, columns = np.flatnonzero((owner >= 0).any(axis=1)), np.flatnonzero((owner >= 0).any(axis=0))
    if not len(rows):
        return None
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return x0 / SUPERSAMPLING, y0 / SUPERSAMPLING, x1 / SUPERSAMPLING, y1 / SUPERSAMPLING
