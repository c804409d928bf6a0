"""A protocol refuses what it cannot mean."""

import pytest
from pydantic import ValidationError

from retrieval_bench.settings.protocol import Protocol


@pytest.mark.parametrize(
    "wrong",
    [
        {"exif": "maybe"},
        {"crop_rounding": "up"},
        {"image_size": 0},
        {"resize": "nearest"},
        {"query_size": "half"},
        {"channel_order": "gbr"},
        {"mean": (0.5, 0.5)},
        {"scales": ()},
        {"scale_resize": "area"},
        {"merge": "median"},
        {"merge_exponent": 0},
        {"small_side": 0},
        {"small_target": 0},
        {"scale": (1.0,)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        Protocol(**wrong)


def test_it_does_not_change_afterwards():
    protocol = Protocol()
    with pytest.raises(ValidationError):
        protocol.image_size = 5
    assert protocol.image_size == 1024


def test_it_survives_json():
    protocol = Protocol(scales=(2**-0.5, 1.0), image_size=None, channel_order="bgr", merge="power-mean")
    assert Protocol.model_validate_json(protocol.model_dump_json()) == protocol
