"""The transform by many random samples at once, in torch, on the CPU or a GPU."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from retrieval_bench.reranking.geometry.estimator import Estimator, Transform, register_backend
from retrieval_bench.reranking.geometry.hypotheses import (
    affine_from_samples,
    fit_affine,
    fit_homography,
)
from retrieval_bench.reranking.threads import one_thread_each
from retrieval_bench.settings.errors import InputError

CPU_PAIRS = 8
"""Pairs estimated together on a CPU, few enough for its cache."""

GPU_RESIDUALS = 2**27
"""Residuals of the pairs estimated together on a GPU."""

HYPOTHESES_AT_ONCE = 512
"""Hypotheses of a pair scored together on a CPU."""

SAMPLE_SIZE = 3


@register_backend("torch")
class TorchBatched(Estimator):
    """RANSAC with a fixed number of samples, the best few refined by least squares on their inliers.

    At the small inlier shares of retrieval it decides how many samples hold inliers only (Fischler and Bolles, CACM
    1981). So all are tried, without early stop; they prefer the first matches, as PROSAC does (Chum and Matas, CVPR
    2005); and every sample is three matches that give an affine transform, for a homography too, since at an inlier
    share w four good matches are 1/w times as rare as three. A sample scores
    ``threshold**2 - residual**2`` summed over the matches, each term cut at 0 and at a quarter of its maximum: between
    the inlier count and MSAC (Torr and Zisserman, CVIU 2000). The best are refined as in LO-RANSAC (Chum et al., DAGM
    2003), a homography from the affine transform's inliers, and the fit with most inliers wins.

    Args:
        preference: the match at quantile ``u**preference`` is drawn, u uniform in [0, 1): 1 draws all alike, at 2 the
            best quarter of the matches fills half of the draws.
        refined: samples that are refined.
        refinements: least squares fits of each kind, every one on the inliers of the fit before.
        max_scale: transforms that enlarge or shrink areas by more than the square of this are refused, because one
            that collapses an image into a point finds agreement everywhere; None allows all.
    """

    def __init__(
        self,
        transform: Transform,
        threshold: float,
        iterations: int,
        seed: int,
        preference: float = 2.0,
        refined: int = 4,
        refinements: int = 3,
        max_scale: float | None = 10.0,
    ):
        super().__init__(transform, threshold, iterations, seed)
        if not preference > 0:
            raise InputError(f"preference must be above 0, got {preference}")
        if refined < 1 or refinements < 0:
            raise InputError(f"refined must be at least 1 and refinements at least 0, got {refined} and {refinements}")
        if max_scale is not None and not max_scale > 1:
            raise InputError(f"max_scale must be above 1, got {max_scale}")
        self.refined = min(refined, self.iterations)
        self.refinements = refinements
        self.max_scale = max_scale
        generator = torch.Generator().manual_seed(self.seed)
        draws = torch.rand(self.iterations, SAMPLE_SIZE, generator=generator, dtype=torch.float64)
        self._draws = draws**preference

    def inliers(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        masks = [torch.zeros(len(source), dtype=torch.bool, device=source.device) for source, _ in pairs]
        enough = [number for number, mask in enumerate(masks) if len(mask) >= self.sample_size]
        enough.sort(key=lambda number: len(masks[number]))
        at_once = CPU_PAIRS
        if enough and masks[enough[-1]].device.type != "cpu":
            at_once = max(1, GPU_RESIDUALS // (self.iterations * len(masks[enough[-1]])))
        for start in range(0, len(enough), at_once):
            group = enough[start : start + at_once]
            with one_thread_each():
                found = self._inliers([pairs[number] for number in group])
            for number, mask in zip(group, found, strict=True):
                masks[number] = mask[: len(masks[number])]
        return masks

    def _inliers(self, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The inliers ``(K, M)`` of K pairs of at least `sample_size` matches each, padded with False."""
        device = pairs[0][0].device
        counts = torch.tensor([len(source) for source, _ in pairs], device=device)
        valid = torch.arange(int(counts.max()), device=device) < counts[:, None]
        source, source_unit = _normalise(pad_sequence([one for one, _ in pairs], batch_first=True).double(), valid)
        target, target_unit = _normalise(pad_sequence([two for _, two in pairs], batch_first=True).double(), valid)
        limit = (self.threshold / target_unit).square()
        enlargement = target_unit / source_unit

        samples = self._samples(counts)
        matrices = affine_from_samples(_take(source, samples).float(), _take(target, samples).float())
        scores = self._scores(matrices, source.float(), target.float(), limit.float(), counts)
        scores.masked_fill_(~self._usable(matrices, enlargement), -1)
        chosen = scores.sort(dim=1, descending=True, stable=True).indices[:, : self.refined]
        everyone = torch.arange(len(pairs), device=device)
        matrices = matrices[everyone[:, None], chosen].double()

        fits = [fit_affine] * self.refinements
        if self.transform == "homography":
            fits += [fit_homography] * max(1, self.refinements)
        best = torch.zeros_like(valid)
        for fit in (*fits, None):
            close = _distance(matrices, source[:, None], target[:, None]) < limit[:, None, None]
            close &= valid[:, None] & self._usable(matrices, enlargement)[:, :, None]
            masks = torch.cat((best[:, None], close), dim=1)
            best = masks[everyone, masks.sum(2).argmax(1)]
            if fit is not None:
                matrices = fit(source[:, None], target[:, None], close.double())
        return best

    def _samples(self, counts: Tensor) -> Tensor:
        """``(K, iterations, 3)`` distinct matches. Pairs with as many matches get the same ones."""
        free = counts[:, None, None] - torch.arange(SAMPLE_SIZE, device=counts.device)
        first, second, third = (self._draws.to(counts.device) * free).long().unbind(-1)
        # Each draw steps over the rows taken before it, in rising order, so that every free row is equally likely.
        second += second >= first
        third += third >= torch.minimum(first, second)
        third += third >= torch.maximum(first, second)
        return torch.stack((first, second, third), dim=-1)

    def _usable(self, matrices: Tensor, enlargement: Tensor) -> Tensor:
        if self.max_scale is None:
            return torch.ones(matrices.shape[:2], dtype=torch.bool, device=matrices.device)
        x, y = matrices[..., :2, 0], matrices[..., :2, 1]
        if matrices.shape[-2] == 3:
            # The derivative at the centre of the points, where the last element of the matrix, 1, is the depth.
            x = x - matrices[..., :2, 2] * matrices[..., 2, :1]
            y = y - matrices[..., :2, 2] * matrices[..., 2, 1:2]
        area = (x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]).abs() * enlargement[:, None].square()
        return (area < self.max_scale**2) & (area > self.max_scale**-2)

    def _scores(self, matrices: Tensor, source: Tensor, target: Tensor, limit: Tensor, counts: Tensor) -> Tensor:
        """Score every sample: ``(K, iterations)``."""
        if matrices.device.type != "cpu":
            beyond = torch.arange(source.shape[1], device=counts.device) >= counts[:, None]
            return _score(matrices, source, target.masked_fill(beyond[:, :, None], math.inf), limit)
        # What stays in a CPU's cache is scored twice as fast.
        scores = []
        for number, count in enumerate(counts.tolist()):
            one = slice(number, number + 1)
            parts = matrices[one].split(HYPOTHESES_AT_ONCE, dim=1)
            scores.append(
                torch.cat([_score(part, source[one, :count], target[one, :count], limit[one]) for part in parts], dim=1)
            )
        return torch.cat(scores)


def _score(matrices: Tensor, source: Tensor, target: Tensor, limit: Tensor) -> Tensor:
    points = torch.cat((source, torch.ones_like(source[..., :1])), dim=2).mT
    x, y = target.mT.contiguous().split(1, dim=1)
    limit = limit[:, None, None]
    gain = limit - (matrices[:, :, 0] @ points).sub_(x).square_()
    gain -= (matrices[:, :, 1] @ points).sub_(y).square_()
    return gain.clamp_(min=0).clamp_(max=limit / 4).sum(2).nan_to_num(-1.0)


def _distance(matrices: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Squared distance ``(..., M)`` of the transformed source points ``(..., M, 2)`` to the target points."""
    moved = source @ matrices[..., :2, :2].mT + matrices[..., None, :2, 2]
    if matrices.shape[-2] == 3:
        depth = source @ matrices[..., 2:, :2].mT + matrices[..., None, 2:, 2]
        moved = torch.where(depth > 0, moved / depth, math.inf)
    return (moved - target).square().sum(-1)


def _normalise(points: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale points ``(K, M, 2)`` of each pair into [-1, 1]; also the unit ``(K,)`` in pixels.

    From the smallest and largest coordinate, which do not depend on the padding as a rounded sum would.
    """
    outside = ~valid[:, :, None]
    low = points.masked_fill(outside, math.inf).amin(1, keepdim=True)
    high = points.masked_fill(outside, -math.inf).amax(1, keepdim=True)
    unit = ((high - low) / 2).amax(2, keepdim=True)
    unit = torch.where(unit > 0, unit, 1.0)
    return ((points - (low + high) / 2) / unit).masked_fill(outside, 0), unit[:, 0, 0]


def _take(points: Tensor, samples: Tensor) -> Tensor:
    """``(K, M, 2)`` points at ``(K, H, S)`` rows: ``(K, H, S, 2)``."""
    rows = samples.flatten(1).unsqueeze(-1).expand(-1, -1, 2)
    return points.gather(1, rows).unflatten(1, samples.shape[1:])
