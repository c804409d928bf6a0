"""The class token of a vision transformer (Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021)."""

from typing import ClassVar

from torch import Tensor

from retrieval_bench.pooling.base import Need, Pooling, register_pooling


@register_pooling("cls")
class ClassToken(Pooling):
    """The class token as the backbone gives it (Dosovitskiy et al., ICLR 2021).

    The map is not looked at, nor are register tokens. There is nothing to train.
    """

    needs: ClassVar[tuple[Need, ...]] = ("tokens",)
    order_matters: ClassVar[bool | None] = False
    whole_map: ClassVar[bool] = False

    def __init__(self, in_channels: int, token_channels: int):
        super().__init__()
        self.out_channels = token_channels

    def forward(self, feature_map: Tensor, tokens: Tensor) -> Tensor:
        """``(B, C, H, W)`` and ``(B, T, C_t)`` -> ``(B, C_t)``."""
        return tokens[:, 0]
