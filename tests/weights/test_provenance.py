"""Where a converted file came from: stored, read again, and traced to the first file."""

import dataclasses
import json
from pathlib import Path

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.provenance import PROVENANCE, Provenance, read_provenance

FIRST = Provenance(
    source="model.pyth",
    sha256="ab",
    format="authors",
    date="2025-01-01T00:00:00+00:00",
    version="0.1.0",
    trained_on="GLDv2-clean",
    unused={"desc_cls.t": "not needed"},
    absent=("loss.weight",),
)
SECOND = dataclasses.replace(FIRST, source="model.safetensors", format="retrieval_bench", earlier=FIRST)


@pytest.mark.parametrize("provenance", [FIRST, SECOND], ids=["first", "second"])
def test_it_is_read_as_it_was_written(provenance: Provenance) -> None:
    assert read_provenance({PROVENANCE: provenance.to_json()}, Path("w")) == provenance


def test_the_original_is_the_first_source() -> None:
    assert SECOND.original.source == "model.pyth"
    assert FIRST.original is FIRST


def test_a_file_that_was_never_converted_has_none() -> None:
    assert read_provenance({"epoch": 3}, Path("w")) is None


@pytest.mark.parametrize("entry", ["{", "[]", "{}", 3, json.dumps({**dataclasses.asdict(FIRST), "unused": 1})])
def test_a_damaged_entry_is_an_input_error(entry: object) -> None:
    with pytest.raises(InputError, match=r"entry 'retrieval_bench\.provenance' of w\.safetensors is damaged"):
        read_provenance({PROVENANCE: entry}, Path("w.safetensors"))
