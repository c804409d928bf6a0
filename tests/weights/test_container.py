"""Files are told apart by their content; what is no weight file says what it is instead."""

import gzip
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from retrieval_bench.settings.errors import InputError
from retrieval_bench.weights.container import container_of

TENSORS = {"a": torch.arange(300.0)}


def test_each_container_is_known_whatever_its_name(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "a.safetensors")
    torch.save(TENSORS, tmp_path / "b", _use_new_zipfile_serialization=False)
    save_file(TENSORS, tmp_path / "c.pth")
    found = [container_of(tmp_path / name) for name in ("a.safetensors", "b", "c.pth")]
    assert found == ["torch zip", "torch pickle", "safetensors"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; fetch it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 104857600\n",
            "is a git-LFS pointer to the weights of 100 MiB, not the weights; run `git lfs pull`",
        ),
        (
            b"\n<!DOCTYPE html>\n<html><head><title>Google Drive - Virus scan\n warning</title>",
            r"is a web page \(Google Drive - Virus scan warning\), not weights; download the file itself",
        ),
        (b"\xef\xbb\xbf<HTML><body>quota exceeded", "is a web page, not weights"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "is an XML page"),
        (gzip.compress(b"weights"), "is a gzip archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"hello\nyou", "is a text file that begins 'hello you', not weights"),
        ("schöne Grüße ".encode() * 1000, "is a text file that begins 'schöne Grüße"),
        (bytes(1000), "is neither a torch nor a safetensors file"),
        (b"PK\x03\x04" + bytes(100), "is damaged or cut short at 104 bytes"),
    ],
    ids=["empty", "lfs", "web page", "upper case", "xml", "gzip", "hdf5", "text", "long text", "zeros", "cut zip"],
)
def test_what_is_no_weight_file_says_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(InputError, match=rf"w\.pth {said}") as caught:
        container_of(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def test_archives_of_other_files_are_to_be_unpacked(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.write(tmp_path / "w.pth", "w.pth")
    with tarfile.open(tmp_path / "packed.tar", "w") as packed:
        packed.add(tmp_path / "w.pth", "w.pth")
    with pytest.raises(InputError, match=r"is a zip archive of w\.pth; unpack it"):
        container_of(tmp_path / "packed.zip")
    with pytest.raises(InputError, match="is a tar archive; unpack it"):
        container_of(tmp_path / "packed.tar")


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "program.pt")
    with pytest.raises(InputError, match=r"is a TorchScript program.*save its state_dict\(\)"):
        container_of(tmp_path / "program.pt")


def test_a_flipped_bit_is_found_though_torch_reads_over_it(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    content[content.find(TENSORS["a"].numpy().tobytes()) + 500] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    assert not torch.equal(torch.load(tmp_path / "w.pth", weights_only=True)["a"], TENSORS["a"])
    with pytest.raises(InputError, match=r"is damaged: the checksum of its part .*data/0 is wrong; fetch it again"):
        container_of(tmp_path / "w.pth")


def test_a_file_saved_without_checksums_is_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(TENSORS, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert container_of(tmp_path / "w.pth") == "torch zip"


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_a_cut_zip_is_named(tmp_path: Path, share: float) -> None:
    torch.save(TENSORS, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"w\.pth is damaged or cut short at \d+ bytes .*; fetch it again"):
        container_of(tmp_path / "w.pth")
