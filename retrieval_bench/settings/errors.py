"""The one exception that means "the input was wrong", and how errors are told."""

import difflib
from collections.abc import Iterable

SHOWN = 12
"""Names listed in a message; of more, the nearest ones first."""

PART_OF_NAME = 3
"""Letters from which on a name may be meant by a part of it."""

ALIKE = 0.6
"""Share of letters in common, as `difflib` counts, from which on one name may be meant by another."""

OF_YOUR_OWN = "a part of your own needs --plugin FILE, or plugins: [FILE] in YAML"
"""Said where no part has a name."""


class InputError(ValueError):
    """A setting, path, image, weight file or array that the user has to mend.

    The message is one line: what was wrong, with the offending value, then what to do about it. The command line
    prints it without a traceback and exits with code 2.
    """


def nearest(name: str, known: Iterable[str], *, noun: str) -> str:
    """Say that `name` is no known `noun`, name the nearest one, and list what there is.

    Returns the sentence, for an `InputError`.
    """
    names = sorted(known)
    close = alike(name, names)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = names if len(names) <= SHOWN else [*close, *(one for one in names if one not in close)][:SHOWN]
    shown = listed if len(listed) == len(names) else [*listed, f"... {len(names)} in all"]
    return f"unknown {noun} {name!r}{hint} (known: {', '.join(shown) or 'none'})"


def one_line(error: BaseException) -> str:
    """An error in one line; of those that are no `InputError` with what it is."""
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return first if isinstance(error, InputError) else f"{type(error).__name__}: {first}"


def alike(name: str, known: Iterable[str]) -> list[str]:
    """The known names that may be meant by `name`, nearest first: those that contain it, then those spelt alike.

    Upper and lower case are the same. Of ``train.size`` only ``size`` counts, where all known names begin ``train.``.
    """
    names = sorted(known)
    section = name[: name.rfind(".") + 1]
    start = len(section) if all(one.startswith(section) for one in names) else 0
    wanted = name[start:].lower()

    def likeness(one: str) -> tuple[bool, float]:
        text = one[start:].lower()
        within = text == wanted or (len(wanted) >= PART_OF_NAME and wanted in text)
        return within, difflib.SequenceMatcher(None, text, wanted).ratio()

    found = [(likeness(one), one) for one in names]
    near = [(how, one) for how, one in found if how[0] or how[1] >= ALIKE]
    return [one for _, one in sorted(near, key=lambda pair: pair[0], reverse=True)][:SHOWN]
