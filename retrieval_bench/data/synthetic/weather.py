"""Light and weather on the scene, and what lens, sensor and JPEG do to the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from retrieval_bench.data.synthetic.camera import Vector
from retrieval_bench.data.synthetic.ornament import Image

Float = NDArray[np.float32]

LIGHTS = ("sun", "overcast", "dusk", "night", "fog", "rain")
LIGHT_CHANCES = (0.5, 0.31, 0.06, 0.05, 0.04, 0.04)
WARM = np.array([1.0, 0.1, -1.1])

QUERY_LIGHT_CHANCES = (0.6, 0.4, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Light:
    """One light.

    Attributes:
        kind: one of `LIGHTS`.
        ambient: ``(3,)`` RGB gain on every face.
        sun: ``(3,)`` RGB gain on a face that looks at the sun.
        direction: unit vector to the sun.
        lit: glow from which a pixel shines at night; 256: none does.
        haze: distance in metres at which 63 % of the colour is haze; infinity: none.
        haze_colour, zenith: ``(3,)`` RGB of the haze and the horizon, and of the sky overhead.
    """

    kind: str
    ambient: Vector
    sun: Vector
    direction: Vector
    lit: int
    haze: float
    haze_colour: Vector
    zenith: Vector

    def gain(self, normal: Vector) -> Vector:
        """``(3,)`` RGB gain on a face with this unit normal."""
        return self.ambient + self.sun * max(0.0, float(normal @ self.direction))


def draw_light(rng: np.random.Generator, chances: tuple[float, ...] = LIGHT_CHANCES) -> Light:
    """A random light; the sun stands anywhere on the street's side."""
    kind = str(rng.choice(LIGHTS, p=chances))
    angle, height = rng.uniform(-1.5, 1.5), rng.uniform(0.25, 1.1)
    direction = np.array([np.sin(angle) * np.cos(height), -np.cos(angle) * np.cos(height), np.sin(height)])
    white, warm = np.ones(3), np.array([1.25, 0.86, 0.58])
    haze, lit = np.inf, 256
    ambient, sun = rng.uniform(0.52, 0.68) * np.array([0.96, 1.0, 1.06]), rng.uniform(0.35, 0.6) * white
    horizon, zenith = np.array([206, 218, 230.0]), np.array([96, 140, 196.0]) * rng.uniform(0.8, 1.15)
    if kind == "overcast":
        ambient, sun = rng.uniform(0.75, 1.0) * white, 0.1 * white
        horizon, zenith = np.array([214, 216, 218.0]), np.array([176, 182, 188.0])
    elif kind == "dusk":
        ambient, sun, lit = rng.uniform(0.36, 0.5) * np.array([1.0, 0.88, 1.05]), rng.uniform(0.3, 0.7) * warm, 190
        direction = direction * [1.0, 1.0, 0.25]
        direction /= np.linalg.norm(direction)
        horizon, zenith = np.array([232, 160, 110.0]), np.array([84, 84, 132.0])
    elif kind == "night":
        ambient, sun = rng.uniform(0.2, 0.32) * np.array([0.85, 0.9, 1.25]), rng.uniform(0.1, 0.35) * warm
        direction, lit = np.array([0.2 * np.sin(angle), -0.95, -0.2]), int(rng.integers(60, 200))
        horizon, zenith = np.array([40, 40, 58.0]), np.array([14, 16, 34.0])
    elif kind == "fog":
        ambient, sun, haze = rng.uniform(0.7, 0.9) * white, 0.0 * white, rng.uniform(22, 60)
        horizon = zenith = np.array([200, 204, 206.0]) * rng.uniform(0.85, 1.05)
    elif kind == "rain":
        ambient, sun, haze = rng.uniform(0.42, 0.62) * np.array([0.92, 1.0, 1.08]), 0.0 * white, rng.uniform(60, 140)
        horizon, zenith = np.array([150, 156, 162.0]), np.array([112, 118, 126.0])
    return Light(kind, ambient, sun, direction, lit, float(haze), horizon.clip(0, 255), zenith.clip(0, 255))


@dataclass(frozen=True)
class Degradation:
    """What the camera does to a picture.

    Attributes:
        balance: ``(3,)`` RGB gains.
        saturation: 0 is grey, 1 leaves colours alone.
        gamma: exponent on intensities of 0..1.
        contrast: about middle grey.
        blur: standard deviation of the blur in pixels.
        motion: length of the motion blur in pixels; 1: none.
        noise: standard deviation of the noise in grey values.
        quality: of the JPEG, 0..100.
        shrink: the picture's size over the largest size.
    """

    balance: Vector
    saturation: float
    gamma: float
    contrast: float
    blur: float
    motion: int
    noise: float
    quality: int
    shrink: float


def draw_degradation(rng: np.random.Generator, mild: bool = False) -> Degradation:
    """A random degradation; queries get a mild one."""
    blur = abs(rng.normal(0, 0.35)) if mild or rng.random() < 0.8 else rng.uniform(0.6, 1.5)
    grey = not mild and rng.random() < 0.04
    return Degradation(
        balance=np.exp(rng.normal(0.0, 0.05) * WARM + rng.normal(0.0, 0.02, 3)),
        saturation=0.0 if grey else float(rng.uniform(0.6, 1.3)),
        gamma=float(np.exp(rng.normal(0.0, 0.12))),
        contrast=float(rng.uniform(0.8, 1.2)),
        blur=float(blur),
        motion=1 if mild or rng.random() < 0.92 else int(rng.integers(3, 7)),
        noise=float(rng.uniform(0, 4) if mild else rng.gamma(2.0, 1.8)),
        quality=int(rng.integers(75, 95)) if mild else int(rng.integers(30, 95)),
        shrink=1.0 if mild else float(rng.uniform(0.72, 1.0)),
    )


def degrade(rng: np.random.Generator, picture: Image, change: Degradation) -> Image:
    """Apply a degradation, except JPEG and size, to an ``(H, W, 3)`` RGB picture."""
    if change.motion > 1:
        picture = cv2.blur(picture, (change.motion, 1))
    if change.blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), change.blur)
    levels = np.arange(256, dtype=np.float64)[None, :, None] / 255.0
    tones = ((levels * change.balance) ** change.gamma - 0.5) * change.contrast + 0.5
    table = (tones * 255.0).clip(0, 255).round().astype(np.uint8)
    picture = cv2.LUT(picture, table)
    pixels = picture.astype(np.float32)
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    pixels = grey[..., None] + (pixels - grey[..., None]) * np.float32(change.saturation)
    pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(change.noise)
    return pixels.clip(0, 255).round().astype(np.uint8)


def add_haze(picture: Image, inverse_depth: Float, light: Light) -> Image:
    """Fade an ``(H, W, 3)`` picture into the haze by depth; `inverse_depth` in 1 / metre, 0 at infinity."""
    if not np.isfinite(light.haze):
        return picture
    clear = np.exp(-1.0 / np.maximum(inverse_depth * light.haze, 1e-3)).astype(np.float32)[..., None]
    return (picture * clear + light.haze_colour.astype(np.float32) * (1 - clear)).astype(np.uint8)


def add_rain(rng: np.random.Generator, picture: Image) -> Image:
    """Draw streaks of rain."""
    rows, columns = picture.shape[:2]
    streaks = np.zeros((rows, columns), np.uint8)
    slant = int(rng.integers(-6, 7))
    for x, y in zip(rng.integers(0, columns, 130), rng.integers(0, rows, 130), strict=True):
        cv2.line(streaks, (int(x), int(y)), (int(x) + slant, int(y) + 20), 70, 1)
    return cv2.add(picture, cv2.cvtColor(streaks, cv2.COLOR_GRAY2RGB))
