"""Plan, prepare and verify, against a local server that holds tiny archives."""

import hashlib
import io
import pickle
import shutil
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from retrieval_bench.data import preparation
from retrieval_bench.data.download import DownloadError
from retrieval_bench.data.preparation import plan, prepare, verify
from retrieval_bench.data.sources import SOURCES, RemoteFile, Source
from retrieval_bench.settings.errors import InputError

STEMS = ["eiffel_1", "eiffel_2", "louvre_1", "louvre_2"]


def jpeg(seed, size=(64, 48)):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def archive(path, members):
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The files of a tiny rparis6k on a server; the registered source points there."""
    folder = tmp_path / "site"
    folder.mkdir()
    entry = {"bbx": [1, 2, 30, 40], "easy": [0], "hard": [1], "junk": []}
    truth = pickle.dumps({"gnd": [entry], "imlist": STEMS[:3], "qimlist": STEMS[3:]})
    (folder / "gnd_rparis6k.pkl").write_bytes(truth)
    images = {f"paris/{stem.split('_')[0]}/{stem}.jpg": jpeg(i, (1024, 8)) for i, stem in enumerate(STEMS)}
    names = list(images)
    corrupt = {"paris/louvre/louvre_9.jpg": b"corrupt in the original"}
    archive(folder / "one.tgz", {name: images[name] for name in names[:2]})
    archive(folder / "two.tgz", {name: images[name] for name in names[2:]} | corrupt)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()

        def remote(name, **options):
            return RemoteFile(name, (f"http://127.0.0.1:{server.server_port}/{name}",), **options)

        digest = hashlib.sha256(truth).hexdigest()
        annotation = remote("gnd_rparis6k.pkl", size=len(truth), sha256=digest)
        packed = (remote("one.tgz", about=10_000), remote("two.tgz", about=10_000))
        source = Source(annotation, {"v1-blurred": packed, "original": packed}, queries=1, database=3)
        monkeypatch.setitem(SOURCES, "rparis6k", source)
        yield folder
        server.shutdown()


def test_prepare_fetches_unpacks_and_loads(site, tmp_path):
    root = tmp_path / "data" / "rparis6k"
    assert [fetch.present for fetch in plan("rparis6k", root)] == [False] * 3
    told = []
    dataset = prepare("rparis6k", root, report=lambda name: lambda done, total: told.append((name, done, total)))
    assert sorted(path.name for path in (root / "jpg").iterdir()) == [f"{stem}.jpg" for stem in STEMS]
    assert sorted(path.name for path in root.iterdir()) == ["gnd_rparis6k.pkl", "jpg", "prepared.json"]
    assert dataset.facts["images"] == "blurred faces (2022)"
    assert dataset.facts["ground_truth"] == "official file"
    assert {name for name, _, _ in told} == {"gnd_rparis6k.pkl", "one.tgz", "two.tgz"}
    assert all(fetch.present for fetch in plan("rparis6k", root))
    report = verify("rparis6k", root)
    assert report.ok
    assert (report.queries, report.database, report.notes) == (1, 3, [])
    shutil.rmtree(site)
    assert len(prepare("rparis6k", root).database) == 3


def test_prepare_goes_on_where_it_stopped(site, tmp_path):
    root = tmp_path / "rparis6k"
    (site / "two.tgz").rename(site / "hidden")
    with pytest.raises(DownloadError, match=r"two\.tgz"):
        prepare("rparis6k", root)
    assert not (root / "jpg").exists()
    (site / "one.tgz").rename(site / "gone")
    (site / "hidden").rename(site / "two.tgz")
    (root / "jpg.partial").mkdir()
    (root / "jpg.partial" / "eiffel_1.jpg").write_bytes(b"half")
    assert [fetch.present for fetch in plan("rparis6k", root)] == [True, True, False]
    prepare("rparis6k", root, keep_archives=True)
    assert verify("rparis6k", root).ok
    assert not (root / "jpg.partial").exists()
    assert len(list((root / "archives").iterdir())) == 2


def test_an_archive_without_the_images_is_named(site, tmp_path):
    archive(site / "two.tgz", {"paris/other.jpg": jpeg(0)})
    with pytest.raises(InputError, match=r"two\.tgz: 2 images of rparis6k are not inside, louvre_1 first"):
        prepare("rparis6k", tmp_path / "rparis6k")
    assert not (tmp_path / "rparis6k" / "jpg").exists()


def test_releases_do_not_mix(site, tmp_path):
    prepare("rparis6k", tmp_path)
    with pytest.raises(InputError, match="holds the release 'v1-blurred'"):
        prepare("rparis6k", tmp_path, release="original")
    with pytest.raises(InputError, match="did you mean 'original'"):
        prepare("rparis6k", tmp_path, release="orginal")


def test_too_little_disk_is_said_beforehand(site, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=39_000)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="GB free"):
        prepare("rparis6k", tmp_path / "new")


def test_verify_lists_every_problem(site, tmp_path):
    prepare("rparis6k", tmp_path)
    (tmp_path / "jpg" / "eiffel_2.jpg").write_bytes(b"<html>")
    (tmp_path / "jpg" / "louvre_2.jpg").write_bytes(b"")
    (tmp_path / "jpg" / "louvre_1.jpg").write_bytes(jpeg(0))
    report = verify("rparis6k", tmp_path)
    assert not report.ok
    assert len(report.problems) == 2
    assert any("eiffel_2.jpg" in problem for problem in report.problems)
    assert any("louvre_2.jpg" in problem for problem in report.problems)
    assert any("louvre_1.jpg first" in note and "1024" in note for note in report.notes)
    (tmp_path / "jpg" / "eiffel_1.jpg").unlink()
    (tmp_path / "jpg" / "eiffel_2.jpg").unlink()
    assert verify("rparis6k", tmp_path).problems == [
        f"{tmp_path / 'jpg' / stem}.jpg is missing" for stem in ("eiffel_1", "eiffel_2")
    ]


def test_verify_notes_ground_truth_of_another_origin(site, tmp_path):
    prepare("rparis6k", tmp_path)
    content = pickle.loads((tmp_path / "gnd_rparis6k.pkl").read_bytes())
    (tmp_path / "gnd_rparis6k.pkl").write_bytes(pickle.dumps(content, protocol=2))
    report = verify("rparis6k", tmp_path)
    assert report.ok
    assert any("not the official file" in note for note in report.notes)
    prepare("rparis6k", tmp_path)
    (tmp_path / "gnd_rparis6k.pkl").write_bytes(b"broken")
    assert "gnd_rparis6k.pkl" in verify("rparis6k", tmp_path).problems[0]


def test_datasets_of_ones_own_are_verified_too(tmp_path, save_image):
    for i in range(4):
        save_image(tmp_path / "ab"[i % 2] / f"{i}.png", seed=i)
    assert plan("folder", tmp_path) == []
    assert len(prepare("folder", tmp_path).database) == 4
    assert verify("folder", tmp_path).ok
    (tmp_path / "a" / "0.png").write_bytes(b"no")
    assert "0.png" in verify("folder", tmp_path).problems[0]
    assert "missing.csv" in verify("folder", tmp_path, csv="missing.csv").problems[0]
    assert "data prepare roxford5k" in verify("roxford5k", tmp_path).problems[0]


def test_unknown_names_and_options_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="did you mean 'roxford5k'"):
        plan("roxford", tmp_path)
    with pytest.raises(InputError, match="no option 'colour'"):
        verify("folder", tmp_path, colour=1)
