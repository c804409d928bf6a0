"""How much disk stored features need, told and checked before they are computed."""

import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from retrieval_bench.backbones.base import Backbone
from retrieval_bench.data.resizing import Size
from retrieval_bench.frozen.key import Asked, asked
from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.settings.errors import InputError

WIDTHS = {"float32": 4, "float16": 2}
TOKENS = 5
"""A class token, and registers where there are some."""


def estimated_bytes(
    model: RetrievalModule, sizes: Iterable[Size], scales: Sequence[float], dtype: str, wanted: Asked | None = None
) -> int:
    """Of the features of images of some sizes, from the strides and channels of the backbone.

    Args:
        model: with its backbone.
        sizes: width and height of every image at scale 1.
        scales: of the pyramid.
        dtype: of the stored values.
        wanted: what is stored; None: what the model reads.
    """
    backbone = cast(Backbone, model.backbone)
    stages, tokens = wanted or asked(model)
    maps = list(zip(backbone.channels, backbone.strides, strict=True))[-stages:]
    beside = TOKENS * (backbone.token_channels or 0) if tokens else 0
    values = 0
    for width, height in sizes:
        for scale in scales:
            across = [(channels, width * scale / stride, height * scale / stride) for channels, stride in maps]
            values += beside + sum(channels * math.ceil(w) * math.ceil(h) for channels, w, h in across)
    return values * WIDTHS[dtype]


def require_room(folder: Path, needed: int) -> int:
    """Refuse what the disk does not hold; returns the bytes that are free.

    Raises:
        InputError: it is too full.
    """
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"the feature maps need about {readable(needed)} in {folder}, where {readable(free)} are free; make room, "
            "put runs= on another disk, set train.feature_dtype=float16, fewer extract.scales or a smaller "
            "extract.image_size, or train.stored_features=false"
        )
    return free


def readable(count: float) -> str:
    """Bytes in words, such as ``3.2 GiB``."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
