"""The rules that make a database view easy, hard, junk or negative for a query, as pure functions.

They read only what the renderer knows of the two views. A *facade* is one flat wall of a landmark (or a facet of a
round one); roofs, sky, street and neighbours never count.

1. What is asked for: the facades in the query's box, each weighted by its share of the landmark's pixels there.
2. The *shared view* of the database picture: the weighted mean, over those facades, of the fraction of the facade that
   is visible there (in the frame, not behind anything, not seen from more than `OBLIQUE` degrees off its normal).
3. The *turn*: the mean difference, in degrees, between the horizontal angles from which the two pictures see these
   facades. The *zoom*: the ratio of their pixels per metre, 1 or more, in whichever direction.
4. **negative**: another landmark, or none of this one's facades or roofs is visible.
   **easy**: a shared view, turn and zoom within `EASY`, in daylight, not blurred.
   **hard**: not easy, but shared view, turn and zoom within `HARD`.
   **junk**: the landmark is in the picture, but worse than that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Relation = Literal["easy", "hard", "junk", "negative"]

DAYLIGHT = frozenset({"sun", "overcast"})
"""Light in which a view can be easy; dusk, night, fog and rain are hard at best."""

OBLIQUE = 75.0
"""Degrees off a facade's normal beyond which it counts as not seen."""

MINIMUM_WEIGHT = 0.05
"""Facades below this share of the query's landmark pixels are not asked for."""

EASY_BLUR = 1.2
"""Largest blur of an easy view: standard deviation in pixels."""


@dataclass(frozen=True)
class Bounds:
    """How far a view may be from the query: least shared view (0..1), largest turn (degrees), largest zoom (ratio)."""

    shared: float
    turn: float
    zoom: float


EASY = Bounds(shared=0.4, turn=45.0, zoom=2.5)
HARD = Bounds(shared=0.15, turn=75.0, zoom=5.0)


@dataclass(frozen=True)
class FacadeView:
    """One facade in one picture.

    Attributes:
        visible: fraction of its projected area that is in the frame and not hidden, 0..1.
        pixels: how many pixels of the picture show it.
        azimuth: horizontal angle of the camera from its normal, degrees, signed.
        oblique: angle between its normal and the line to the camera, degrees, 0..90.
        scale: pixels per metre at its centre.
    """

    visible: float
    pixels: float
    azimuth: float
    oblique: float
    scale: float


@dataclass(frozen=True)
class View:
    """What the renderer knows of one picture.

    Attributes:
        landmark: its name, None where there is none.
        share: fraction of the landmark's silhouette that is visible, 0..1.
        light: kind of light, such as "sun" or "night".
        blur: standard deviation of the blur in pixels.
        facades: the facades that face the camera, by number.
    """

    landmark: str | None
    share: float
    light: str
    blur: float
    facades: Mapping[int, FacadeView]


def asked_for(query: View) -> dict[int, float]:
    """The facades that a query asks for and their weights, which sum to 1; empty where it shows none."""
    seen = {number: facade.pixels for number, facade in query.facades.items() if facade.oblique <= OBLIQUE}
    total = sum(seen.values())
    kept = {number: pixels for number, pixels in seen.items() if total and pixels / total >= MINIMUM_WEIGHT}
    return {number: pixels / sum(kept.values()) for number, pixels in kept.items()}


@dataclass(frozen=True)
class Comparison:
    """Shared view (0..1), turn (degrees, 0..180) and zoom (1 or more) of a database view against a query."""

    shared: float
    turn: float
    zoom: float


def compare(query: View, view: View) -> Comparison | None:
    """Compare two views of one landmark; None where they share no facade."""
    shared = turn = zoom = total = 0.0
    for number, weight in asked_for(query).items():
        there = view.facades.get(number)
        if there is None or there.oblique > OBLIQUE or there.visible <= 0:
            continue
        here = query.facades[number]
        part = weight * there.visible
        shared += part
        total += weight
        turn += weight * abs((there.azimuth - here.azimuth + 180.0) % 360.0 - 180.0)
        zoom += weight * max(there.scale / here.scale, here.scale / there.scale)
    if total == 0.0:
        return None
    return Comparison(shared, turn / total, zoom / total)


def within(comparison: Comparison, bounds: Bounds) -> bool:
    """Whether a comparison keeps all three bounds; each bound itself is inside."""
    return comparison.shared >= bounds.shared and comparison.turn <= bounds.turn and comparison.zoom <= bounds.zoom


def relation(query: View, view: View) -> Relation:
    """What `view` is to `query`."""
    if query.landmark is None or view.landmark != query.landmark or view.share <= 0.0:
        return "negative"
    comparison = compare(query, view)
    if comparison is None or not within(comparison, HARD):
        return "junk"
    if within(comparison, EASY) and view.light in DAYLIGHT and view.blur <= EASY_BLUR:
        return "easy"
    return "hard"
