"""Scale-GeM: a generalised mean over the scales of the image pyramid; positions are pooled as ever.

Shao et al., "Global Features are All You Need for Image Retrieval and Reranking" (SuperGlobal), ICCV 2023, section 3.
"""

from typing import Literal

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gemp import mean_over_positions
from retrieval_bench.pooling.rgem import RegionalGeMMap
from retrieval_bench.settings.errors import InputError


@register_pooling("sgem")
class ScaleGeM(Pooling):
    """Scale-GeM (Shao et al., ICCV 2023): pools positions with an inner head, and names how scales are merged.

    A head sees one scale at a time, so it only names the rule, and the method's protocol takes it over. An infinite
    exponent, SuperGlobal's, takes the maximum of the scales' unit descriptors; a finite one takes the generalised mean
    of descriptors before normalisation, above the least value g of an image: ``(mean (v - g)^ps)^(1/ps) + g``. The
    published code takes g over a whole batch, which couples its images; for a batch of one image the two are equal.

    Args:
        ps: exponent over scales; None is infinite.
        then: how positions are pooled: ``"gemp"``, ``"gem"``, or ``"rgem"`` with its defaults.
        p: exponent over positions; None is that pooling's own.

    Attributes:
        merge: rule of the protocol, ``"max"`` or ``"shifted-power"``.
        merge_exponent: its exponent, None where the rule has none.

    Raises:
        InputError: an exponent that is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        ps: float | None = None,
        then: Literal["gem", "gemp", "rgem"] = "gemp",
        p: float | None = None,
    ):
        super().__init__()
        if ps is not None and not ps > 0:
            raise InputError(f"pooling.ps, the exponent over scales, must be positive or null, got {ps}")
        self.out_channels = in_channels
        infinite = ps is None or ps == float("inf")
        self.merge = "max" if infinite else "shifted-power"
        self.merge_exponent = None if infinite else ps
        self.then = RegionalGeMMap(in_channels, p=p) if then == "rgem" else mean_over_positions(in_channels, then, p)

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C)``, of one scale."""
        return self.then(feature_map)
