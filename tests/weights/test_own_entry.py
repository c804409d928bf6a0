"""What a checkpoint of ours says of itself, and what an older or a damaged one does not."""

import json
from pathlib import Path

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.weights.own_entry import OWN, own_entry

SAID = Normalisation((0.5, 0.4, 0.3), (0.3, 0.2, 0.1), "bgr", "method dolg")
OLDER = {"method": "dolg", "settings": {"dim": 8}, "trained_on": "postcards"}


def test_it_is_read_as_it_was_written():
    entry = json.dumps({**OLDER, "normalisation": SAID.plain()})
    assert own_entry({OWN: entry}, Path("w")) == {**OLDER, "normalisation": SAID}


def test_an_older_one_says_nothing_of_pixel_values():
    assert own_entry({OWN: json.dumps(OLDER)}, Path("w")) == {**OLDER, "normalisation": None}


def test_other_files_have_none():
    assert own_entry({"epoch": 3}, Path("w")) is None


@pytest.mark.parametrize(
    "entry",
    ["{", "[]", "{}", 3, *(json.dumps({**OLDER, "normalisation": bad}) for bad in (3, {}, {"mean": [0, 0, 0]}))],
    ids=str,
)
def test_a_damaged_one_is_an_input_error(entry):
    with pytest.raises(InputError, match=r"entry 'retrieval_bench' of w.* damaged"):
        own_entry({OWN: entry}, Path("w"))


def test_impossible_pixel_values_name_the_file():
    entry = json.dumps({**OLDER, "normalisation": {**SAID.plain(), "std": [0, 1, 1]}})
    with pytest.raises(InputError, match=r"of w,\.std=.* must be above 0"):
        own_entry({OWN: entry}, Path("w"))
