"""Entries of a comparison: what separates them and their settings, and titles that differ."""

import pytest

from retrieval_bench.settings.entries import Entry, parse_entries, row_titles
from retrieval_bench.settings.errors import InputError


def test_spaces_separate_entries_and_commas_settings():
    assert parse_entries("  gem gem:pooling=my_gem,pooling.p=4\n delg ") == [
        Entry("gem", "gem"),
        Entry("gem:pooling=my_gem,pooling.p=4", "gem", ("pooling=my_gem", "pooling.p=4")),
        Entry("delg", "delg"),
    ]


@pytest.mark.parametrize("value", ["[1, 0.5]", "{name: mac, p: [1,2]}", "[[1,2],[3]]", "hf_hub:timm/resnet18"])
def test_within_brackets_nothing_separates(value):
    (entry,) = parse_entries(f"gem:key={value},seed=1")
    assert entry.settings == (f"key={value}", "seed=1")


@pytest.mark.parametrize("text", ["gem:", "gem:,", ":seed=1", "seed=1", "gem delg:"])
def test_what_is_no_entry(text):
    with pytest.raises(InputError, match="is no entry of --methods; write METHOD"):
        parse_entries(text)


@pytest.mark.parametrize("text", ["gem:a=[1", "gem:a=1]", "gem:a={b", "gem:a=}{"])
def test_brackets_match(text):
    with pytest.raises(InputError, match=r"brackets of .* do not match"):
        parse_entries(text)


@pytest.mark.parametrize("text", ["", " \n"])
def test_there_must_be_one(text):
    with pytest.raises(InputError, match="no methods to compare"):
        parse_entries(text)


def test_titles_stay_where_they_differ():
    assert row_titles(parse_entries("gem delg:seed=1"), ["GeM", "DELG"]) == ["GeM", "DELG"]


def test_equal_titles_go_on_with_own_settings():
    entries = parse_entries("gem gem:pooling.p=4,seed=2 delg")
    assert row_titles(entries, ["GeM", "GeM", "DELG"]) == ["GeM", "GeM, pooling.p=4, seed=2", "DELG"]


def test_titles_that_own_settings_cannot_tell_apart_take_the_entry():
    assert row_titles(parse_entries("gem delg"), ["Mine", "Mine"]) == ["Mine (gem)", "Mine (delg)"]
    entries = parse_entries("gem:seed=1 delg:seed=1")
    assert row_titles(entries, ["Mine", "Mine"]) == ["Mine (gem:seed=1)", "Mine (delg:seed=1)"]
