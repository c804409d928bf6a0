"""The transform by OpenCV's RANSAC or USAC, one pair after the other on the CPU."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from retrieval_bench.reranking.geometry.estimator import Estimator, Transform, register_backend
from retrieval_bench.settings.errors import InputError, nearest

Method = Literal["ransac", "usac", "magsac", "prosac"]


@register_backend("opencv")
class OpenCV(Estimator):
    """``cv2.estimateAffine2D`` or ``cv2.findHomography``.

    Args:
        method: ``ransac`` is OpenCV's first implementation (its seed is fixed inside OpenCV, `seed` does not reach
            it); ``usac`` scores by MSAC with local optimisation (Raguram et al., TPAMI 2013), ``magsac`` by MAGSAC++
            (Barath et al., CVPR 2020), ``prosac`` is ``usac`` that samples the first matches first (Chum and Matas,
            CVPR 2005).
        confidence: sampling stops early once a better transform is this improbable, in (0, 1).
    """

    def __init__(
        self,
        transform: Transform,
        threshold: float,
        iterations: int,
        seed: int,
        method: Method = "prosac",
        confidence: float = 0.999,
    ):
        super().__init__(transform, threshold, iterations, seed)
        if method not in get_args(Method):
            raise InputError(nearest(method, get_args(Method), noun="OpenCV method"))
        if not 0 < confidence < 1:
            raise InputError(f"confidence must lie between 0 and 1, got {confidence}")
        self.method = method
        self.confidence = confidence

    def inliers(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        return [self._inliers(source, target) for source, target in pairs]

    def _inliers(self, source: Tensor, target: Tensor) -> Tensor:
        # Every re-ranker is imported to list them; only those who use OpenCV should wait for it.
        import cv2

        count = len(source)
        if count < self.sample_size:
            return torch.zeros(count, dtype=torch.bool, device=source.device)
        points = [np.ascontiguousarray(side.detach().cpu().numpy(), dtype=np.float64) for side in (source, target)]
        # One name for two functions of the same arguments, which the stubs describe in overloads of their own.
        estimate: Any = cv2.estimateAffine2D if self.transform == "affine" else cv2.findHomography
        if self.method == "ransac":
            limits = {"maxIters": self.iterations, "confidence": self.confidence}
            matrix, mask = estimate(*points, method=cv2.RANSAC, ransacReprojThreshold=self.threshold, **limits)
        else:
            matrix, mask = estimate(*points, self._usac())
        if matrix is None or mask is None:
            return torch.zeros(count, dtype=torch.bool, device=source.device)
        return torch.from_numpy(mask.ravel() > 0).to(source.device)

    def _usac(self) -> Any:
        import cv2

        settings = cv2.UsacParams()
        settings.threshold = self.threshold
        settings.maxIterations = self.iterations
        settings.confidence = self.confidence
        settings.score = cv2.SCORE_METHOD_MAGSAC if self.method == "magsac" else cv2.SCORE_METHOD_MSAC
        settings.loMethod = cv2.LOCAL_OPTIM_SIGMA if self.method == "magsac" else cv2.LOCAL_OPTIM_INNER_LO
        settings.final_polisher = cv2.LSQ_POLISHER
        settings.sampler = cv2.SAMPLING_PROSAC if self.method == "prosac" else cv2.SAMPLING_UNIFORM
        # A generator of its own per call, unlike cv2.setRNGSeed, which all of OpenCV shares.
        settings.randomGeneratorState = self.seed % 2**31
        return settings
