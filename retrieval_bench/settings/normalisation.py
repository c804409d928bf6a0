"""What weights expect of pixel values: mean, deviation and channel order, and who says so."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from retrieval_bench.settings.errors import InputError, nearest
from retrieval_bench.settings.protocol import Protocol

ORDERS = ("rgb", "bgr")
VALUES = ("mean", "std", "channel_order")

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """The pixel values that weights were trained on.

    Attributes:
        mean: of each channel, in RGB order, for values in [0, 1].
        std: likewise; above 0.
        channel_order: in which the network takes the channels.
        source: who says so, for protocol cards.
    """

    mean: Three
    std: Three
    channel_order: Literal["rgb", "bgr"]
    source: str

    @classmethod
    def of(cls, protocol: Protocol, source: str) -> Self:
        """The part of a protocol that is about pixel values."""
        return cls(protocol.mean, protocol.std, protocol.channel_order, source)

    @classmethod
    def read(cls, given: Any, where: str, source: str) -> Self:
        """From plain values: a mapping with ``mean``, ``std`` and ``channel_order``.

        Args:
            given: the mapping.
            where: it stands, such as ``"backbone.normalisation"``, for errors.
            source: of the result.

        Raises:
            InputError: no mapping, an unknown or missing key, or a value that cannot be.
        """
        if not isinstance(given, Mapping):
            raise InputError(f"{where} must be a mapping with {', '.join(VALUES)}, got {given!r}")
        for key in given:
            if key not in VALUES:
                raise InputError(nearest(str(key), VALUES, noun=f"key of {where}"))
        if missing := [key for key in VALUES if given.get(key) is None]:
            raise InputError(f"{where} lacks {', '.join(missing)}; give all of {', '.join(VALUES)}")
        mean, std = (_three(given[key], f"{where}.{key}") for key in ("mean", "std"))
        if not all(0 <= value <= 1 for value in mean):
            raise InputError(
                f"{where}.mean={list(mean)} does not lie in 0 .. 1; it is for pixels in [0, 1]: divide mean and std of "
                "grey levels by 255"
            )
        if not all(value > 0 for value in std):
            raise InputError(f"{where}.std={list(std)} must be above 0")
        if given["channel_order"] not in ORDERS:
            raise InputError(nearest(str(given["channel_order"]), ORDERS, noun=f"value of {where}.channel_order"))
        return cls(mean, std, given["channel_order"], source)

    def within(self, protocol: Protocol) -> Protocol:
        """A protocol with these pixel values in the place of its own."""
        return protocol.model_copy(update={key: getattr(self, key) for key in VALUES})

    def __str__(self) -> str:
        """In words, for cards."""
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"{self.channel_order.upper()}, mean {mean}, deviation {std} ({self.source})"

    def plain(self) -> dict[str, Any]:
        """As it is stored in JSON."""
        return asdict(self)


def _three(given: Any, where: str) -> Three:
    numbers = list(given) if isinstance(given, list | tuple) else []
    kinds = all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers)
    if len(numbers) != 3 or not kinds or not all(math.isfinite(value) for value in numbers):
        raise InputError(f"{where} must be three numbers, for red, green and blue, got {given!r}")
    red, green, blue = (float(value) for value in numbers)
    return red, green, blue
