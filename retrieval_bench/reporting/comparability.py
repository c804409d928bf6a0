"""Whether the mAP of two records may stand in one column, and if not, why."""

from collections import Counter
from collections.abc import Iterable, Sequence

from retrieval_bench.settings.card import COMPARABLE, ProtocolCard
from retrieval_bench.settings.protocol import Protocol

DIGEST_LETTERS = 12


def card_differences(card: ProtocolCard, reference: ProtocolCard) -> list[str]:
    """How `card` differs from `reference` in the fields of `COMPARABLE`, one phrase each; empty where it does not.

    The protocol is taken apart, so that a phrase names `protocol.scales` and not the whole protocol.
    """
    phrases = []
    for field in COMPARABLE:
        mine, theirs = getattr(card, field), getattr(reference, field)
        parts = [(field, mine, theirs)]
        if isinstance(mine, Protocol):
            parts = [(f"{field}.{name}", getattr(mine, name), getattr(theirs, name)) for name in Protocol.model_fields]
        phrases += [f"{name} {shown(a)} instead of {shown(b)}" for name, a, b in parts if a != b]
    return phrases


def reference_card(cards: Sequence[ProtocolCard]) -> ProtocolCard:
    """The card the others are held against: one of the largest group of comparable cards, of equals the earliest."""
    keys = [repr([getattr(card, field) for field in COMPARABLE]) for card in cards]
    most_frequent = Counter(keys).most_common(1)[0][0]
    return cards[keys.index(most_frequent)]


def shown(value: object) -> str:
    """A setting as it reads in a sentence: numbers short, lists without brackets, digests cut, None as 'none'."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(shown(item) for item in value)
    text = str(value)
    is_digest = len(text) >= 32 and not set(text.lower()) - set("0123456789abcdef")
    return text[:DIGEST_LETTERS] + "…" if is_digest else text
