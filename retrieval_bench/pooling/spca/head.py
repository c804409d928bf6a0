"""SpCa's head as a pooling: a map is joined with what surrounds each of its positions, then pooled.

Zhang, Wang, Zhou and Koniusz, "Learning Spatial-context-aware Global Visual Feature Representation for Instance Image
Retrieval" (SpCa), ICCV 2023; Zy-Zhang/SpCa.
"""

from typing import Literal

from torch import Tensor

from retrieval_bench.pooling.base import Pooling, register_pooling
from retrieval_bench.pooling.gem import exponent, generalised_mean
from retrieval_bench.pooling.option_checks import check_counts
from retrieval_bench.pooling.spca.context import SpatialContext
from retrieval_bench.pooling.spca.fusers import FUSERS
from retrieval_bench.settings.errors import InputError, nearest


@register_pooling("spca")
class SpcaPooling(Pooling):
    """The map fused with its spatial context, then GeM (Zhang et al., ICCV 2023).

    ``GeM(fuser(x, c(x)))``, with c the soft assignments to K tokens gathered from all positions, weighted by a falling
    function of their distance; for ``orth``, which pools by itself, ``fuser(GeM(x), c(x))``.

    Args:
        fuser: how appearance and context are joined; ``"cro"`` and ``"cat"`` are the published variants.
        codebook_size: K, tokens that positions are assigned to.
        local_dim: in which they are compared with tokens.
        powers: M, over how many ranges the surroundings are described.
        first_power: of the distance encoding: 2 has powers 2 .. M + 1, as the published code runs; 1 has 1 .. M.
        heads: of the attention in ``cro`` and ``dec``; must divide C there.
        p: (initial) exponent of the generalised mean.
        learnable: whether it is trained; the published one is fixed.

    Attributes:
        out_channels: C for ``cro``, ``dec`` and (even C) ``orth``; 2 * C for ``cat``; C / 4 * K * M for ``had``.

    Raises:
        InputError: another fuser, a size below 1, heads that do not divide C, or an exponent that is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        fuser: Literal["cro", "cat", "had", "orth", "dec"] = "cro",
        codebook_size: int = 16,
        local_dim: int = 128,
        powers: int = 1,
        first_power: Literal[1, 2] = 2,
        heads: int = 8,
        p: float = 3.0,
        learnable: bool = False,
    ):
        super().__init__()
        check_counts(codebook_size=codebook_size, local_dim=local_dim, powers=powers, heads=heads)
        if fuser not in FUSERS:
            raise InputError(nearest(str(fuser), FUSERS, noun="value of pooling.fuser"))
        kind = FUSERS[fuser]
        if kind.has_attention and in_channels % heads:
            raise InputError(
                f"pooling.heads={heads} does not divide the {in_channels} channels of the map; "
                "set pooling.heads to a divisor, or a pooling.fuser without attention: cat, had, orth"
            )
        self.context = SpatialContext(in_channels, codebook_size, local_dim, powers, first_power)
        self.fuser = kind(in_channels, self.context.out_channels, heads)
        self.pools_first = fuser == "orth"
        self.p = exponent(p, learnable)
        self.out_channels = self.fuser.out_channels

    def forward(self, feature_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, C')``."""
        # The context is computed in float32 at least; the fuser takes it in the precision of its own weights.
        context = self.context(feature_map).context.to(next(self.fuser.parameters()).dtype)
        if self.pools_first:
            return self.fuser(generalised_mean(feature_map, self.p), context).to(feature_map.dtype)
        return generalised_mean(self.fuser(feature_map, context), self.p).to(feature_map.dtype)
