"""GeM+: the generalised mean with a fixed, larger exponent, chosen after training.

Shao et al., "Global Features are All You Need for Image Retrieval and Reranking" (SuperGlobal), ICCV 2023, section 3.
"""

from typing import ClassVar, Literal

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import GeM, generalised_mean
from retrieval_bench.pooling.option_checks import check_exponent, check_positive
from retrieval_bench.settings.errors import InputError, nearest


@register_pooling("gemp")
class GeMPlus(Pooling):
    """GeM+, the generalised mean with a fixed, larger exponent (Shao et al., ICCV 2023).

    ``(mean over positions of max(x, eps)^p)^(1/p)``.

    Args:
        p: the exponent, positive; SuperGlobal's is 4.6.
        eps: the least value of a position.

    Raises:
        InputError: an exponent or eps that is not positive.
    """

    order_matters: ClassVar[bool | None] = False

    def __init__(self, in_channels: int, p: float = 4.6, eps: float = 1e-8):
        super().__init__()
        check_exponent(p)
        check_positive(eps=eps)
        self.out_channels = in_channels
        self.p = p
        self.eps = eps

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``."""
        return generalised_mean(feature_map, self.p, self.eps)


def mean_over_positions(in_channels: int, name: Literal["gem", "gemp"], p: float | None) -> Pooling:
    """The generalised mean with which a pooling of several steps ends.

    Args:
        in_channels: C of the map.
        name: ``"gem"`` has a trained exponent, ``"gemp"`` a fixed one.
        p: the (first) exponent; None is the default of that pooling.

    Raises:
        InputError: another name, or an exponent that is not positive.
    """
    if name not in ("gem", "gemp"):
        raise InputError(nearest(str(name), ("gem", "gemp"), noun="value of pooling.then"))
    if p is None:
        return GeM(in_channels) if name == "gem" else GeMPlus(in_channels)
    return GeM(in_channels, p) if name == "gem" else GeMPlus(in_channels, p)
