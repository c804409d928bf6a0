"""part_name: a cosine margin that grows as an image comes close to its class.

Source: own work; or authors, "title", venue and year, section or equation.
"""

from torch import Tensor

from retrieval_bench.losses import ClassificationLoss, register_loss
from retrieval_bench.settings.errors import InputError


def growing_margin(cosine: Tensor, margin: float, growth: float) -> Tensor:
    """``cos - margin * ((1 + cos) / 2)^growth`` of any cosines in [-1, 1]: easy images have to do better."""
    nearness = ((1 + cosine) / 2).clamp(min=1e-6)
    return cosine - margin * nearness.pow(growth)


@register_loss("part_name")
class PartName(ClassificationLoss):
    """Cross-entropy over cosines with a margin that grows with the own one (Authors, Venue Year).

    Args:
        margin: taken off the cosine of an image that equals its class.
        growth: 0 takes the same margin off every image, which is CosFace.
        scale: of the cosines.

    Raises:
        InputError: an impossible option.
    """

    def __init__(self, dim: int, num_classes: int, margin: float = 0.35, growth: float = 1.0, scale: float = 32.0):
        super().__init__(dim, num_classes, scale)
        if growth < 0:
            raise InputError(f"loss.growth must be 0 or more, got {growth}")
        self.margin = margin
        self.growth = growth

    def margin_logits(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """``(B, C)`` cosines, the own class lower by its margin."""
        own = labels.view(-1, 1)
        return cosines.scatter(1, own, growing_margin(cosines.gather(1, own), self.margin, self.growth))
