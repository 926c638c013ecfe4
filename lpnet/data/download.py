"""Downloads: into a temporary file of the same folder, checked, then renamed; a failure leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 18  # bytes
TIMEOUT = 30  # seconds without an answer


class DownloadError(OSError):
    """An address gave no file, or not the whole file, or not the right one."""


def fetch(address: str, target: Path, check: Callable[[Path], None]) -> None:
    """Download `address` to `target`; `check(path)` raises ValueError when the file is not the right one.

    Raises DownloadError when the address is at fault, OSError when the folder cannot be written or the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(target) as (file, path):
            _receive(address, file)
            file.flush()
            os.fsync(file.fileno())
            _checked(address, path, check)
            os.replace(path, target)
    except DownloadError:
        raise
    except OSError as error:
        reason = f"{error.strerror or error}; make room there or set XDG_CACHE_HOME to another folder"
        raise OSError(f"cannot write {target}: {reason}") from error


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a new file beside `target`, which is gone afterwards unless it was renamed."""
    # The suffix stays last: readers go by it.
    number, name = tempfile.mkstemp(prefix=".part-", suffix="-" + target.name, dir=target.parent)
    try:
        with open(number, "wb") as file:
            yield file, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _receive(address: str, file: BinaryIO) -> None:
    """Copy the answer of `address` into `file`; errors of the network become a DownloadError, those of `file` stay."""
    with contextlib.ExitStack() as stack:
        with _blaming(address):
            response = stack.enter_context(urllib.request.urlopen(address, timeout=TIMEOUT))
            total = int(response.headers.get("Content-Length") or 0)
        advance = stack.enter_context(_progress(address, total))
        received = 0
        while True:
            with _blaming(address):
                chunk = response.read(CHUNK)
            if not chunk:
                break
            file.write(chunk)
            received += len(chunk)
            advance(len(chunk))
    if total and received != total:
        raise DownloadError(f"{address} (only {received} of {total} bytes came)")


@contextlib.contextmanager
def _blaming(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{address} ({reason})") from error


def _checked(address: str, path: Path, check: Callable[[Path], None]) -> None:
    try:
        check(path)
    except ValueError as error:
        raise DownloadError(f"{address} (what came is not the published file)") from error


@contextlib.contextmanager
def _progress(address: str, total: int) -> Iterator[Callable[[int], Any]]:
    """Yield a function to call with the number of bytes that came: tqdm's bar, or one line where tqdm is missing."""
    try:
        from tqdm import tqdm
    except ImportError:
        print(f"downloading {address}", file=sys.stderr)
        yield lambda count: None
        return
    name = address.rsplit("/", 1)[-1]
    with tqdm(desc=name, total=total or None, unit="B", unit_scale=True, disable=None) as bar:
        yield bar.update
