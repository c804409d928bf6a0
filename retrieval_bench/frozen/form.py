"""How features lie in a file: one tensor per map, in the memory layout and number format that give them back."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.features import Features

TOKENS = "tokens"


class Stored(NamedTuple):
    """What a file cannot say of a tensor in it.

    Attributes:
        layout: "last": of a map, positions come before channels in memory; "plain": as the shape says.
        computed: the number format in which the backbone gave it.
    """

    layout: str
    computed: str


def packed(features: Features, dtype: str) -> dict[str, tuple[Tensor, Stored]]:
    """The tensors of features by name, as they are written: maps "-1", "-2" and so on, and "tokens".

    A pooling sums over positions in the order of memory, so a map keeps its layout: another one has other last bits.

    Args:
        features: of B images of one shape.
        dtype: "float32" keeps what was computed, a narrower format included; "float16" rounds to that.

    Raises:
        InputError: values beyond float16, which would become infinite.
    """
    named = {str(place - len(features.maps)): value for place, value in enumerate(features.maps)}
    if features.tokens is not None:
        named[TOKENS] = features.tokens
    return {name: _packed(value.detach().cpu(), dtype) for name, value in named.items()}


def _packed(value: Tensor, dtype: str) -> tuple[Tensor, Stored]:
    computed = str(value.dtype).removeprefix("torch.")
    last = value.ndim == 4 and value.shape[1] > 1 and value.stride(1) == 1
    plain = (value.permute(0, 2, 3, 1) if last else value).contiguous()
    if dtype == "float16" and plain.dtype != torch.float16:
        finite = bool(plain.isfinite().all())
        plain = plain.half()
        if finite and not bool(plain.isfinite().all()):
            raise InputError("feature maps hold values beyond float16 (65504); set train.feature_dtype=float32")
    return plain, Stored("last" if last else "plain", computed)


def unpacked(tensors: Mapping[str, Tensor], forms: Mapping[str, Sequence[str]], stages: int, tokens: bool) -> Features:
    """The inverse of `packed`, of the last `stages` maps, with or without the tokens.

    Args:
        tensors: by name; they are given away, so that whoever gets them may write to them.
        forms: of each, a `Stored`.
    """

    def one(name: str) -> Tensor:
        layout, computed = forms[name]
        value = tensors[name].to(getattr(torch, computed))
        return value.permute(0, 3, 1, 2) if layout == "last" else value

    maps = tuple(one(str(place)) for place in range(-stages, 0))
    return Features(maps, one(TOKENS) if tokens else None)
