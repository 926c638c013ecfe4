"""Downloads: into a temporary file of the same folder, checked, then renamed; a failure leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from ..files import atomic_write
from ..progress import Bar, say

CHUNK = 1 << 18  # bytes
TIMEOUT = 30  # seconds without an answer
SLOWEST = 20_000  # bytes a second: who sends fewer is given up, however steadily they come


class DownloadError(OSError):
    """An address gave no file, or not the whole file, or not the right one."""


def fetch(address: str, target: Path, check: Callable[[Path], None], size: int) -> None:
    """Download `address` to `target`; `check(path)` raises ValueError when the file is not the right one.

    Raises DownloadError when the address is at fault: also when more comes than `size` bytes compressed can take, when
    it takes longer than at SLOWEST, or when https leads to http. Raises OSError when the folder cannot be written or
    the disk is full.
    """
    try:
        with _folder(target.parent), atomic_write(target) as file:
            _receive(address, file, size + size // 1000 + 1000)  # gzip adds that little to what it cannot compress
            file.flush()
            _checked(address, Path(file.name), check)
    except DownloadError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        advice = "make room there or set XDG_CACHE_HOME to another folder"
        raise OSError(f"cannot write {target}: {reason}; {advice}") from error


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder, and on failure take away again whatever of it was not there before."""
    new = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # somebody else has put something in
            for folder in new:
                folder.rmdir()
        raise


def _receive(address: str, file: IO[bytes], limit: int) -> None:
    """Copy the answer of `address` into `file`; errors of the network become a DownloadError, those of `file` stay."""
    deadline = time.monotonic() + TIMEOUT + limit / SLOWEST
    with contextlib.ExitStack() as stack:
        with _blaming(address):
            response = stack.enter_context(urllib.request.urlopen(address, timeout=TIMEOUT))
            _check_scheme(address, response.geturl())
            total = int(response.headers.get("Content-Length") or 0)
            _check_progress(total, limit, deadline)
        bar = stack.enter_context(Bar(total or None, title=address.rsplit("/", 1)[-1], unit="B"))
        if not bar.shown:
            say(f"downloading {address}")
        received = 0
        while True:
            with _blaming(address):
                chunk = response.read1(CHUNK)  # what is there: `read` waits for a whole chunk, drop by drop
                _check_progress(received + len(chunk), limit, deadline)
            if not chunk:
                break
            file.write(chunk)
            received += len(chunk)
            bar.advance(len(chunk))
    if total and received != total:
        raise DownloadError(f"{address} (only {received} of {total} bytes came)")


@contextlib.contextmanager
def _blaming(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{address} ({reason})") from error


def _check_scheme(asked: str, found: str) -> None:
    if asked.startswith("https:") and not found.startswith("https:"):
        raise ValueError(f"it leads to {found}, which is not https")


def _check_progress(count: int, limit: int, deadline: float) -> None:
    if count > limit:
        raise ValueError(f"{count} bytes or more, the published file has at most {limit}")
    if time.monotonic() > deadline:
        raise ValueError(f"too slow, fewer than {SLOWEST} bytes a second")


def _checked(address: str, path: Path, check: Callable[[Path], None]) -> None:
    try:
        check(path)
    except ValueError as error:
        raise DownloadError(f"{address} (what came is not the published file)") from error
