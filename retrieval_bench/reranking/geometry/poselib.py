"""The homography by PoseLib's LO-RANSAC, one pair after the other on the CPU."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.reranking.geometry.estimator import Estimator, Transform, register_backend
from retrieval_bench.settings.errors import InputError


@register_backend("poselib")
class PoseLib(Estimator):
    """``poselib.estimate_homography`` (Larsson, https://github.com/PoseLib/PoseLib); it has no affine estimate.

    Args:
        progressive: sample the first matches first (PROSAC, Chum and Matas, CVPR 2005).
        confidence: sampling stops early once a better transform is this improbable, in (0, 1).
    """

    transforms: ClassVar[tuple[str, ...]] = ("homography",)

    def __init__(
        self,
        transform: Transform,
        threshold: float,
        iterations: int,
        seed: int,
        progressive: bool = True,
        confidence: float = 0.999,
    ):
        super().__init__(transform, threshold, iterations, seed)
        if not 0 < confidence < 1:
            raise InputError(f"confidence must lie between 0 and 1, got {confidence}")
        self.options = {
            "max_reproj_error": self.threshold,
            "max_iterations": self.iterations,
            "min_iterations": min(self.iterations, 100),
            "success_prob": confidence,
            "progressive_sampling": progressive,
            "seed": self.seed,
        }

    def inliers(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        return [self._inliers(source, target) for source, target in pairs]

    def _inliers(self, source: Tensor, target: Tensor) -> Tensor:
        # Every re-ranker is imported to list them; only those who use PoseLib should wait for it.
        import poselib

        nothing = torch.zeros(len(source), dtype=torch.bool, device=source.device)
        if len(source) < self.sample_size:
            return nothing
        points = (np.asarray(side.detach().cpu(), dtype=np.float64) for side in (source, target))
        _, found = poselib.estimate_homography(*points, self.options, {})
        mask = found["inliers"]
        return torch.as_tensor(mask, dtype=torch.bool, device=source.device) if len(mask) else nothing
