"""Whitening of descriptors after extraction: learnt from matching pairs, or by PCA.

Learned whitening: Mikolajczyk and Matas, "Improving Descriptors for Fast Tree Matching by Optimal Linear Projection",
ICCV 2007, as used by Radenović, Tolias and Chum, TPAMI 2018, sec. 3.4 and cirtorch ``utils/whiten.py``. PCA whitening:
Jégou and Chum, "Negative Evidences and Co-occurrences in Image Retrieval", ECCV 2012.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from retrieval_bench.settings.errors import InputError
from retrieval_bench.settings.whole_file import whole_file

CHUNK = 8192
FORMAT = "retrieval_bench whitening"

Rows = Tensor | np.ndarray


@dataclass(frozen=True)
class Whitening:
    """A projection of centred descriptors.

    Attributes:
        mean: ``(D,)`` float64.
        projection: ``(D', D)`` float64, rows by falling variance.
        learnt_on: name of the image set.
        count: descriptors (PCA) or pairs (learned) that it was learnt from.
    """

    mean: Tensor
    projection: Tensor
    learnt_on: str = "unnamed"
    count: int = 0

    def apply(self, descriptors: Rows, dim: int | None = None) -> Tensor:
        """Whiten ``(N, D)`` descriptors: ``y = P (x - m)``, then ``y / (norm(y) + 1e-6)``.

        Args:
            descriptors: any float type.
            dim: how many leading rows of the projection to use; None is all.

        Returns:
            ``(N, dim)`` float32, or float64 for float64 descriptors.

        Raises:
            InputError: another D, or `dim` outside 1 .. D'.
        """
        rows = torch.as_tensor(descriptors)
        if rows.ndim != 2 or rows.shape[1] != len(self.mean):
            raise InputError(f"the whitening is for (N, {len(self.mean)}) descriptors, got {tuple(rows.shape)}")
        keep = len(self.projection) if dim is None else dim
        if not 1 <= keep <= len(self.projection):
            raise InputError(f"whitening.dim must be 1 .. {len(self.projection)}, got {dim}")
        mean, projection = self.mean.to(rows.device), self.projection[:keep].to(rows.device)
        out = rows.new_empty((len(rows), keep), dtype=torch.float64 if rows.dtype == torch.float64 else torch.float32)
        for start in range(0, len(rows), CHUNK):
            projected = (rows[start : start + CHUNK].double() - mean) @ projection.T
            out[start : start + CHUNK] = projected / (torch.linalg.vector_norm(projected, dim=1, keepdim=True) + 1e-6)
        return out

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        tensors = {"mean": self.mean.contiguous(), "projection": self.projection.contiguous()}
        metadata = {"format": FORMAT, "learnt_on": self.learnt_on, "count": str(self.count)}
        with whole_file(path) as partial:
            save_file(tensors, partial, metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> "Whitening":
        """Read a file that `save` wrote.

        Raises:
            InputError: no such file, or not one of these.
        """
        if not path.is_file():
            raise InputError(f"no whitening file at {path}; learn one, or check the path")
        try:
            with safe_open(path, framework="pt") as stored:
                metadata = stored.metadata() or {}
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise InputError(f"{path} is no readable safetensors file ({error}); learn the whitening again") from error
        if metadata.get("format") != FORMAT:
            raise InputError(f"{path} is no whitening of retrieval_bench; learn one, or check the path")
        return cls(tensors["mean"], tensors["projection"], metadata["learnt_on"], int(metadata["count"]))


def learn_whitening(descriptors: Rows, query_rows: Rows, positive_rows: Rows, learnt_on: str = "unnamed") -> Whitening:
    """Whitening in which matching pairs differ by white noise, rotated so that variance falls from row to row.

    Args:
        descriptors: ``(N, D)``, N large against D.
        query_rows, positive_rows: ``(P,)`` rows of `descriptors`; entry i of both is one matching pair.
        learnt_on: name of the image set.

    Returns:
        a `Whitening` with ``D' = D``; its mean is over the queries of the pairs.

    Raises:
        InputError: no pairs, rows out of range, or descriptors that are not finite.
    """
    x = checked(descriptors)
    queries, positives = (torch.as_tensor(rows, device=x.device).long() for rows in (query_rows, positive_rows))
    if queries.ndim != 1 or queries.shape != positives.shape or len(queries) == 0:
        raise InputError(
            f"whitening needs pairs: two lists of rows, equally long, got {tuple(queries.shape)} and "
            f"{tuple(positives.shape)}"
        )
    low, high = (int(bound) for bound in torch.cat([queries, positives]).aminmax())
    if low < 0 or high >= len(x):
        raise InputError(f"pairs for whitening name rows {low} to {high}, but there are {len(x)} descriptors")
    mean = x[queries].mean(dim=0)
    difference = x[queries] - x[positives]
    within = difference.T @ difference / len(difference)  # (D, D)
    inverse = torch.linalg.inv(cholesky(within))
    spread = (x - mean) @ inverse.T
    _, vectors = torch.linalg.eigh(spread.T @ spread)
    return Whitening(mean, vectors.flip(1).T @ inverse, learnt_on, len(queries))


def learn_pca_whitening(descriptors: Rows, learnt_on: str = "unnamed") -> Whitening:
    """Whitening by PCA: unit variance along every direction in which `descriptors` ``(N, D)`` vary.

    Returns:
        a `Whitening` whose D' is D, or less where the descriptors span less.

    Raises:
        InputError: fewer than two different descriptors, or descriptors that are not finite.
    """
    x = checked(descriptors)
    mean = x.mean(dim=0)
    centred = x - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    values, vectors = values.flip(0), vectors.flip(1)
    # Below this share of the largest variance an eigenvalue is rounding noise, and its inverse root would dominate.
    spanned = values > values[0].clamp(min=1e-30) * 1e-12
    if not spanned.any():
        raise InputError("PCA whitening needs descriptors that differ; these are all equal")
    return Whitening(mean, (vectors[:, spanned] / values[spanned].sqrt()).T.contiguous(), learnt_on, len(x))


def cholesky(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor; where the matrix is singular, of ``matrix + a I``, least a of 1e-10, 1e-9 ..."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    ridge = 1e-10
    while failed:
        factor, failed = torch.linalg.cholesky_ex(matrix + ridge * torch.eye(len(matrix)).to(matrix))
        ridge *= 10
    return factor


def checked(descriptors: Rows) -> Tensor:
    """``(N, D)`` descriptors as float64."""
    x = torch.as_tensor(descriptors)
    if x.ndim != 2 or 0 in x.shape:
        raise InputError(f"whitening learns from (N, D) descriptors, got shape {tuple(x.shape)}")
    x = x.double()
    if not torch.isfinite(x).all():
        raise InputError("whitening learns from finite descriptors, got NaN or infinity; check the model's weights")
    return x
