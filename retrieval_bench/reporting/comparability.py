"""Whether the mAP of two records may stand in one column, and if not, why."""

from collections import Counter
from collections.abc import Iterable, Sequence

from retrieval_bench.settings.card import COMPARABLE, ProtocolCard
from retrieval_bench.settings.protocol import Protocol

DIGEST_LETTERS = 12
PIXEL_FORM = ("protocol.channel_order", "protocol.mean", "protocol.std")
"""What comes with the weights, as the network itself does: it changes neither the task nor what is spent on it."""


def card_differences(card: ProtocolCard, reference: ProtocolCard) -> list[str]:
    """How `card` differs from `reference` in the fields of `COMPARABLE`, one phrase each; empty where it does not.

    The protocol is taken apart, so that a phrase names `protocol.scales` and not the whole protocol. What only says in
    which form the weights take pixels is left out.
    """
    theirs = _comparable(reference)
    return [
        f"{name} {shown(value)} instead of {shown(theirs[name])}"
        for name, value in _comparable(card).items()
        if value != theirs[name]
    ]


def reference_card(cards: Sequence[ProtocolCard]) -> ProtocolCard:
    """The card the others are held against: one of the largest group of comparable cards, of equals the earliest."""
    keys = [repr(_comparable(card)) for card in cards]
    most_frequent = Counter(keys).most_common(1)[0][0]
    return cards[keys.index(most_frequent)]


def _comparable(card: ProtocolCard) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name in COMPARABLE:
        value = getattr(card, name)
        if isinstance(value, Protocol):
            fields |= {f"{name}.{part}": getattr(value, part) for part in Protocol.model_fields}
        else:
            fields[name] = value
    return {name: value for name, value in fields.items() if name not in PIXEL_FORM}


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
