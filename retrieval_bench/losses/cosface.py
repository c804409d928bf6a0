"""CosFace: a margin on the cosine to the own class.

Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018, eq. 4.
"""

from torch import Tensor

from retrieval_bench.losses.base import ClassificationLoss, register_loss
from retrieval_bench.losses.option_checks import check_finite, check_positive


@register_loss("cosface")
class CosFace(ClassificationLoss):
    """CosFace with mean cross-entropy.

    Args:
        margin: taken off the cosine to the own class.
        scale: of the cosines.

    Raises:
        InputError: a margin that is not finite, or a scale that is not positive.
    """

    def __init__(self, dim: int, num_classes: int, margin: float = 0.35, scale: float = 64.0):
        super().__init__(dim, num_classes, scale)
        check_finite(margin=margin)
        check_positive(scale=scale)
        self.margin = margin

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines, the own class lower by the margin."""
        own = labels.view(-1, 1)
        return cosines.scatter(1, own, cosines.gather(1, own) - self.margin)
