"""How a pooling of a method starts from training images."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor

from retrieval_bench.methods.base import RetrievalModule
from retrieval_bench.methods.filling import filled_features
from retrieval_bench.pooling.base import Pooling
from retrieval_bench.settings.errors import InputError


def start_images(model: RetrievalModule, limit: int | None) -> int:
    """From how many training images the model's pooling wants to start.

    Args:
        model: before its training. A pooling of which a file gave tensors keeps these, and wants none.
        limit: the most; None: as many as it wants.
    """
    pooling = getattr(model, "pooling", None)
    loaded = any(name.startswith("pooling.") for name in model.loaded_weights)
    if not isinstance(pooling, Pooling) or loaded:
        return 0
    return pooling.start_images if limit is None else min(pooling.start_images, limit)


def pooling_inputs(model: RetrievalModule, batch: Mapping[str, Any], fill: int) -> tuple[Tensor, ...]:
    """What the pooling of a model is handed in training: the map and what else it needs, in float32.

    Whatever the method does to the map before, such as SENet's structural module, is done.

    Args:
        model: in evaluation mode.
        batch: ``images``, or stored ``features``.
        fill: see `filled_features`.

    Raises:
        InputError: the method makes its descriptor without its pooling.
    """
    taken: list[tuple[Tensor, ...]] = []
    handle = cast(Pooling, model.pooling).register_forward_pre_hook(lambda _, given: taken.append(given))
    try:
        with model.as_trained():
            images = batch.get("images")
            model.head(model.batch_features(batch) if images is None else filled_features(model, images, fill))
    finally:
        handle.remove()
    if not taken:
        raise InputError(
            f"{model.method} does not pool, so its pooling cannot start from images; set train.start_images=0"
        )
    return tuple(value.float() for value in taken[0])


@torch.no_grad()
def start_pooling(
    model: RetrievalModule,
    batches: Iterable[Mapping[str, Any]],
    generator: torch.Generator,
    *,
    fill: int = 1,
    arithmetic: Callable[[], AbstractContextManager[Any]] = nullcontext,
    advance: Callable[[int], object] = lambda _: None,
) -> int:
    """Let the pooling of a model start from training images; returns how many there were.

    Args:
        model: it is left in the mode it was in.
        batches: of ``images`` or stored ``features``, and ``labels``.
        generator: of the pooling's draws; what it draws from elsewhere does not move torch's own generators.
        fill: see `filled_features`.
        arithmetic: in which the network is to run, such as mixed precision; the pooling computes in float32.
        advance: told how many images each batch had.

    Raises:
        InputError: the pooling has values that are not finite thereafter.
    """
    count = 0

    def inputs() -> Iterator[tuple[Tensor, ...]]:
        nonlocal count
        for batch in batches:
            with arithmetic():
                found = pooling_inputs(model, batch, fill)
            count += len(batch["labels"])
            advance(len(batch["labels"]))
            yield found

    pooling, training = cast(Pooling, model.pooling), model.training
    model.eval()
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        pooling.start_from(inputs(), generator)
    model.train(training)
    broken = [name for name, value in pooling.state_dict().items() if not value.isfinite().all()]
    if broken:
        name = model.settings["pooling"]["name"]
        raise InputError(
            f"pooling {name!r} started from {count} training images with values that are not finite "
            f"({', '.join(broken)}); check the backbone's weights, or set train.start_images=0"
        )
    return count
