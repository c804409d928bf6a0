"""The names that are relied on from outside."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch

import retrieval_bench as rb

SIGNATURES = {
    "create_model": ["method", "backbone", "pooling", "loss", "dim", "num_classes", "weights", "options"],
    "load_dataset": ["name", "root", "options"],
    "search": ["query_descriptors", "database_descriptors", "k"],
    "rerank": ["name", "ranking", "query", "database", "options"],
    "evaluate": ["ranking", "ground_truth"],
    "extract": ["model", "files", "boxes", "scales"],
    "bench": ["config"],
}
LISTS = {
    "list_methods": {"gem", "delg"},
    "list_poolings": {"spoc", "mac", "gem", "gemp", "rmac"},
    "list_losses": {"arcface", "cosface", "curricularface", "contrastive", "triplet"},
    "list_batch_attentions": {"batchformer", "batchtransformer"},
    "list_backbones": {"resnet18", "resnet50", "resnet101"},
    "list_rerankers": {"geometric"},
    "list_datasets": {"synthetic", "roxford5k", "rparis6k", "folder"},
}


@pytest.mark.parametrize("name", rb.__all__)
def test_every_name_is_there(name):
    assert getattr(rb, name) is not None
    assert name in dir(rb)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        _ = rb.serch


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_that_are_fixed(name):
    parameters = list(inspect.signature(getattr(rb, name)).parameters)
    assert [parameter for parameter in parameters if parameter in SIGNATURES[name]] == SIGNATURES[name]


@pytest.mark.parametrize("name", LISTS)
def test_lists(name):
    listed = getattr(rb, name)()
    assert set(listed) >= LISTS[name]
    assert len(listed) == len(set(listed))


def test_functions_stay_functions_although_modules_have_their_names():
    code = """
from types import FunctionType
import retrieval_bench as rb
import retrieval_bench.search.exact
before = [rb.search, rb.evaluate]
import retrieval_bench.search, retrieval_bench.evaluation.evaluate, retrieval_bench.bench
print([isinstance(one, FunctionType) for one in (rb.search, rb.bench, rb.evaluate)], before == [rb.search, rb.evaluate])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[True, True, True] True", done.stderr


def test_from_descriptors_to_figures():
    """The way through the API that needs neither data nor model."""
    rng = np.random.default_rng(0)
    database = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((30, 8))).float(), dim=1)
    queries = database[[4, 9]]
    ranking = rb.search(queries, database)
    assert ranking.indices[:, 0].tolist() == [4, 9]
    truth = [{"easy": [4], "hard": [], "junk": []}, {"easy": [], "hard": [9], "junk": []}]
    result = rb.evaluate(ranking, truth)
    assert (result.map_easy, result.map_medium, result.map_hard) == (1.0, 1.0, 1.0)
    assert rb.evaluate(ranking.indices.numpy(), truth).map_medium == 1.0


def test_images_to_descriptors_to_ranking():
    model = rb.create_model("gem", backbone="test_resnet", dim=16)
    images = torch.rand(4, 3, 48, 40, generator=torch.Generator().manual_seed(0))
    described = model.describe(images)
    assert rb.search(described, described).indices[:, 0].tolist() == [0, 1, 2, 3]
