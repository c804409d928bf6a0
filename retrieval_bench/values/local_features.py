"""`LocalFeatures`: the attentive local features of one image."""

from dataclasses import dataclass

from torch import Tensor

from retrieval_bench.settings.errors import InputError


@dataclass(frozen=True)
class LocalFeatures:
    """Local features of one image, best score first.

    Attributes:
        keypoints: ``(L, 2)`` float32, x and y in pixels of the image that was given.
        descriptors: ``(L, d)`` float32, unit L2 norm.
        scores: ``(L,)`` float32, attention, non-increasing.
        scales: ``(L,)`` float32, the image scale at which each was found.
    """

    keypoints: Tensor
    descriptors: Tensor
    scores: Tensor
    scales: Tensor

    def __post_init__(self) -> None:
        count = self.keypoints.shape[0]
        if self.keypoints.shape != (count, 2) or self.descriptors.ndim != 2:
            raise InputError(
                f"local features need keypoints (L, 2) and descriptors (L, d), got {tuple(self.keypoints.shape)} and "
                f"{tuple(self.descriptors.shape)}"
            )
        if not self.descriptors.shape[0] == self.scores.shape[0] == self.scales.shape[0] == count:
            raise InputError(
                f"local features disagree on their number: {count} keypoints, {self.descriptors.shape[0]} descriptors, "
                f"{self.scores.shape[0]} scores, {self.scales.shape[0]} scales"
            )

    def __len__(self) -> int:
        return self.keypoints.shape[0]
