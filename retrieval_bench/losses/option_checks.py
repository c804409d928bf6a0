"""Checks of the numbers that losses are built with."""

import math

from retrieval_bench.settings.errors import InputError


def check_positive(**options: float) -> None:
    """Raise an `InputError` where an option is not a positive, finite number."""
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise InputError(f"loss.{name} must be positive and finite, got {value}")


def check_at_least(least: float, **options: float) -> None:
    """Raise an `InputError` where an option is below `least` or not finite."""
    for name, value in options.items():
        if not least <= value < math.inf:
            raise InputError(f"loss.{name} must be at least {least:g} and finite, got {value}")


def check_finite(**options: float) -> None:
    """Raise an `InputError` where an option is not finite."""
    for name, value in options.items():
        if not math.isfinite(value):
            raise InputError(f"loss.{name} must be finite, got {value}")


def check_angle(**options: float) -> None:
    """Raise an `InputError` where an option is not an angle from 0 to below pi; other codes give theirs in degrees."""
    for name, value in options.items():
        if not 0 <= value < math.pi:
            hint = f"; {value:g} degrees are {math.radians(value):.4g}" if math.pi <= value < 180 else ""
            raise InputError(f"loss.{name} is an angle in radians, at least 0 and below pi, got {value:g}{hint}")
