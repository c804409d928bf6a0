"""One file over HTTP: resumed where it stopped, checked against its size and digest, in place only when whole."""

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes there will be (None where the server does not say)."""

_CHUNK = 1 << 18
_RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}


class DownloadError(RuntimeError):
    """A file could not be fetched, or is not the one expected. What has arrived stays in ``<target>.part``."""


class _BrokenOffError(Exception):
    """A transfer that may be taken up again."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    attempts: int = 5,
    timeout: float = 30.0,
    pause: float = 1.0,
    progress: Progress | None = None,
) -> Path:
    """Fetch a file to `target`.

    A file that is there already is kept if its size and digest are right, and fetched again otherwise. Bytes arrive in
    ``<target>.part``; a later call goes on behind them if the server still has the same file (``If-Range``), and
    begins anew otherwise. The last step moves the whole, checked file into place.

    Args:
        urls: the same file at one or several places, tried in turn.
        size: exact bytes, where known.
        sha256: hexadecimal digest, where known.
        attempts: per address, for failures that may pass.
        timeout: seconds without a byte.
        pause: seconds before the second attempt; doubled for every further one.
        progress: told about the bytes.

    Returns:
        `target`.

    Raises:
        DownloadError: no address gave the file, or the file is not the expected one.
    """
    if target.is_file() and _mismatch(target, size, sha256) is None:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failures = []
    for url in urls:
        if urlsplit(url).scheme not in ("http", "https"):
            raise DownloadError(f"{url} is not an http or https address")
        for attempt in range(attempts):
            if attempt:
                time.sleep(pause * 2 ** (attempt - 1))
            resumed = part.is_file() and part.stat().st_size > 0
            try:
                _fetch(url, part, timeout, progress)
            except _BrokenOffError as error:
                failures.append(f"{url}: {error}")
                continue
            except urllib.error.HTTPError as error:
                failures.append(f"{url}: the server answers {error.code} {error.reason}")
                if error.code in _RETRIED_STATUS:
                    continue
                break
            wrong = _mismatch(part, size, sha256)
            if wrong is None:
                part.replace(target)
                _note(part).unlink(missing_ok=True)
                return target
            failures.append(f"{url}: {wrong}")
            _discard(part)
            if not resumed:
                break
    raise DownloadError(f"{target.name} could not be fetched: {failures[-1] if failures else 'no address is given'}")


def _fetch(url: str, part: Path, timeout: float, progress: Progress | None) -> None:
    """Complete `part` from one address."""
    have = part.stat().st_size if part.is_file() else 0
    validator = _validator(part, url) if have else None
    if have and validator is None:
        _discard(part)
        have = 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "retrieval-bench"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            if answer.status == 206:
                start, total = _content_range(answer.headers.get("Content-Range", ""))
                if start != have:
                    _discard(part)
                    raise _BrokenOffError("the server answers with another range than asked for")
            else:
                have, total = 0, _whole(answer.headers.get("Content-Length"))
                _remember(part, url, answer.headers)
            _receive(answer, part, have, total, progress)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        _discard(part)
        raise _BrokenOffError("the partial file is longer than the server's") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _BrokenOffError(f"the connection broke off ({reason or type(error).__name__})") from error


def _receive(answer: Any, part: Path, have: int, total: int | None, progress: Progress | None) -> None:
    with part.open("r+b" if have else "wb") as file:
        file.seek(have)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            have += len(chunk)
            if progress is not None:
                progress(have, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and have < total:
        raise _BrokenOffError(f"{have:,} of {total:,} bytes arrived")


def _mismatch(path: Path, size: int | None, sha256: str | None) -> str | None:
    """Why a file is not the expected one; None if it is."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"it has {found:,} bytes, expected {size:,}"
    if sha256 is None:
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return None if digest == sha256 else f"its sha256 is {digest}, expected {sha256}"


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(part: Path, url: str, headers: Any) -> None:
    """Keep what tells later whether the server's file is still the same one."""
    etag = headers.get("ETag")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
    _note(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _validator(part: Path, url: str) -> str | None:
    try:
        note = json.loads(_note(part).read_text(encoding="utf-8"))
        return note["validator"] if note["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _content_range(value: str) -> tuple[int, int | None]:
    span, _, total = value.removeprefix("bytes ").partition("/")
    start = span.partition("-")[0]
    return (int(start) if start.isdigit() else -1), _whole(total)


def _whole(value: str | None) -> int | None:
    return int(value) if value and value.isdigit() else None
