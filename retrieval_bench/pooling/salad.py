"""SALAD: positions are assigned to clusters by optimal transport, and what fits none goes to a dustbin.

Izquierdo and Civera, "Optimal Transport Aggregation for Visual Place Recognition", CVPR 2024, and the code that its
authors published; the transport with a dustbin is that of SuperGlue (Sarlin et al., CVPR 2020).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retrieval_bench.pooling.base import Need, Pooling, register_pooling
from retrieval_bench.pooling.full_precision import Linear, outside_autocast, positions
from retrieval_bench.pooling.option_checks import check_counts, check_rates
from retrieval_bench.pooling.precision import at_least_float32
from retrieval_bench.settings.errors import InputError

HIDDEN = 512
"""Units of the perceptrons' hidden layers, in the published code."""


def cluster_masses(count: int, clusters: int) -> list[float]:
    """What each cluster and then the dustbin takes of `count` positions; the sum is `count`.

    Clusters take one each, the dustbin the rest. The published code cannot take maps that have no more positions than
    clusters, which leave nothing for the dustbin; here, clusters and dustbin share such a map alike.
    """
    if count > clusters:
        return [1.0] * clusters + [float(count - clusters)]
    return [count / (clusters + 1)] * (clusters + 1)


def transport(scores: Tensor, dustbin: Tensor, iterations: int) -> Tensor:
    """Entropic optimal transport between positions and clusters, by Sinkhorn's iterations in the logarithm.

    Each iteration meets the masses of clusters, then those of positions, so that the latter are exact.

    Args:
        scores: ``(B, N, M)``.
        dustbin: the score of the dustbin, a single number, the same for every position.
        iterations: from 1 up.

    Returns:
        ``(B, N, M + 1)``, the dustbin last; every position sums to 1, the masses of clusters are near `cluster_masses`.
        Float32 at least.
    """
    batch, count, clusters = scores.shape
    bins = at_least_float32(dustbin).expand(batch, count, 1)
    logits = torch.cat([at_least_float32(scores), bins], dim=2)
    masses = cluster_masses(count, clusters)
    log_masses = torch.tensor([math.log(mass) for mass in masses], dtype=logits.dtype, device=logits.device)
    of_position = torch.zeros_like(logits[..., :1])
    shifted = logits
    for _ in range(iterations):
        of_cluster = log_masses - torch.logsumexp(logits + of_position, dim=1, keepdim=True)
        shifted = logits + of_cluster
        of_position = -torch.logsumexp(shifted, dim=2, keepdim=True)
    return shifted.softmax(dim=2)


def perceptron(in_channels: int, out_channels: int, dropout: float) -> nn.Sequential:
    """Two linear maps, with dropout before the rectifier as in the published code."""
    return nn.Sequential(Linear(in_channels, HIDDEN), nn.Dropout(dropout), nn.ReLU(), Linear(HIDDEN, out_channels))


@register_pooling("salad")
class SALAD(Pooling):
    """Optimal transport aggregation of positions, beside the class token (Izquierdo and Civera, CVPR 2024).

    Every position gets a score for each cluster and a vector of features, each from a perceptron of its own; clusters
    sum the features of the positions that are transported to them, and are L2-normalised one by one. The class token's
    perceptron is normalised and comes first. The order of positions does not matter. The L2 normalisation of the whole
    is left to the method. Weights start as torch's default and the dustbin's score at 1, as the authors'.

    Args:
        clusters: M.
        channels: l, of the features. C' is channels x clusters + token_dim.
        token_dim: dimensions from the class token; 0 leaves it out, for backbones that have none.
        iterations: of Sinkhorn's algorithm.
        dropout: rate in the hidden layers of scores and features, in training.

    Raises:
        InputError: a count below 1, a token_dim below 0, a rate outside [0, 1), or no token where one is needed.
    """

    needs: ClassVar[tuple[Need, ...]] = ("tokens",)
    order_matters: ClassVar[bool | None] = False

    def __init__(
        self,
        in_channels: int,
        token_channels: int | None = None,
        clusters: int = 64,
        channels: int = 128,
        token_dim: int = 256,
        iterations: int = 3,
        dropout: float = 0.3,
    ):
        super().__init__()
        check_counts(clusters=clusters, channels=channels, iterations=iterations)
        check_rates(dropout=dropout)
        if token_dim < 0:
            raise InputError(f"pooling.token_dim must be 0 (without the class token) or more, got {token_dim}")
        if token_dim and token_channels is None:
            raise InputError("salad needs a class token; set pooling.token_dim=0 for backbones that have none")
        # What this one needs, where the class speaks for all.
        self.needs = self.needs_with({"token_dim": token_dim})  # type: ignore[misc]
        self.out_channels = clusters * channels + token_dim
        self.iterations = iterations
        self.token = (
            nn.Sequential(Linear(token_channels, HIDDEN), nn.ReLU(), Linear(HIDDEN, token_dim))
            if token_dim and token_channels is not None
            else None
        )
        self.features = perceptron(in_channels, channels, dropout)
        self.scores = perceptron(in_channels, clusters, dropout)
        self.dustbin = nn.Parameter(torch.tensor(1.0))

    @classmethod
    def needs_with(cls, options: Mapping[str, Any]) -> tuple[Need, ...]:
        """Tokens, unless ``token_dim`` is 0."""
        return () if str(options.get("token_dim")) == "0" else cls.needs

    def assignment(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, M + 1, H, W)``: where each position goes, the dustbin last; the sum is 1."""
        plan = transport(self.scores(positions(feature_map)), self.dustbin, self.iterations)
        return plan.mT.unflatten(2, feature_map.shape[-2:])

    def forward(self, feature_map: Tensor, tokens: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` and ``(B, T, C_t)`` -> ``(B, C')``: the token, then channel by channel all clusters."""
        local = positions(feature_map)
        plan = transport(self.scores(local), self.dustbin, self.iterations)[..., :-1]
        features = self.features(local)
        with outside_autocast(features):
            gathered = at_least_float32(features).mT @ plan  # (B, l, M)
        parts = [F.normalize(gathered, dim=1).flatten(1)]
        if self.token is not None:
            if tokens is None:
                raise InputError("salad was built with a class token and is given none; set pooling.token_dim=0")
            parts.insert(0, F.normalize(at_least_float32(self.token(tokens[:, 0])), dim=1))
        return torch.cat(parts, dim=1).to(feature_map.dtype)
