"""The verification of DELG's authors at its published settings: scikit-image's RANSAC, affine, 1000 trials."""

import warnings
from collections.abc import Sequence

import torch
from skimage.measure import ransac
from skimage.transform import AffineTransform
from torch import Tensor

from retrieval_bench.reranking.geometry.estimator import Estimator


class SkimageRansac(Estimator):
    """Three matches a sample, no early stop, no refinement (tensorflow/models, research/delf)."""

    transforms = ("affine",)

    def inliers(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        return [self._inliers(source, target) for source, target in pairs]

    def _inliers(self, source: Tensor, target: Tensor) -> Tensor:
        nothing = torch.zeros(len(source), dtype=torch.bool)
        if len(source) <= self.sample_size:
            return nothing
        with warnings.catch_warnings():
            # Samples of points in one line or place give no transform, and say so a hundred times.
            warnings.simplefilter("ignore")
            _, mask = ransac(
                (source.double().numpy(), target.double().numpy()),
                AffineTransform,
                min_samples=self.sample_size,
                residual_threshold=self.threshold,
                max_trials=self.iterations,
                rng=self.seed,
            )
        return nothing if mask is None else torch.from_numpy(mask)
