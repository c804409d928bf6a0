import json
import pickle

import numpy as np
import pytest
import torch

from retrieval_bench.extraction.extract import extract_to_store
from retrieval_bench.extraction.store import DescriptorStore
from retrieval_bench.settings.errors import InputError

QUIET = {"progress": False, "accelerator": "cpu"}


@pytest.fixture
def sharded(images, make_model, tmp_path, monkeypatch):
    """A float16 store of shards of six rows, and the float32 values it was made from."""
    exact = extract_to_store(make_model(), images, tmp_path / "exact", dtype="float32", **QUIET)
    monkeypatch.setattr("retrieval_bench.extraction.finishing.SHARD_BYTES", 6 * 16 * 2)
    return extract_to_store(make_model(), images, tmp_path / "half", **QUIET), exact.tensor()


def test_float16_rounds_and_nothing_else(sharded):
    store, exact = sharded
    assert len(list(store.folder.glob("descriptors-*"))) == 4
    assert store.shape == (20, 16)
    assert len(store) == 20
    assert torch.equal(store.tensor(), exact.half().float())
    assert (store.tensor() - exact).abs().max() <= 2**-11


def test_slices_rows_and_arrays_agree_across_shards(sharded):
    store, exact = sharded
    half = exact.half().float()
    for rows in (slice(0, 20), slice(4, 15), slice(None, None, 3), slice(15, 4, -2), slice(7, 7), slice(-3, None)):
        assert torch.equal(store[rows], torch.from_numpy(half.numpy()[rows].copy()))
    assert torch.equal(store[-1], half[-1])
    chosen = [19, 0, 7, 7, 12]
    assert torch.equal(store.tensor(chosen), half[chosen])
    assert torch.equal(store.tensor(torch.tensor(chosen)), half[chosen])
    assert np.array_equal(store.numpy(np.array(chosen)), half[chosen].numpy())
    assert store.tensor([]).shape == (0, 16)
    assert store.valid_rows.tolist() == list(range(20))
    with pytest.raises(IndexError):
        store[20]
    with pytest.raises(InputError, match="row 20 asked"):
        store.tensor([0, 20])


def test_reading_gives_copies(sharded):
    store, exact = sharded
    store[0:3].zero_()
    store.tensor([1]).zero_()
    assert torch.equal(store.tensor(), exact.half().float())


def test_store_can_be_sent_to_a_worker(sharded):
    store, _ = sharded
    assert torch.equal(pickle.loads(pickle.dumps(store)).tensor(), store.tensor())


def test_manifest_says_what_made_it(sharded, images, make_model):
    store, _ = sharded
    assert store.protocol == make_model().protocol
    assert store.scales == (1.0,)
    assert store.dtype == "float16"
    assert store.key == store.folder.name
    assert set(store.key_parts) >= {"weights", "images", "protocol", "code"}
    assert store.report.bytes_global == sum(path.stat().st_size for path in store.folder.glob("descriptors-*"))
    assert store.report.bytes_local == 0
    with pytest.raises(InputError, match="no local features"):
        _ = store.local_features
    assert str(images.paths[0].parent) not in (store.folder / "manifest.json").read_text()


def test_verify_finds_a_flipped_bit(sharded):
    store, _ = sharded
    store.verify()
    shard = store.folder / "descriptors-00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"00001.*sha256"):
        DescriptorStore(store.folder).verify()


def test_what_is_no_store_is_refused(sharded, tmp_path):
    store, _ = sharded
    with pytest.raises(InputError, match="no finished descriptor store"):
        DescriptorStore(tmp_path / "nowhere")
    manifest = store.folder / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"format": 99}))
    with pytest.raises(InputError, match="format 99"):
        DescriptorStore(store.folder)
    manifest.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        DescriptorStore(store.folder)
    manifest.write_text(json.dumps(content))
    (store.folder / "descriptors-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"00002\.safetensors is missing"):
        DescriptorStore(store.folder)
