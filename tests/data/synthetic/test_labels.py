"""The labelling rules at their thresholds."""

from dataclasses import replace

import pytest

from retrieval_bench.data.synthetic import labels
from retrieval_bench.data.synthetic.labels import EASY, HARD, FacadeView, View, asked_for, compare, relation

FRONT = FacadeView(visible=1.0, pixels=1000.0, azimuth=0.0, oblique=0.0, scale=8.0)
QUERY = View("a", 1.0, "sun", 0.0, {0: FRONT})


def seen(view: View = QUERY, **changes: float) -> View:
    return replace(view, facades={0: replace(FRONT, **changes)})


def test_the_same_view_is_easy():
    assert relation(QUERY, QUERY) == "easy"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"visible": EASY.shared}, "easy"),
        ({"visible": EASY.shared - 0.01}, "hard"),
        ({"visible": HARD.shared}, "hard"),
        ({"visible": HARD.shared - 0.01}, "junk"),
        ({"azimuth": EASY.turn}, "easy"),
        ({"azimuth": -EASY.turn - 0.1}, "hard"),
        ({"azimuth": HARD.turn}, "hard"),
        ({"azimuth": -HARD.turn - 0.1}, "junk"),
        ({"scale": 8.0 * EASY.zoom}, "easy"),
        ({"scale": 8.0 * EASY.zoom + 0.1}, "hard"),
        ({"scale": 8.0 / EASY.zoom}, "easy"),
        ({"scale": 8.0 / EASY.zoom - 0.1}, "hard"),
        ({"scale": 8.0 * HARD.zoom + 0.1}, "junk"),
        ({"oblique": labels.OBLIQUE}, "easy"),
        ({"oblique": labels.OBLIQUE + 0.1}, "junk"),
        ({"visible": 0.0}, "junk"),
    ],
)
def test_thresholds(changes, expected):
    assert relation(QUERY, seen(**changes)) == expected


@pytest.mark.parametrize("light", ["dusk", "night", "fog", "rain"])
def test_bad_light_is_hard_at_best(light):
    assert relation(QUERY, replace(QUERY, light=light)) == "hard"


def test_daylight_is_sun_and_overcast():
    assert relation(QUERY, replace(QUERY, light="overcast")) == "easy"


def test_blur_beyond_the_bound_is_hard():
    assert relation(QUERY, replace(QUERY, blur=labels.EASY_BLUR)) == "easy"
    assert relation(QUERY, replace(QUERY, blur=labels.EASY_BLUR + 0.01)) == "hard"


def test_other_landmarks_and_streets_are_negative():
    assert relation(QUERY, replace(QUERY, landmark="b")) == "negative"
    assert relation(QUERY, View(None, 0.0, "sun", 0.0, {})) == "negative"


def test_out_of_sight_is_negative_and_the_other_side_is_junk():
    assert relation(QUERY, replace(QUERY, share=0.0)) == "negative"
    assert relation(QUERY, replace(QUERY, facades={5: FRONT})) == "junk"


def test_facades_weigh_by_their_pixels():
    query = replace(QUERY, facades={0: replace(FRONT, pixels=750.0), 1: replace(FRONT, pixels=250.0)})
    assert asked_for(query) == {0: 0.75, 1: 0.25}
    comparison = compare(query, replace(QUERY, facades={0: replace(FRONT, visible=0.4, azimuth=20.0)}))
    assert comparison is not None
    assert comparison.shared == pytest.approx(0.3)
    assert comparison.turn == pytest.approx(20.0)


def test_a_sliver_in_the_query_is_not_asked_for():
    sliver = replace(FRONT, pixels=1000.0 * labels.MINIMUM_WEIGHT / 2)
    assert asked_for(replace(QUERY, facades={0: FRONT, 1: sliver})) == {0: 1.0}


def test_turns_wrap_around():
    query = replace(QUERY, facades={0: replace(FRONT, azimuth=175.0)})
    comparison = compare(query, seen(azimuth=-175.0))
    assert comparison is not None
    assert comparison.turn == pytest.approx(10.0)
