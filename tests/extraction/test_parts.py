import pytest
import torch

from retrieval_bench.extraction.local_store import shard_path, write_local_shard
from retrieval_bench.extraction.parts import gather, part_path, read_finished, remove_parts, write_part
from retrieval_bench.values.local_features import LocalFeatures


@pytest.fixture
def folder(tmp_path):
    """Three parts of ten rows; row 4 was skipped."""
    for number, rows in enumerate(([0, 3, 6, 9], [1, 7], [2, 5, 8])):
        values = torch.tensor(rows, dtype=torch.float32)[:, None].expand(-1, 2).contiguous()
        write_part(tmp_path, number, rows, values, [(4, "broken")] if number == 1 else [], 1.5)
    return tmp_path


def test_parts_add_up(folder):
    found = read_finished(folder, local=False)
    assert found.parts == 3
    assert found.rows == [0, 3, 6, 9, 1, 7, 2, 5, 8]
    assert found.skipped == [(4, "broken")]
    assert found.seconds == 4.5
    block = torch.full((5, 2), torch.nan)
    gather(folder, 3, 3, block)
    assert block[:, 0].tolist() == pytest.approx([3, torch.nan, 5, 6, 7], nan_ok=True)


def test_what_follows_a_missing_or_damaged_part_goes(folder):
    stray = part_path(folder, 2).with_name("00003.safetensors.77.partial")
    stray.touch()
    part_path(folder, 1).write_bytes(b"cut")
    assert read_finished(folder, local=False).rows == [0, 3, 6, 9]
    assert [path.name for path in (folder / "parts").iterdir()] == ["00000.safetensors"]


def test_a_part_counts_only_with_its_local_features(folder):
    item = LocalFeatures(torch.zeros(1, 2), torch.ones(1, 4), torch.ones(1), torch.ones(1))
    write_local_shard(shard_path(folder, 0), [0, 3, 6, 9], [item] * 4, torch.float32)
    write_local_shard(shard_path(folder, 1), [1, 8], [item] * 2, torch.float32)
    assert read_finished(folder, local=True).parts == 1
    assert not shard_path(folder, 1).exists()


def test_nothing_there_is_nothing_finished(tmp_path):
    assert read_finished(tmp_path, local=True).parts == 0
    remove_parts(tmp_path)
