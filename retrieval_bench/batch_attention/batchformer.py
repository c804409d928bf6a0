"""BatchFormer: a transformer encoder whose sequence is the batch.

Hou, Yu and Tao, "BatchFormer: Learning to Explore Sample Relationships for Robust Representation Learning", CVPR 2022;
sizes as in zhihou7/BatchFormer.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from retrieval_bench.batch_attention.base import BatchAttention, register_batch_attention
from retrieval_bench.settings.errors import InputError


@register_batch_attention("batchformer")
class BatchFormer(BatchAttention):
    """BatchFormer: descriptors as they are and after attention over the batch, under one loss (Hou et al., CVPR 2022).

    Both streams are stacked and labels are given twice, so that a classifier is shared and descriptors stay fit for use
    without the second stream. Each process of a distributed run attends to its own batch, as published. Statistics of a
    loss over the batch, such as MadaCos' median, count both streams.

    A metric loss has no classifier that both could share: its rows are compared across the streams instead, and an
    image with its own attended copy is no pair. That is an adaptation: only classifiers and contrastive learning were
    published, no labelled metric loss, and nothing on a retrieval benchmark. The authors' contrastive learning
    (MoCo-v3) by default compares across the streams as well, and always with another view of the image.

    Dropout is drawn from a seed and a count of calls that are kept with the weights, so that an interrupted training
    goes on as it would have.

    Args:
        dim: D of the descriptors.
        heads: of the attention; 4 as published.
        layers: of the encoder, one as published.
        dropout: in attention and feed-forward; the published 0.5 is unusually high.
        hidden: width of the feed-forward; None: D, as published.

    Attributes:
        draws: ``(2,)``, the seed of dropout, and how often it was drawn.

    Raises:
        InputError: heads that do not divide D, no layer, a width below 1 or a dropout outside [0, 1).
    """

    order_matters = False
    draws: Tensor

    def __init__(self, dim: int, heads: int = 4, layers: int = 1, dropout: float = 0.5, hidden: int | None = None):
        super().__init__()
        if heads < 1 or dim % heads:
            fitting = [count for count in range(1, min(dim, 16) + 1) if dim % count == 0]
            raise InputError(
                f"loss.batch_attention.heads={heads} does not divide the {dim} dimensions of the descriptor; take one "
                f"of {', '.join(map(str, fitting))}"
            )
        for key, value in (("layers", layers), ("hidden", dim if hidden is None else hidden)):
            if value < 1:
                raise InputError(f"loss.batch_attention.{key} must be at least 1, got {value}")
        if not 0 <= dropout < 1:
            raise InputError(f"loss.batch_attention.dropout must lie in 0 .. 1, 1 excluded, got {dropout}")
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, dim if hidden is None else hidden, dropout) for _ in range(layers)
        )
        self.register_buffer("draws", torch.stack([torch.randint(1 << 31, ()), torch.tensor(0)]))

    def forward(self, descriptors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, D)`` and ``(B,)`` -> ``(2 B, D)``, descriptors first, then the attended ones, and ``(2 B,)``."""
        return torch.cat([descriptors, self.attended(descriptors)]), torch.cat([labels, labels])

    def attended(self, descriptors: Tensor) -> Tensor:
        """``(B, D)`` -> ``(B, D)`` after attention over the batch; every image attends to all and itself."""
        # The layers take (sequence, batch, feature): the batch is the sequence.
        mixed = descriptors[:, None].to(next(self.layers.parameters()).dtype)
        with seeded(self.draws, descriptors.device):
            for layer in self.layers:
                mixed = layer(mixed)
        if self.training:
            self.draws[1] += 1
        return mixed[:, 0].to(descriptors.dtype)


@contextmanager
def seeded(draws: Tensor, device: torch.device) -> Iterator[None]:
    """Torch's own generator of a device, which the layers draw from, at a seed of `draws`; afterwards as it was.

    Args:
        draws: ``(2,)``, seed and count.
        device: on which is drawn.
    """
    seed, count = draws.tolist()
    on_cpu = device.type == "cpu"
    with torch.random.fork_rng([] if on_cpu else [device], device_type="cuda" if on_cpu else device.type):
        if on_cpu:
            torch.default_generator.manual_seed(seed + (count << 31))
        else:
            # Of this device alone; `torch.manual_seed` would set all there are.
            with torch.get_device_module(device).device(device):
                torch.get_device_module(device).manual_seed(seed + (count << 31))
        yield
