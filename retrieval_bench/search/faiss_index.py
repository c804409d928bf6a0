"""Exact search by inner product with a flat faiss index (Johnson, Douze, Jégou, Billion-scale similarity search, 2017).

faiss sums in float32: scores can differ from the torch backend's in their last bits, and with them the order of rows
whose scores differ by no more than that.
"""

from typing import Any

import numpy as np
import torch

from retrieval_bench.search.descriptors import Descriptors, read_rows, refuse_not_finite
from retrieval_bench.search.faiss_install import import_faiss
from retrieval_bench.search.order import pack, unpack
from retrieval_bench.values.ranking import Ranking

GPU_MAX_K = 2048
"""faiss ranks no more rows than this on a GPU."""


def search_flat(query: Descriptors, database: Descriptors, k: int, chunk: int, device: torch.device) -> Ranking:
    """The k best database rows of each query; of equal scores the smaller row first.

    The index holds the whole database in float32. It lies on the GPU where `device` is one, faiss can use it, and k is
    at most 2048; else on the CPU.

    Args and errors as for `search_exact`, and InputError where faiss is not installed properly.
    """
    faiss = import_faiss()
    dim = read_rows(database, 0, 1, "database").shape[1]
    index = _on_device(faiss, faiss.IndexFlatIP(dim), k, device)
    for first in range(0, len(database), chunk):
        index.add(_float32_rows(database, first, min(first + chunk, len(database)), "database"))
    if not len(query):
        return Ranking(torch.empty(0, k, dtype=torch.int64), torch.empty(0, k))
    scores, rows = index.search(_float32_rows(query, 0, len(query), "query"), k)
    keys = pack(torch.from_numpy(scores), torch.from_numpy(rows)).sort(dim=1, descending=True).values
    scores_in_order, rows_in_order = unpack(keys)
    return Ranking(rows_in_order, scores_in_order)


def _on_device(faiss: Any, index: Any, k: int, device: torch.device) -> Any:
    # The wheel for CPUs has neither of these names.
    usable = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    if device.type != "cuda" or not usable or k > GPU_MAX_K:
        return index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index or 0, index)


def _float32_rows(descriptors: Descriptors, first: int, end: int, noun: str) -> np.ndarray:
    block = read_rows(descriptors, first, end, noun)
    refuse_not_finite(block, first, noun)
    return np.ascontiguousarray(block.detach().cpu().float().numpy())
