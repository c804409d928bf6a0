"""Archives unpack into their folder and nowhere else."""

import io
import stat
import tarfile
import zipfile

import pytest

from retrieval_bench.data.unpacking import unpack
from retrieval_bench.settings.errors import InputError

FILES = {"paris/eiffel/a.jpg": b"A" * 1000, "./b.jpg": b"BB", "readme.txt": b"no image"}


def images(path):
    return path.name if path.suffix == ".jpg" else None


def tar(path, files, mode="w:gz", odd=None):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if odd is not None:
            archive.addfile(odd)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_are_flattened_and_chosen_from(tmp_path, mode):
    archive = tar(tmp_path / "a.tgz", FILES, mode)
    assert unpack(archive, tmp_path / "out", images) == ["a.jpg", "b.jpg"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "a.jpg": b"A" * 1000,
        "b.jpg": b"BB",
    }


def test_zip_archives_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("paris")
        for name, content in FILES.items():
            archive.writestr(name, content)
    assert unpack(tmp_path / "a.zip", tmp_path / "out", images) == ["a.jpg", "b.jpg"]
    assert (tmp_path / "out" / "a.jpg").read_bytes() == b"A" * 1000


@pytest.mark.parametrize("name", ["/etc/x.jpg", "../x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:/x.jpg"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_that_leave_are_refused(tmp_path, name, kind):
    if kind == "tar":
        archive = tar(tmp_path / "a.tar", {name: b"x"})
    else:
        archive = tmp_path / "a.zip"
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr(name, b"x")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"refused.*lies outside"):
        unpack(archive, tmp_path / "out", images)
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "out"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    odd = tarfile.TarInfo("evil.jpg")
    odd.type = kind
    odd.linkname = "/etc/passwd"
    with pytest.raises(InputError, match=r"'evil\.jpg' is a link or a device"):
        unpack(tar(tmp_path / "a.tgz", FILES, odd=odd), tmp_path / "out", images)


def test_links_in_zip_archives_are_refused(tmp_path):
    entry = zipfile.ZipInfo("evil.jpg")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "out", images)


def test_too_much_content_is_refused(tmp_path):
    archive = tar(tmp_path / "a.tgz", {"a.jpg": bytes(5000), "b.jpg": bytes(5000)})
    with pytest.raises(InputError, match="more than 6,000 bytes"):
        unpack(archive, tmp_path / "out", images, largest=6000)


def test_damaged_archives_are_input_errors(tmp_path):
    whole = tar(tmp_path / "a.tgz", {f"{i}.jpg": bytes(range(256)) * 300 for i in range(5)}).read_bytes()
    for content in (b"", b"<html>404</html>", whole[: len(whole) // 2], whole[:100] + b"!" * 50 + whole[150:]):
        (tmp_path / "b.tgz").write_bytes(content)
        with pytest.raises(InputError, match=r"b\.tgz.*fetch it again"):
            unpack(tmp_path / "b.tgz", tmp_path / "out", images)


def test_a_choice_that_leaves_the_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="plain file name"):
        unpack(tar(tmp_path / "a.tgz", FILES), tmp_path / "out", lambda path: f"../{path.name}")
