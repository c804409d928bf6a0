"""Pixel values that weights expect: checked where they are given, laid over a protocol, stored and read again."""

import json
from typing import Any

import pytest

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.settings.protocol import Protocol

GIVEN: dict[str, Any] = {"mean": [0.5, 0.4, 0.3], "std": [1, 0.2, 0.1], "channel_order": "bgr"}


def test_plain_values_are_read():
    assert Normalisation.read(GIVEN, "here", "me") == Normalisation((0.5, 0.4, 0.3), (1.0, 0.2, 0.1), "bgr", "me")


def test_what_is_stored_is_read_again():
    stored = json.loads(json.dumps(Normalisation.read(GIVEN, "here", "me").plain()))
    source = stored.pop("source")
    assert Normalisation.read(stored, "there", source) == Normalisation.read(GIVEN, "here", "me")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": [0.5, 0.5]}, r"here\.mean must be three numbers, for red, green and blue, got \[0\.5, 0\.5\]"),
        ({"mean": 0.5}, r"here\.mean must be three numbers"),
        ({"mean": "abc"}, r"here\.mean must be three numbers"),
        ({"std": [0.2, True, 0.2]}, r"here\.std must be three numbers"),
        ({"std": [0.2, float("nan"), 0.2]}, r"here\.std must be three numbers"),
        ({"std": [0.2, 0, 0.2]}, r"here\.std=\[0\.2, 0\.0, 0\.2\] must be above 0"),
        ({"mean": [123.675, 116.28, 103.53]}, r"does not lie in 0 \.\. 1; .*divide mean and std of grey levels by 255"),
        ({"mean": [-0.5, 0, 0]}, r"does not lie in 0 \.\. 1"),
        ({"channel_order": "brg"}, r"unknown value of here\.channel_order 'brg'; did you mean '(bgr|rgb)'"),
        ({"channel_order": None}, r"here lacks channel_order; give all of mean, std, channel_order"),
        ({"maen": [0, 0, 0]}, r"unknown key of here 'maen'; did you mean 'mean'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(change, said):
    with pytest.raises(InputError, match=said):
        Normalisation.read({**GIVEN, **change}, "here", "me")


@pytest.mark.parametrize("given", [[0.5] * 3, 0.5, None], ids=str)
def test_it_is_a_mapping(given):
    with pytest.raises(InputError, match="here must be a mapping with mean, std, channel_order, got"):
        Normalisation.read(given, "here", "me")


def test_it_reads_as_a_sentence():
    said = str(Normalisation.read(GIVEN, "here", "me"))
    assert said == "BGR, mean 0.5, 0.4, 0.3, deviation 1, 0.2, 0.1 (me)"


def test_the_rest_of_a_protocol_stays():
    protocol = Protocol(image_size=96, scales=(0.5, 1.0), exif="apply")
    said = Normalisation.read(GIVEN, "here", "me")
    laid = said.within(protocol)
    assert Normalisation.of(laid, "me") == said
    assert Normalisation.of(protocol, "me").within(laid) == protocol
    assert (laid.image_size, laid.scales, laid.exif) == (96, (0.5, 1.0), "apply")
