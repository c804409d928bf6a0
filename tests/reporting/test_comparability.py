import pytest

from retrieval_bench.reporting.comparability import card_differences, reference_card, shown
from retrieval_bench.settings.card import COMPARABLE
from retrieval_bench.settings.protocol import Protocol

OTHER = {
    "dataset": "roxford5k",
    "images": "blurred faces (2022)",
    "ground_truth_digest": "9" * 64,
    "protocol": Protocol(image_size=512, scales=(0.7071, 1.0, 1.4142)),
    "whitening": "learnt on SfM-120k",
    "tie_rule": "equal scores: larger database row first",
    "truncated_at": 100,
}


def test_equal_cards_do_not_differ(make_card):
    assert card_differences(make_card(), make_card()) == []


@pytest.mark.parametrize("field", COMPARABLE)
def test_every_comparable_field_is_named(make_card, field):
    phrases = card_differences(make_card(**{field: OTHER[field]}), make_card())
    assert len(phrases) == 1
    assert phrases[0].startswith(field)
    assert " instead of " in phrases[0]


def test_the_protocol_is_taken_apart(make_card):
    card = make_card(protocol=Protocol(image_size=256, scales=(1.0,), exif="apply"))
    assert card_differences(card, make_card()) == [
        "protocol.exif apply instead of ignore",
        "protocol.scales 1 instead of 0.7071, 1, 1.414",
    ]


@pytest.mark.parametrize("field", ["queries", "reranked", "train_set", "weights_digest", "normalisation"])
def test_what_may_differ_between_comparable_runs_is_not_named(make_card, field):
    change = {
        "queries": 3,
        "reranked": 7,
        "train_set": "GLDv2",
        "weights_digest": "0" * 64,
        "normalisation": "weights of CLIP",
    }[field]
    assert card_differences(make_card(**{field: change}), make_card()) == []


def test_pixel_values_come_with_the_weights_and_make_no_other_task(make_card):
    clip = Protocol(mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28), channel_order="bgr")
    assert card_differences(make_card(protocol=clip), make_card(protocol=Protocol())) == []


def test_the_reference_is_the_most_frequent_card_then_the_earliest(make_card):
    odd, usual = make_card(truncated_at=5), make_card()
    assert reference_card([odd, usual, usual]) is usual
    assert reference_card([odd, usual]) is odd


def test_shown_cuts_digests_only():
    assert shown("ab" * 32) == "abababababab…"
    assert shown("a long name of a dataset that is no digest") == "a long name of a dataset that is no digest"
    assert (shown(None), shown(True), shown((1.0, 0.5))) == ("none", "yes", "1, 0.5")
