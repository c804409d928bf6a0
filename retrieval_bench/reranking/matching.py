"""Putative matches between the local descriptors of two images, by nearest neighbours."""

import torch
from torch import Tensor

from retrieval_bench.settings.errors import InputError


def match_descriptors(
    query: Tensor,
    database: Tensor,
    *,
    max_distance: float | None = 1.0,
    max_ratio: float | None = None,
    mutual: bool = False,
) -> Tensor:
    """Give each query descriptor its nearest database descriptor, and keep the pairs that pass the tests.

    Several query descriptors may share a database descriptor unless `mutual` is set.

    Args:
        query, database: ``(L, d)`` and ``(M, d)`` floating point, on one device.
        max_distance: Euclidean distance below which a pair is kept (strictly); None keeps every distance.
        max_ratio: keep a pair only where its distance is strictly below `max_ratio` times the distance to the second
            nearest database descriptor (Lowe, IJCV 2004, section 7.1); where there is no second one the pair is kept.
            None switches the test off.
        mutual: keep a pair only where the query descriptor is in turn the nearest to its database descriptor.

    Returns:
        ``(P, 2)`` int64 pairs (query row, database row), closest first; equally close ones by query row.

    Raises:
        InputError: descriptors of different dimension, or not finite.
    """
    if query.shape[1] != database.shape[1]:
        raise InputError(
            f"query descriptors have {query.shape[1]} dimensions and database descriptors {database.shape[1]}; "
            "both must come from the same model"
        )
    if not len(query) or not len(database):
        return torch.empty((0, 2), dtype=torch.int64, device=query.device)
    query, database = query.float(), database.float()
    closeness = torch.addmm(database.square().sum(1).div(-2), query, database.T)
    nearest = _argmax(closeness, 1)
    distance = torch.linalg.vector_norm(query - database[nearest], dim=1)
    if not bool(torch.isfinite(distance).all()):
        raise InputError("local descriptors hold values that are not finite; extract them again")

    keep = torch.ones_like(distance, dtype=torch.bool)
    if max_distance is not None:
        keep &= distance < max_distance
    if max_ratio is not None and len(database) > 1:
        second = closeness.topk(2, dim=1).indices
        second = torch.where(second[:, 0] == nearest, second[:, 1], second[:, 0])
        keep &= distance < max_ratio * torch.linalg.vector_norm(query - database[second], dim=1)
    if mutual:
        keep &= _argmax(closeness, 0)[nearest] == torch.arange(len(query), device=query.device)
    rows = keep.nonzero()[:, 0]
    rows = rows[distance[rows].argsort(stable=True)]
    return torch.stack((rows, nearest[rows]), dim=1)


def _argmax(values: Tensor, dim: int) -> Tensor:
    if values.device.type == "cpu":
        # Ten times faster than torch's on a CPU, where it takes a fifth of the time of the whole matching.
        return torch.from_numpy(values.numpy().argmax(dim))
    return values.argmax(dim)
