"""Downloads against a local server: resumed, checked, whole or not there."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from retrieval_bench.data.download import DownloadError, download

CONTENT = np.random.default_rng(0).bytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """A file server whose faults are set by the test.

    Attributes:
        ranges: whether Range is honoured.
        etag: the validator it sends.
        cuts: bytes after which each of the next answers breaks off.
        statuses: status codes of the next answers.
        requests: the Range headers it was sent.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True
        self.etag = '"one"'
        self.cuts = []
        self.statuses = []
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.tgz"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append(asked)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        partial = bool(asked) and server.ranges and self.headers.get("If-Range") == server.etag
        if partial and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:] if partial else server.content
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield made
        made.shutdown()


def get(server, tmp_path, **options):
    return download([server.url], tmp_path / "d" / "file.tgz", pause=0.01, **options)


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "d").iterdir())


def test_a_file_arrives_whole_and_alone(server, tmp_path):
    told = []
    path = get(server, tmp_path, size=len(CONTENT), sha256=SHA256, progress=lambda *state: told.append(state))
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == ["file.tgz"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    get(server, tmp_path, sha256=SHA256)
    get(server, tmp_path, sha256=SHA256)
    assert len(server.requests) == 1


def test_what_is_there_and_wrong_is_fetched_again(server, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file.tgz").write_bytes(b"old")
    assert get(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT


def test_a_broken_transfer_goes_on_behind_its_bytes(server, tmp_path):
    server.cuts = [400_000, 300_000]
    assert get(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=400000-", "bytes=700000-"]


def test_a_later_call_goes_on_too(server, tmp_path):
    server.cuts = [400_000, 300_000]
    with pytest.raises(DownloadError, match="700,000 of 1,500,000 bytes"):
        get(server, tmp_path, attempts=2)
    assert left(tmp_path) == ["file.tgz.part", "file.tgz.part.json"]
    assert get(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=700000-"


def test_an_interrupt_keeps_the_bytes(server, tmp_path):
    def interrupt(done, total):
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path, progress=interrupt)
    assert (tmp_path / "d" / "file.tgz.part").stat().st_size > 500_000
    assert not (tmp_path / "d" / "file.tgz").exists()
    assert get(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert server.requests[-1].startswith("bytes=5")


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    server.cuts = [400_000]
    assert get(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=400000-"]


def test_a_file_changed_on_the_server_starts_over(server, tmp_path):
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(server, tmp_path, attempts=1)
    server.etag = '"two"'
    server.content = CONTENT[::-1]
    assert get(server, tmp_path).read_bytes() == CONTENT[::-1]


def test_without_a_validator_nothing_is_resumed(server, tmp_path):
    server.etag = None
    server.cuts = [400_000]
    assert get(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert server.requests == [None, None]


def test_a_wrong_digest_leaves_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match=f"sha256 is {SHA256}, expected 00"):
        get(server, tmp_path, sha256="0" * 64)
    assert left(tmp_path) == []
    assert len(server.requests) == 1
    with pytest.raises(DownloadError, match="1,500,000 bytes, expected 7"):
        get(server, tmp_path, size=7)


def test_a_resumed_file_with_a_wrong_digest_is_fetched_once_more(server, tmp_path):
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(server, tmp_path, attempts=1)
    part = tmp_path / "d" / "file.tgz.part"
    part.write_bytes(b"x" * 400_000)
    assert get(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_starts_over(server, tmp_path):
    server.cuts = [400_000]
    with pytest.raises(DownloadError):
        get(server, tmp_path, attempts=1)
    (tmp_path / "d" / "file.tgz.part").write_bytes(b"x" * 1_600_000)
    assert get(server, tmp_path, sha256=SHA256).read_bytes() == CONTENT


def test_passing_failures_are_retried_a_bounded_number_of_times(server, tmp_path):
    server.statuses = [503, 429]
    assert get(server, tmp_path).read_bytes() == CONTENT
    server.statuses = [500] * 10
    with pytest.raises(DownloadError, match="500"):
        download([server.url], tmp_path / "other", attempts=3, pause=0.01)
    assert len(server.statuses) == 7


def test_a_missing_file_is_not_retried_but_the_mirror_is_tried(server, tmp_path):
    server.statuses = [404]
    path = download([server.url, server.url + "?mirror"], tmp_path / "file", pause=0.01)
    assert path.read_bytes() == CONTENT
    server.statuses = [404]
    with pytest.raises(DownloadError, match=r"file2 could not be fetched: .*404"):
        download([server.url], tmp_path / "file2", pause=0.01)
    assert not (tmp_path / "file2").exists()


def test_no_server_is_one_clear_line(tmp_path):
    with pytest.raises(DownloadError) as caught:
        download(["http://127.0.0.1:9/x"], tmp_path / "x", attempts=2, pause=0.01)
    assert "127.0.0.1:9" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd"])
def test_other_schemes_are_refused(tmp_path, url):
    with pytest.raises(DownloadError, match="not an http"):
        download([url], tmp_path / "x")
