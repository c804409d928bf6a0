import pickle

import pytest
import torch
import torch.nn.functional as F

from retrieval_bench.extraction.local_store import LocalFeatureStore, shard_path, write_local_shard, write_offsets
from retrieval_bench.settings.errors import InputError
from retrieval_bench.values.local_features import LocalFeatures


def features(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return LocalFeatures(
        torch.rand(count, 2, generator=generator) * 500,
        F.normalize(torch.randn(count, 8, generator=generator), dim=1),
        torch.rand(count, generator=generator).sort(descending=True).values,
        torch.rand(count, generator=generator) + 0.25,
    )


@pytest.fixture
def written(tmp_path):
    """Six rows in two shards out of order, one without features, one left out."""
    items = {row: features(count, row) for row, count in zip((4, 0, 2, 1, 5), (7, 3, 0, 1, 12), strict=True)}
    for number, rows in enumerate(([4, 0, 2], [1, 5])):
        write_local_shard(shard_path(tmp_path, number), rows, [items[row] for row in rows], torch.float16)
    write_offsets(tmp_path, 6, 2)
    return tmp_path, items


def test_round_trip_in_list_order(written):
    folder, items = written
    store = LocalFeatureStore(folder)
    assert len(store) == 6
    assert store.counts.tolist() == [3, 1, 0, 0, 7, 12]
    for row, item in items.items():
        assert torch.equal(store[row].keypoints, item.keypoints)
        assert torch.equal(store[row].scores, item.scores)
        assert torch.equal(store[row].scales, item.scales)
        assert torch.equal(store[row].descriptors, item.descriptors.half().float())
        assert store[row].descriptors.dtype == torch.float32
    assert store[3].descriptors.shape == (0, 8)
    assert [len(item) for item in store] == store.counts.tolist()
    assert [len(item) for item in store[4:]] == [7, 12]
    assert len(store[-1]) == 12
    with pytest.raises(IndexError):
        store[6]


def test_only_the_recent_are_kept_in_memory(written):
    folder, _ = written
    store = LocalFeatureStore(folder, cached=2)
    first = store[0]
    assert store[0] is first
    assert store[1] is store[1]
    assert store[0] is first  # used after row 1, so row 1 goes first
    second = store[1]
    store[0], store[4]
    assert store[0] is first
    assert store[1] is not second


def test_store_can_be_sent_to_a_worker(written):
    folder, items = written
    store = LocalFeatureStore(folder)
    assert len(store[5]) == 12
    assert torch.equal(pickle.loads(pickle.dumps(store))[5].keypoints, items[5].keypoints)


def test_values_that_are_not_finite_are_refused(tmp_path):
    broken = features(3, 0)
    broken.keypoints[1, 0] = torch.inf
    with pytest.raises(InputError, match="keypoints that are not finite"):
        write_local_shard(shard_path(tmp_path, 0), [0], [broken], torch.float32)
    assert not shard_path(tmp_path, 0).exists()


def test_missing_or_cut_shards_are_named(written, tmp_path):
    folder, _ = written
    with pytest.raises(InputError, match=r"local_offsets.*missing or damaged"):
        LocalFeatureStore(folder / "nowhere")
    shard = shard_path(folder, 1)
    shard.write_bytes(shard.read_bytes()[:-4])
    store = LocalFeatureStore(folder)
    assert len(store[0]) == 3
    with pytest.raises(InputError, match=r"00001\.safetensors is missing or damaged"):
        store[1]
