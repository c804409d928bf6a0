"""The one exception that means "the input was wrong", and how errors are told."""

import difflib
from collections.abc import Iterable

SHOWN = 12
"""Names listed in a message; of more, the nearest ones."""


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
    close = difflib.get_close_matches(name, names, n=SHOWN, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = names if len(names) <= SHOWN else close or names[:SHOWN]
    shown = listed if len(listed) == len(names) else [*listed, f"... {len(names)} in all"]
    return f"unknown {noun} {name!r}{hint} (known: {', '.join(shown) or 'none'})"


def one_line(error: BaseException) -> str:
    """An error in one line; of those that are no `InputError` with what it is."""
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return first if isinstance(error, InputError) else f"{type(error).__name__}: {first}"
