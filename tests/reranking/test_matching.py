"""Putative matches against the definition, one descriptor at a time."""

import pytest
import torch

from retrieval_bench.reranking.matching import match_descriptors
from retrieval_bench.settings.errors import InputError


def unit(count, seed, dimensions=8):
    values = torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=1)


def by_definition(query, database, max_distance, max_ratio, mutual):
    distances = torch.cdist(query.double(), database.double())
    kept = []
    for row, line in enumerate(distances):
        nearest = int(line.argmin())
        if max_distance is not None and not line[nearest] < max_distance:
            continue
        if max_ratio is not None and len(line) > 1 and not line[nearest] < max_ratio * line.sort().values[1]:
            continue
        if mutual and int(distances[:, nearest].argmin()) != row:
            continue
        kept.append((float(line[nearest]), row, nearest))
    return [(row, nearest) for _, row, nearest in sorted(kept)]


@pytest.mark.parametrize("max_distance", [None, 0.8])
@pytest.mark.parametrize("max_ratio", [None, 0.9])
@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("sizes", [(40, 60), (25, 1), (1, 25)])
def test_as_defined(max_distance, max_ratio, mutual, sizes):
    query, database = unit(sizes[0], 0), unit(sizes[1], 1)
    found = match_descriptors(query, database, max_distance=max_distance, max_ratio=max_ratio, mutual=mutual)
    expected = by_definition(query, database, max_distance, max_ratio, mutual)
    assert [tuple(pair) for pair in found.tolist()] == expected


def test_descriptors_need_not_be_of_unit_length():
    query, database = unit(30, 0), unit(50, 1) * torch.linspace(0.5, 2, 50)[:, None]
    found = match_descriptors(query, database, max_distance=None)
    assert [tuple(pair) for pair in found.tolist()] == by_definition(query, database, None, None, False)


def test_half_precision_is_read():
    query, database = unit(30, 0), unit(50, 1)
    found = match_descriptors(query.half(), database.half())
    assert found.shape[0] > 0
    assert torch.equal(found, match_descriptors(query.half().float(), database.half().float()))


@pytest.mark.parametrize(("left", "right"), [(0, 5), (5, 0), (0, 0)])
def test_no_features_no_matches(left, right):
    assert match_descriptors(unit(5, 0)[:left], unit(5, 1)[:right]).shape == (0, 2)


def test_dimensions_that_differ():
    with pytest.raises(InputError, match="8 dimensions and database descriptors 16"):
        match_descriptors(unit(5, 0), unit(5, 1, 16))


@pytest.mark.parametrize("side", ["query", "database"])
def test_values_that_are_not_finite(side):
    sides = {"query": unit(5, 0), "database": unit(5, 1)}
    sides[side][2, 3] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        match_descriptors(**sides)
