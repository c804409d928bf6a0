"""Normalised softmax: cross-entropy over scaled cosines, with no margin.

Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", BMVC 2019, eq. 4.
"""

from torch import Tensor

from retrieval_bench.losses.base import ClassificationLoss, register_loss
from retrieval_bench.losses.option_checks import check_positive


@register_loss("normsoftmax")
class NormSoftmax(ClassificationLoss):
    """Normalised softmax.

    Args:
        scale: of the cosines, the inverse of the paper's temperature 0.05.

    Raises:
        InputError: a scale that is not positive.
    """

    def __init__(self, dim: int, num_classes: int, scale: float = 20.0):
        super().__init__(dim, num_classes, scale)
        check_positive(scale=scale)

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines as they are."""
        return cosines
