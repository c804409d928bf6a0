"""Which image sizes a network takes, and how images of others are padded.

The rule is measured: shapes go through the network on torch's meta device, which computes no values. Zeros are added at
the bottom and on the right, and map positions that see nothing else are cut off again.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

LARGE = (161, 515)
"""Odd, not square, larger than the minima that are tried, and on one side than what networks are trained at."""


class SizeRule(NamedTuple):
    """Sizes that a network takes.

    Attributes:
        multiple: both sides are multiples of it.
        minimum: neither side is shorter; a multiple of `multiple`, or 1.
    """

    multiple: int = 1
    minimum: int = 1

    def side(self, length: int) -> int:
        """The least length that is taken, from `length` up."""
        enough = max(length, self.minimum) if self.minimum > 1 else length
        return enough + -enough % self.multiple

    def pad(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> images of a size that is taken; the same tensor where theirs is."""
        if self == ANY:
            return images
        height, width = images.shape[-2:]
        return F.pad(images, (0, self.side(width) - width, 0, self.side(height) - height))

    def cut(self, feature_map: Tensor, stride: int, height: int, width: int) -> Tensor:
        """The map of a padded image -> the positions that stand for its ``height`` x ``width`` pixels."""
        if self == ANY:
            return feature_map
        return feature_map[..., : -(-height // stride), : -(-width // stride)]


ANY = SizeRule()


def find_rule(takes: Callable[[int, int], bool], strides: Sequence[int], trained: tuple[int, int]) -> SizeRule | None:
    """The rule that pads least, of those under which large odd images and images of one pixel pass.

    Args:
        takes: whether a network gives maps of the expected shape for images of some height and width.
        strides: of all its stages.
        trained: height and width at which it was trained.

    Returns:
        None where there is no such rule: a network of fixed size.
    """
    last = strides[-1]
    # A network with windows of a fixed share of the map takes whole multiples of the trained size.
    multiples = dict.fromkeys([1, *sorted(strides), 2 * last, 4 * last, *({trained[0]} & {trained[1]})])
    for multiple in multiples:
        rule = SizeRule(multiple)
        if takes(rule.side(LARGE[0]), rule.side(LARGE[1])):
            minima = dict.fromkeys((1, multiple, *(count * last for count in range(1, 5))))
            rules = (SizeRule(multiple, minimum) for minimum in minima if minimum % multiple == 0)
            found = next((rule for rule in rules if takes(rule.side(1), rule.side(1))), None)
            if found is not None:
                return SizeRule(multiple) if found.side(1) == multiple else found
    return None


def fits(shape: Sequence[int], channels: int, stride: int, height: int, width: int) -> bool:
    """Whether ``(B, C, H, W)`` is what one expects of a stage; convolutions without padding lose up to three a side."""
    if len(shape) != 4 or shape[1] != channels:
        return False
    sides = zip(shape[2:], (height, width), strict=True)
    return all(max(1, side // stride - 3) <= got <= side // stride + 2 for got, side in sides)
