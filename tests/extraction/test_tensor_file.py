import pytest
import torch

from retrieval_bench.extraction.tensor_file import open_tensors, write_tensors


def test_round_trip_and_same_bytes(tmp_path):
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.arange(4, dtype=torch.int64)}
    write_tensors(tmp_path / "folder" / "one", tensors)
    write_tensors(tmp_path / "two", dict(reversed(tensors.items())))
    assert (tmp_path / "folder" / "one").read_bytes() == (tmp_path / "two").read_bytes()
    opened = open_tensors(tmp_path / "two")
    assert all(torch.equal(opened.get_tensor(name), tensor) for name, tensor in tensors.items())


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_tensors(path, {"a": torch.zeros(2)})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="contiguous"):
        write_tensors(path, {"a": torch.zeros(2, 3).t()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 4, 30, -1])
def test_file_that_is_not_whole_does_not_open(tmp_path, kept):
    path = tmp_path / "file"
    write_tensors(path, {"a": torch.zeros(20)})
    path.write_bytes(path.read_bytes()[:kept])
    assert open_tensors(path) is None
    assert open_tensors(tmp_path / "missing") is None
