"""DOLG's head as a pooling of two maps: a global vector of the last, and what the local map before it adds.

Yang et al., "DOLG: Single-Stage Image Retrieval with Deep Orthogonal Fusion of Local and Global Features", ICCV 2021,
sec. 3; the names of the parts are those of the method, whose last projection is left to whatever pools with this.
"""

from typing import ClassVar, Literal

from torch import Tensor, nn

from retrieval_bench.pooling.base import Need, Pooling, register_pooling
from retrieval_bench.pooling.dolg.fusion import FUSIONS
from retrieval_bench.pooling.dolg.local import LocalBranch
from retrieval_bench.pooling.gem import exponent, generalised_mean
from retrieval_bench.settings.errors import InputError, nearest


@register_pooling("dolg")
class DolgPooling(Pooling):
    """Deep orthogonal fusion of local and global features (Yang et al., ICCV 2021).

    ``[g, mean over positions of l - (l . g / |g|^2) g]`` with ``g = W GeM(last map) + b`` and l the attended unit
    descriptors of the map before it, score times descriptor.

    Args:
        multi_atrous: the block in front of the local branch that the paper describes and the released code leaves out.
        fusion: of local map and global vector; all but ``"orthogonal"`` are the paper's ablation.
        p: initial exponent of the generalised mean.
        learnable: whether it is trained.

    Attributes:
        out_channels: 2 * C_e for C_e channels of the earlier map; C_e for ``"hadamard"``.

    Raises:
        InputError: another fusion, or an exponent that is not positive.
    """

    needs: ClassVar[tuple[Need, ...]] = ("earlier stage",)

    def __init__(
        self,
        in_channels: int,
        earlier_channels: int,
        multi_atrous: bool = False,
        fusion: Literal["orthogonal", "concatenation", "hadamard"] = "orthogonal",
        p: float = 3.0,
        learnable: bool = True,
    ):
        super().__init__()
        if fusion not in FUSIONS:
            raise InputError(nearest(str(fusion), FUSIONS, noun="value of pooling.fusion"))
        self.p = exponent(p, learnable)
        self.reduction = nn.Linear(in_channels, earlier_channels)
        self.local = LocalBranch(earlier_channels, multi_atrous)
        self.fusion = FUSIONS[fusion]
        self.out_channels = self.fusion.widths * earlier_channels

    def forward(self, feature_map: Tensor, earlier_map: Tensor) -> Tensor:
        """``(B, C, H, W)`` and ``(B, C_e, H_e, W_e)`` -> ``(B, C')``."""
        whole = self.reduction(generalised_mean(feature_map, self.p))
        return self.fusion.fuse(self.local(earlier_map), whole).to(feature_map.dtype)
