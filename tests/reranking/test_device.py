"""A device is one that torch has, or an error that says what to do."""

import pytest
import torch

from retrieval_bench.reranking import create_reranker
from retrieval_bench.reranking.device import device_named
from retrieval_bench.settings.errors import InputError


def test_a_device():
    assert device_named(None) is None
    assert device_named("cpu") == torch.device("cpu")
    assert device_named(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuba", "cuda:977", "xla", ""])
@pytest.mark.parametrize("reranker", ["geometric", "superglobal"])
def test_what_is_not_there_is_refused_when_it_is_built(name, reranker):
    with pytest.raises(InputError, match=f"^rerank.device={name} is no device that torch has here; use cpu"):
        create_reranker(reranker, device=name)
