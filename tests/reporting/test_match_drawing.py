import numpy as np
import pytest
from PIL import Image

from retrieval_bench.reporting.match_drawing import draw_matches


def pictures() -> tuple[Image.Image, Image.Image]:
    return Image.new("RGB", (200, 100), (90, 90, 90)), Image.new("RGB", (100, 100), (90, 90, 90))


def bright(drawing: Image.Image) -> np.ndarray:
    return np.argwhere(np.asarray(drawing.convert("L"), int) > 120)


def test_without_matches_nothing_is_drawn():
    assert len(bright(draw_matches(*pictures(), [], []))) == 0


def test_a_line_runs_from_point_to_partner():
    query, database = pictures()
    drawing = draw_matches(query, database, [(50, 25)], [(50, 75)])
    # Both 184 px high, so that 368 + 8 + 184 px fill the width of 560.
    assert drawing.size == (368 + 8 + 184, 184)
    found = bright(drawing)
    assert abs(found[:, 1].min() - 50.5 * 1.84) < 5
    assert abs(found[:, 0].min() - 25.5 * 1.84) < 5
    assert abs(found[:, 1].max() - (376 + 50.5 * 1.84)) < 5
    assert abs(found[:, 0].max() - 75.5 * 1.84) < 5


def test_many_matches_are_thinned():
    points = [(float(i), float(i)) for i in range(100)]
    all_of_them = draw_matches(*pictures(), points, points, most=100)
    few = draw_matches(*pictures(), points, points, most=5)
    assert 0 < len(bright(few)) < len(bright(all_of_them)) / 2


def test_points_must_come_in_pairs():
    with pytest.raises(ValueError, match="shorter"):
        draw_matches(*pictures(), [(1.0, 1.0), (2.0, 2.0)], [(1.0, 1.0)])


def test_a_sliver_is_drawn():
    drawing = draw_matches(Image.new("RGB", (1000, 1)), Image.new("RGB", (1, 1000)), [(500.0, 0.0)], [(0.0, 500.0)])
    assert drawing.width <= 560
    assert drawing.height >= 1
