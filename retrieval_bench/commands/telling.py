"""What every command says of plug-ins that failed."""

from collections.abc import Sequence

from rich.console import Console


def tell_failures(failures: Sequence[str]) -> None:
    """Print a warning for each installed plug-in that could not be imported, on stderr."""
    for failure in failures:
        Console(stderr=True).print(f"warning: {failure}", style="yellow", highlight=False, markup=False, soft_wrap=True)
