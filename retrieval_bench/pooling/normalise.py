"""L2 normalisation as the GeM line of work does it."""

import torch
from torch import Tensor


def l2_normalise(values: Tensor, dim: int = 1, eps: float = 1e-6) -> Tensor:
    """``x / (norm(x) + eps)`` along `dim`.

    The eps is added to the norm, as in cirtorch's ``L2N``: the result is a little shorter than one, unlike
    ``F.normalize``, and a zero vector stays zero with a finite gradient.
    """
    return values / (torch.linalg.vector_norm(values, dim=dim, keepdim=True) + eps)
