"""The pinhole camera and where seeded cameras stand. World: metres, z up, the street is z = 0, fronts look to -y."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: ``(3,)`` in metres.
        rotation: ``(3, 3)``; rows are the camera's right, down and forward axes in the world.
        focal: focal length in pixels.
        width, height: of the picture in pixels; the principal point is its middle.
    """

    position: Vector
    rotation: Vector
    focal: float
    width: int
    height: int

    def matrix(self) -> Vector:
        """The ``(3, 4)`` projection: homogeneous world to depth * (x, y, 1); pixel i spans i .. i + 1."""
        intrinsics = np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1.0]])
        return intrinsics @ np.hstack([self.rotation, (-self.rotation @ self.position)[:, None]])

    def resized(self, factor: float) -> "Camera":
        """The same view with `factor` times the pixels."""
        width, height = round(self.width * factor), round(self.height * factor)
        return Camera(self.position, self.rotation, self.focal * factor, width, height)


def look_at(position: Vector, target: Vector, roll: float, focal: float, width: int, height: int) -> Camera:
    """A camera at `position` that looks at `target`, turned by `roll` radians about its axis."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    rotation = np.stack([cos * right + sin * down, cos * down - sin * right, forward])
    return Camera(position, rotation, focal, width, height)


@dataclass(frozen=True)
class Stance:
    """How a camera may stand before a landmark.

    Attributes:
        azimuths: spreads in degrees around the front, one is drawn by `chances`; within it the angle is uniform.
        chances: of the spreads, summing to 1.
        fill: smallest and largest share of the picture's longer side that the landmark would fill (log-uniform).
        offset: standard deviation of the look-at point, in half extents of the landmark.
        elevated: chance of a raised standpoint.
    """

    azimuths: tuple[float, ...]
    chances: tuple[float, ...]
    fill: tuple[float, float]
    offset: float
    elevated: float


QUERY = Stance(azimuths=(28.0,), chances=(1.0,), fill=(0.95, 1.35), offset=0.06, elevated=0.1)
TRAIN = Stance(azimuths=(45.0, 75.0), chances=(0.9, 0.1), fill=(0.95, 1.7), offset=0.14, elevated=0.2)
DATABASE = Stance(azimuths=(35.0, 70.0, 180.0), chances=(0.52, 0.33, 0.15), fill=(0.75, 2.1), offset=0.17, elevated=0.2)

ASPECTS = (4 / 3, 4 / 3, 3 / 2, 1.0, 3 / 4, 2 / 3, 3 / 4)
FIELD_OF_VIEW = (38.0, 66.0)


def place(rng: np.random.Generator, stance: Stance, extent: Vector, longer_side: int) -> Camera:
    """A seeded camera before a landmark at the origin.

    Args:
        extent: ``(3,)`` width, depth and height of the landmark in metres.
        longer_side: of the picture in pixels.
    """
    aspect = float(rng.choice(ASPECTS))
    if extent[2] > 1.4 * extent[0] and rng.random() < 0.7:
        aspect = min(aspect, 1 / aspect)
    width = longer_side if aspect >= 1 else round(longer_side * aspect)
    height = longer_side if aspect <= 1 else round(longer_side / aspect)
    spread = float(rng.choice(stance.azimuths, p=stance.chances))
    azimuth = np.radians(rng.uniform(-spread, spread))
    tangent = np.tan(np.radians(rng.uniform(*FIELD_OF_VIEW)) / 2)
    focal = longer_side / 2 / tangent
    fill = np.exp(rng.uniform(*np.log(stance.fill)))
    across = extent[0] * abs(np.cos(azimuth)) + extent[1] * abs(np.sin(azimuth))
    need = max(across / width, extent[2] / height) * focal / fill
    reach = 0.5 * float(np.hypot(extent[0], extent[1]))
    distance = max(need + 0.4 * extent[1], reach + 2.0)
    eye = rng.uniform(6.0, 16.0) if rng.random() < stance.elevated else rng.uniform(1.5, 3.0)
    position = np.array([np.sin(azimuth) * distance, -np.cos(azimuth) * distance, eye])
    half = extent / 2
    jitter = rng.normal(0.0, stance.offset, 3).clip(-0.6, 0.6)
    facing = np.array([np.sin(azimuth) * half[0], -np.cos(azimuth) * half[1], 0.0]) * 0.5
    target = facing + np.array([0.0, 0.0, half[2] * 0.95]) + jitter * half
    target[2] = max(target[2], 1.0)
    return look_at(position, target, np.radians(rng.normal(0.0, 2.0)), focal, width, height)
