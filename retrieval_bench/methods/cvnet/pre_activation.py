"""Stage-3 maps before the last ReLU of their stage, which is what CVNet's re-ranker correlates."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from retrieval_bench.backbones import Backbone

FINAL_ACTIVATIONS = ("act3", "relu", "act2")
"""What timm's residual blocks call the activation behind their sum: bottlenecks, Res2Net's, basic blocks."""


@contextmanager
def before_last_relu(backbone: Backbone) -> Iterator[Callable[[Sequence[Tensor]], Tensor]]:
    """Within the context, keep what enters the last ReLU of the first stage that `backbone` returns.

        with before_last_relu(backbone) as taken:
            maps = backbone(images)
        feature_map = taken(maps)

    Args:
        backbone: a ResNet of timm, or any other.

    Yields:
        a function from what `backbone` returned to ``(B, C, h, w)``, the first stage's map before its last ReLU. For an
        architecture whose stage does not end with one (transformers, ConvNeXt, pre-activation ResNets) it is that map
        itself.

    Nothing stays attached to the backbone after the context, so it may be copied, saved and wrapped as ever.
    Source: sungonce/CVNet ``model/base/feature.py``.
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # The activation works in place, on the tensor that it is given.
        kept[:] = [inputs[0].clone()]

    activation = last_activation(backbone)
    handle = None if activation is None else activation.register_forward_pre_hook(keep)
    try:
        yield lambda maps: kept[0] if kept else maps[0]
    finally:
        if handle is not None:
            handle.remove()


def last_activation(backbone: Backbone) -> nn.ReLU | None:
    """The ReLU with which the first requested stage of a timm backbone ends, or None where it ends otherwise."""
    body = getattr(backbone, "body", None)
    described = getattr(body, "feature_info", None)
    if not isinstance(body, nn.Module) or described is None:
        return None
    stages = dict(body.named_children())
    stage = stages.get(str(described.module_name()[0]).replace(".", "_"))
    blocks = [] if stage is None else list(stage.children())
    if not blocks:
        return None
    found = (getattr(blocks[-1], name, None) for name in FINAL_ACTIVATIONS)
    return next((activation for activation in found if isinstance(activation, nn.ReLU)), None)
