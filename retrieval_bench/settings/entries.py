"""What `compare` compares: methods by name, each with settings of its own where it has some."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from retrieval_bench.settings.errors import InputError

_OPEN, _CLOSE = "[{", "]}"


@dataclass(frozen=True)
class Entry:
    """One row of a comparison.

    Attributes:
        text: as it was written.
        method: its name.
        settings: ``key=value``, its own.
    """

    text: str
    method: str
    settings: tuple[str, ...] = ()


def parse_entries(text: str) -> list[Entry]:
    """The entries of ``METHOD[:key=value[,key=value]...] ...``.

    Spaces separate entries, commas the settings of one; within ``[]`` and ``{}`` they are part of a value.

    Raises:
        InputError: no entry, one without a method, a colon without settings, or brackets that do not match.
    """
    entries = [_entry(word) for word in _split(text, " \t\n")]
    if not entries:
        raise InputError('no methods to compare; write --methods "gem delg"')
    return entries


def row_titles(entries: Sequence[Entry], titles: Sequence[str]) -> list[str]:
    """Titles that tell the rows apart: those that several rows have go on with what the entry says.

    Args:
        entries: whose texts differ.
        titles: one for each.
    """
    named = _told_apart(titles, [", ".join([title, *one.settings]) for one, title in zip(entries, titles, strict=True)])
    return _told_apart(named, [f"{title} ({one.text})" for one, title in zip(entries, titles, strict=True)])


def _told_apart(titles: Sequence[str], fuller: Sequence[str]) -> list[str]:
    count = Counter(titles)
    return [more if count[title] > 1 else title for title, more in zip(titles, fuller, strict=True)]


def _entry(word: str) -> Entry:
    method, colon, rest = word.partition(":")
    settings = tuple(_split(rest, ","))
    if not method or "=" in method or (colon and not settings):
        raise InputError(f"{word!r} is no entry of --methods; write METHOD, or METHOD:key=value,key=value")
    return Entry(word, method, settings)


def _split(text: str, separators: str) -> list[str]:
    """The pieces between separators that stand in no bracket, without empty ones."""
    pieces, depth = [""], 0
    for sign in text:
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if depth < 0:
            break
        if depth == 0 and sign in separators:
            pieces.append("")
        else:
            pieces[-1] += sign
    if depth != 0:
        raise InputError(f"the brackets of {text!r} do not match; close each [ with ] and each {{ with }}")
    return [piece for piece in pieces if piece]
