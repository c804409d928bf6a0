"""Checks of the numbers that pooling heads are built with."""

import math

from retrieval_bench.settings.errors import InputError


def check_counts(**options: int) -> None:
    """Raise an `InputError` where an option is not at least 1."""
    for name, value in options.items():
        if value < 1:
            raise InputError(f"pooling.{name} must be at least 1, got {value}")


def check_positive(**options: float) -> None:
    """Raise an `InputError` where an option is not a positive, finite number."""
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise InputError(f"pooling.{name} must be positive and finite, got {value}")


def check_exponent(p: float) -> None:
    """Raise an `InputError` where the exponent of a generalised mean is not a positive, finite number."""
    if not 0 < p < math.inf:
        known = "; use pooling=mac for the maximum" if p == math.inf else ""
        raise InputError(f"pooling.p, the exponent of a generalised mean, must be positive and finite, got {p}{known}")


def check_rates(**options: float) -> None:
    """Raise an `InputError` where an option, a share of what is dropped, is not in [0, 1)."""
    for name, value in options.items():
        if not 0 <= value < 1:
            raise InputError(f"pooling.{name} must be at least 0 and below 1, got {value}")


def check_heads(channels: int, heads: int) -> None:
    """Raise an `InputError` where attention heads do not divide the channels."""
    check_counts(channels=channels, heads=heads)
    if channels % heads:
        raise InputError(f"pooling.heads={heads} must divide pooling.channels={channels}; change one of them")
