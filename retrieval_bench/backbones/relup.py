"""ReLUP: rectifiers of a trained network that pass `alpha` where they would pass less.

Shao et al., "Global Features are All You Need for Image Retrieval and Reranking" (SuperGlobal), ICCV 2023, section 3.
The published code raises the floor at the output of every residual block but those of the last stage. Through a class
that it passes for a flag, the inner rectifiers of the first stage have the raised floor too, even where ReLUP is off.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.settings.errors import InputError, nearest

Places = Literal["published", "outputs", "inner"]

STAGES = (("layer1", "layer2", "layer3"), ("s1", "s2", "s3"))
"""All stages but the last, as timm's ResNets and RegNets name them."""

OUTPUT = ("act3", "act2")
"""The rectifier after the residual sum, of bottlenecks and of basic blocks."""

INNER = ("act1", "act2", "conv1.bn.act", "conv2.bn.act")
"""Rectifiers between the convolutions of a block; those of channel attention are left alone."""


class ReLUP(nn.Module):
    """``max(x, alpha)``; in training mode, or inside `plain_relu`, the rectifier that it took the place of.

    Args:
        alpha: the least value that it passes.
        inplace: whether it overwrites its input.
    """

    def __init__(self, alpha: float = 0.014, *, inplace: bool = False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace
        self.raised = True

    def forward(self, values: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if self.training or not self.raised:
            return F.relu(values, inplace=self.inplace)
        return F.threshold(values, self.alpha, self.alpha, inplace=self.inplace)

    def extra_repr(self) -> str:
        """Its floor."""
        return f"alpha={self.alpha}"


def apply_relup(backbone: nn.Module, alpha: float = 0.014, places: Places = "published") -> None:
    """Replace rectifiers of a backbone by `ReLUP`, in place; its parameters and state dict stay as they are.

    It belongs to trained weights: in training mode the backbone computes what it did before.

    Args:
        backbone: one with ReLUs and residual blocks as in timm's ResNets (18 to 152, ResNeXt, SE ...) and RegNets.
        alpha: the new floor, at least 0.
        places: ``"outputs"`` of the blocks of all stages but the last, the ``"inner"`` rectifiers of the first stage,
            or both, which is what the published code does.

    Raises:
        InputError: an impossible option, or a backbone without such blocks, which is left as it was.
    """
    if not (math.isfinite(alpha) and alpha >= 0):
        raise InputError(f"alpha, the floor of ReLUP, must be a number from 0 up, got {alpha}")
    if places not in get_args(Places):
        raise InputError(nearest(str(places), get_args(Places), noun="places of ReLUP"))
    stages = _stages(backbone)
    chosen: list[tuple[nn.Module, str]] = []
    for number, stage in enumerate(stages):
        for block in stage.children():
            output = next((name for name in OUTPUT if _rectifier(block, name) is not None), None)
            if output is None:
                raise _unfit()
            if places != "inner":
                chosen.append((block, output))
            if places != "outputs" and number == 0:
                inner = [(block, name) for name in INNER if name != output and _rectifier(block, name) is not None]
                if not inner:
                    raise _unfit()
                chosen += inner
    for block, name in chosen:
        old = block.get_submodule(name)
        parent, _, last = name.rpartition(".")
        new = ReLUP(alpha, inplace=bool(getattr(old, "inplace", False))).train(old.training)
        setattr(block.get_submodule(parent), last, new)


@contextmanager
def plain_relu(network: nn.Module) -> Iterator[None]:
    """Let every `ReLUP` in `network` be an ordinary ReLU meanwhile, whatever its mode."""
    floors = [module for module in network.modules() if isinstance(module, ReLUP) and module.raised]
    for floor in floors:
        floor.raised = False
    try:
        yield
    finally:
        for floor in floors:
            floor.raised = True


def _stages(backbone: nn.Module) -> list[nn.Module]:
    for module in backbone.modules():
        children = dict(module.named_children())
        for names in STAGES:
            if all(name in children for name in names):
                return [children[name] for name in names]
    raise _unfit()


def _rectifier(block: nn.Module, name: str) -> nn.Module | None:
    """The ReLU at a dotted name below `block`, or None."""
    try:
        found = block.get_submodule(name)
    except AttributeError:
        return None
    return found if isinstance(found, nn.ReLU | ReLUP) else None


def _unfit() -> InputError:
    return InputError(
        "ReLUP needs residual blocks that end in a ReLU, which this backbone has not; use a ResNet or "
        "RegNet of timm, or leave ReLUP off"
    )
