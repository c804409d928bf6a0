"""Parts in words, and rows that can be told apart."""

import pytest

from retrieval_bench.reporting.part_lines import distinct_titles, part_text, parts_of
from retrieval_bench.reporting.protocol_card import compact_card, provenance_table
from retrieval_bench.reporting.tables import comparison_table
from retrieval_bench.settings.record import PluginFile, RunRecord, read_record

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def own(make_record):
    """A run with an own pooling; whatever is given comes first."""

    def make(sharpness="2", digest=DIGEST, **given):
        return make_record(
            parts={"backbone": "resnet18", "pooling": "my_gem"},
            part_options={"pooling": {"sharpness": sharpness}, "loss": {"margin": "0.15", "scale": "32.0"}},
            plugin_files={"pooling": PluginFile(file="mine/my_gem.py", sha256=digest)},
            **given,
        )

    return make


def test_a_part_of_the_users_own(own):
    said = "my_gem (sharpness=2) from mine/my_gem.py (plug-in, sha256 0123456789ab…)"
    record = own()
    assert part_text(record, "pooling") == said
    assert part_text(record, "backbone") == "resnet18"
    for table in (compact_card(record), provenance_table(record)):
        assert {row[0].text: row[1].text for row in table.rows}["pooling"] == said


def test_a_part_that_lies_in_no_file(own):
    assert part_text(own(digest=""), "pooling") == "my_gem (sharpness=2) from mine/my_gem.py (plug-in)"


def test_an_older_record_still_reads(own, tmp_path):
    older = own().model_dump(mode="json", exclude={"part_options", "plugin_files"})
    record = RunRecord.model_validate(older)
    assert part_text(record, "pooling") == "my_gem"
    record.write(tmp_path)
    assert read_record(tmp_path) == record
    assert list(parts_of(record)) == ["method", "dataset", "backbone", "pooling"]


def test_rows_that_differ_in_options_or_code_only_are_told_apart(own, make_record):
    records = [own(title="A"), own("3", title="A"), own(digest="f" * 64, title="A"), own(title="B")]
    titles = distinct_titles(records)
    assert titles == [
        "A [pooling sharpness 2, pooling code 0123456789ab]",
        "A [pooling sharpness 3, pooling code 0123456789ab]",
        "A [pooling sharpness 2, pooling code ffffffffffff]",
        "B",
    ]
    rows = comparison_table(records).rows
    assert list(dict.fromkeys(row[0].text for row in rows)) == titles
    plain = make_record(title="A", parts={"pooling": "my_gem"})
    assert distinct_titles([own(title="A"), plain])[1].startswith("A [pooling sharpness default, loss margin default")


def test_seeds_are_told_apart_and_trainings_by_their_run(make_record):
    seeds = [make_record(title="A", run_id=seed, provenance={"seed": seed}) for seed in "01"]
    assert distinct_titles(seeds) == ["A [seed 0]", "A [seed 1]"]
    assert distinct_titles([make_record(run_id=one, title="A") for one in "xy"]) == ["A (run x)", "A (run y)"]
    other = make_record(title="A", run_id="2", dataset="roxford5k")
    assert distinct_titles([seeds[0], other]) == ["A", "A"]


def test_other_titles_stay_as_they_are(make_record):
    assert distinct_titles([make_record(title="A"), make_record(title="A")]) == ["A", "A"]
