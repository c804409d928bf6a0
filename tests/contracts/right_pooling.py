"""A pooling that is right, from which those that are wrong in one way derive."""

from torch import Tensor

from retrieval_bench.pooling import Pooling


class Right(Pooling):
    """The mean over positions."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.out_channels = in_channels

    def forward(self, feature_map: Tensor) -> Tensor:
        return feature_map.float().mean(dim=(2, 3)).to(feature_map.dtype)
