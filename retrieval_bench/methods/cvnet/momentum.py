"""CVNet's momentum branch: a slow copy of the network whose descriptors, kept in a queue, the network is compared with.

Lee et al., "Correlation Verification for Image Retrieval", CVPR 2022, sec. 3.1, after MoCo (He et al., CVPR 2020). The
authors keep their training code to themselves; what the options below call unverified is ours to choose.
"""

import copy
from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.losses.gathering import gather_rows
from retrieval_bench.methods.cvnet.contrast import curricular_contrast, mean_over
from retrieval_bench.methods.cvnet.key_queue import Candidates, KeyQueue
from retrieval_bench.methods.merging import unit
from retrieval_bench.values.features import Features

T_MOMENTUM = 0.01
"""Share of the new batch in the running mean of the cosine to positives, as in CurricularFace."""


class MomentumNetwork(nn.Module):
    """Copies of the parts of a network; they take no gradient and follow the originals.

    Args:
        parts: name -> module; a copy of each is found under its name.
        batchnorm: ``"batch"``: statistics of the batch, as in MoCo; ``"running"``: the originals' running statistics.
    """

    def __init__(self, parts: Mapping[str, nn.Module], batchnorm: Literal["batch", "running"] = "batch"):
        super().__init__()
        self.batchnorm = batchnorm
        for name, part in parts.items():
            self.add_module(name, copy.deepcopy(part))
        self.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "MomentumNetwork":
        """As in torch, but with running statistics the copies stay in eval mode."""
        return super().train(mode and self.batchnorm == "batch")

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` normalised -> ``(B, D)``, not normalised, by copied backbone, pooling and projection."""
        parts = cast(Any, self)
        features: Features = parts.backbone.features(images)
        embedded: Tensor = parts.projection(parts.pooling(features.maps[-1], *parts.pooling.needed(features)))
        return embedded

    @torch.no_grad()
    def copy_from(self, network: nn.Module) -> None:
        """Take over all parameters and buffers of the parts of `network`."""
        for name, part in self.named_children():
            part.load_state_dict(network.get_submodule(name).state_dict())

    @torch.no_grad()
    def follow(self, network: nn.Module, momentum: float) -> None:
        """Move every parameter to ``momentum * own + (1 - momentum) * original``."""
        for name, part in self.named_children():
            original = network.get_submodule(name)
            for slow, fast in zip(part.parameters(), original.parameters(), strict=True):
                slow.lerp_(fast, 1 - momentum)
            if self.batchnorm == "running":
                for own, other in zip(part.buffers(), original.buffers(), strict=True):
                    own.copy_(other)


class MomentumContrast(nn.Module):
    """The momentum network, its queue, and the loss against it.

    Until the first keys are stored, the momentum network equals the network: it is copied anew at each call, so that
    weights that were loaded meanwhile are in it.

    Args:
        parts: what the momentum network copies, by name.
        dim: D of the descriptors.
        momentum: share of the old weights in each update.
        queue_size: K.
        margin: of the cosine to positives, radians.
        temperature: of the softmax.
        batchnorm: of the momentum network, see `MomentumNetwork`.

    Attributes:
        t: ``(1,)``, the running mean of the cosine to positives.
    """

    t: Tensor

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        dim: int,
        *,
        momentum: float,
        queue_size: int,
        margin: float,
        temperature: float,
        batchnorm: Literal["batch", "running"],
    ):
        super().__init__()
        self.network = MomentumNetwork(parts, batchnorm)
        self.queue = KeyQueue(queue_size, dim)
        self.momentum = momentum
        self.margin = margin
        self.temperature = temperature
        self.register_buffer("t", torch.zeros(1))

    def restart(self) -> None:
        """Forget the keys and the running mean; the momentum network starts again from the network."""
        self.queue.clear()
        self.t.zero_()

    def catch_up(self, network: nn.Module) -> None:
        """Copy the network while there are no keys yet."""
        if not len(self.queue):
            self.network.copy_from(network)

    def follow(self, network: nn.Module) -> None:
        """One momentum update; call it once after each step of the optimiser."""
        self.network.follow(network, self.momentum)

    def forward(self, embedded: Tensor, keys: Tensor, labels: Tensor) -> Tensor:
        """The contrastive loss, a scalar.

        In training the keys of all processes enter the queue first and the running mean moves; in evaluation the keys
        of this batch are compared with, but nothing is stored. A key of the query's own image counts neither as a
        positive nor as a negative while it is of this batch; older ones cannot be told apart.

        Args:
            embedded: ``(B, D)`` of the network, not normalised.
            keys: ``(B, D)`` of the momentum network for the same images, not normalised.
            labels: ``(B,)``.

        Raises:
            InputError: the batches of all processes do not fit into the queue.
        """
        with torch.autocast(embedded.device.type, enabled=False):
            keys = unit(keys.detach())
            candidates, own = self._candidates(keys, labels)
            cosines = F.linear(unit(embedded), candidates.descriptors).clamp(-1, 1)
            alike = labels[:, None] == candidates.labels
            positives = alike.scatter(1, own[:, None], False)
            if self.training:
                self._move_t(cosines.detach(), positives)
            return curricular_contrast(cosines, positives, ~alike, self.t, self.margin, self.temperature).mean()

    def _candidates(self, keys: Tensor, labels: Tensor) -> tuple[Candidates, Tensor]:
        """What to compare with, and the rows of this process' own keys in it."""
        if not self.training:
            candidates = self.queue.behind(keys, labels)
            return candidates, candidates.rows
        every, classes = gather_rows(keys), gather_rows(labels)
        ranks = gather_rows(torch.full_like(labels, process_rank()))
        candidates = self.queue.behind(every, classes)
        self.queue.push(every, classes)
        return candidates, candidates.rows[ranks == process_rank()]

    def _move_t(self, cosines: Tensor, positives: Tensor) -> None:
        """t <- 0.01 * mean cosine to positives + 0.99 * t; the mean is over all processes, per query first."""
        matched = positives.any(dim=1).to(cosines.dtype)
        per_query = gather_rows(torch.stack([mean_over(cosines, positives), matched], dim=1))
        total, count = per_query.sum(dim=0)
        if count > 0:
            self.t.copy_(T_MOMENTUM * total / count + (1 - T_MOMENTUM) * self.t)


def process_rank() -> int:
    """The number of this process in a distributed run; 0 where there is only one."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if distributed else 0
