"""What a pooling owes that starts from training images."""

from collections.abc import Sequence

import torch

from retrieval_bench.contracts.contract import Part
from retrieval_bench.contracts.expectations import require, require_equal, require_finite
from retrieval_bench.contracts.tiny_pooling import SIZES, Inputs, build, inputs, sized
from retrieval_bench.pooling import Pooling


@torch.no_grad()
def starts_from_images(part: Part) -> str:
    """What `start_from` sets is finite, in the state_dict, and the same for one generator, whatever sizes maps have."""
    pooling = build(part)
    wanted = pooling.start_images
    require(
        isinstance(wanted, int) and wanted >= 0,
        f"start_images is {wanted!r}; it is how many training images start_from would see, 0 or more",
    )
    overridden = type(pooling).start_from is not Pooling.start_from
    if not wanted:
        require(
            not overridden or "start_images" in vars(pooling) or type(pooling).start_images != 0,
            "start_from is never called, since start_images is 0; set start_images to the images that it would see",
        )
        return "starts without images"
    require(overridden, f"start_images is {wanted}, but there is no start_from; write it, or set start_images to 0")
    every = [inputs(pooling, *size) for size in (*SIZES, SIZES[0])]
    zeros = [tuple(0 * value for value in values) for values in every]
    for batches in (every, every[:1], zeros):
        started = _started(part, batches)
        for name, value in started.state_dict().items():
            require_finite(value, f"{name} after a start from {', '.join(map(sized, batches))}")
        for values in every:
            require_finite(started(*values), f"the result for {sized(values)} after a start")
    started, again, loaded = _started(part, every), _started(part, every, draws=1), build(part, seed=2)
    for name, value in again.state_dict().items():
        require_equal(
            value, started.state_dict()[name], f"{name} after two starts from one seed (draw from the generator given)"
        )
    loaded.load_state_dict(started.state_dict())
    require_equal(
        loaded(*every[1]),
        started(*every[1]),
        "after and before a state_dict round trip of a started one (start_from sets parameters and buffers only)",
    )
    return f"starts from {wanted} training images"


def _started(part: Part, batches: Sequence[Inputs], draws: int = 0) -> Pooling:
    """A new pooling after its start; torch's own generator has made some draws before."""
    pooling = build(part)
    before = {name: id(parameter) for name, parameter in pooling.named_parameters()}
    torch.rand(draws)
    pooling.start_from(iter(batches), torch.Generator().manual_seed(0))
    replaced = [name for name, parameter in pooling.named_parameters() if before.get(name) != id(parameter)]
    require(
        not replaced and len(before) == len(list(pooling.parameters())),
        f"start_from put new parameters in place of {', '.join(replaced) or 'old ones'}, which the optimiser does not "
        "know; copy values into the old ones (.copy_)",
    )
    return pooling
