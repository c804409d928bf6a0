"""What every backbone is, and how our own ones are found by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.faults import fault_of
from retrieval_bench.settings.normalisation import Normalisation
from retrieval_bench.settings.registry import Registry
from retrieval_bench.values.features import Features

BACKBONES = Registry("backbone", "retrieval_bench.backbones")
"""Backbones of our own and of plug-ins; timm's are reached through `create_backbone` without being entered here."""


OPTIONS_OF_ALL = ("pretrained", "weights", "relup", "final_norm", "normalisation")
"""Options that `create_backbone` has for timm's backbones, beside those of each model."""


class MissingFeaturesError(InputError):
    """A backbone has no stage or tokens that were asked of it."""


class Backbone(nn.Module, ABC):
    """Images become feature maps of chosen stages.

    The constructor takes ``out_stages``, a tuple of stage indices counted from the end (-1 is the last), and options.

    Attributes:
        channels: C of each requested stage.
        strides: pixels of the image per position of each requested stage.
        token_channels: C of the tokens that `features` gives; None where it gives none.
        portable: name and options under which a checkpoint builds it again, where the name it was asked for by needs
            the hub; else empty.
        normalisation: of the images that its weights expect; None where it starts at random, or from a file that does
            not tell, and takes the images of any method.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    token_channels: int | None = None
    portable: Mapping[str, Any] = MappingProxyType({})
    normalisation: Normalisation | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)`` normalised images -> one ``(B, C_s, H_s, W_s)`` per requested stage, in that order."""

    def features(self, images: Tensor) -> Features:
        """As `forward`, with the tokens where `token_channels` says that there are some."""
        return Features(_as_told(self, self(images)))


def _as_told(backbone: Backbone, maps: Any) -> tuple[Tensor, ...]:
    """What `Backbone.forward` gave.

    Raises:
        InputError: it is no map of the told channels per stage; said here, since all that stands on it would be blamed.
    """
    told = ", ".join(f"(B, {channels}, H, W)" for channels in backbone.channels)
    if not isinstance(maps, list | tuple):
        given = f"a {type(maps).__name__}"
    elif [(one.ndim, one.shape[1]) for one in maps if one.ndim > 1] != [(4, width) for width in backbone.channels]:
        given = ", ".join(str(tuple(one.shape)) for one in maps) or "no map"
    else:
        return tuple(maps)
    raise InputError(fault_of(type(backbone), f"gave {given}, not a list of {told} as its channels say"))


def register_backbone(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a `Backbone` class under `name`; it comes before a timm model of the same name."""
    return BACKBONES.register(name)
