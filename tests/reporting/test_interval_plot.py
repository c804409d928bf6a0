import re

from retrieval_bench.reporting.interval_plot import intervals_plot
from retrieval_bench.settings.record import Level


def test_every_run_and_stage_is_told_with_its_interval(make_record, make_stage):
    svg = intervals_plot([make_record(), make_record(stages=[make_stage()])], ["A", "B"])
    assert "A, before re-ranking: 51.23, 46.91 to 55.11; A, after re-ranking: 54.23" in svg
    assert "B: 51.23" in svg


def test_names_are_no_mathematics(make_record):
    assert "$x^{2$" in intervals_plot([make_record()], [r"$x^{2$"])


def test_long_names_keep_their_ends(make_record):
    svg = intervals_plot([make_record(), make_record()], [f"{'a long name ' * 9}p={number}" for number in (3, 4)])
    for number in (3, 4):
        assert re.search(rf">a long name [^<]*…[^<]*p={number}, after re-ranking</text>", svg)


def test_a_level_without_figures_has_no_plot(make_record, make_stage):
    empty = Level(map=None, interval=None, precision_at={}, queries=0)
    assert intervals_plot([make_record(stages=[make_stage(medium=empty)])], ["A"]) is None
    alone = Level(map=0.5, interval=None, precision_at={}, queries=1)
    assert "A: 50.00, 50.00 to 50.00" in intervals_plot([make_record(stages=[make_stage(medium=alone)])], ["A"])
