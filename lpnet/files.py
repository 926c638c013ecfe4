"""Files that are whole or not there, and files that one owner holds at a time."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM)  # from systems that do not synchronise folders
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # from those that do not lock
_count = itertools.count()  # of temporary files: two of one name at a time must not meet


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file that takes the place of `path` when the block ends, and vanishes if it fails.

    Raises OSError naming `path` if it cannot be written.
    """
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()  # the link stays, and what it points to is written
    temporary = path.with_name(f".tmp-{os.getpid()}-{next(_count)}-{path.name}")  # the suffix last: readers go by it
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            # without a number it is no fault of the disk, but a sentence of whoever writes
            raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}") from error
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that were killed while they wrote to `folder`, which none does now."""
    for left in folder.glob(".tmp-*"):
        if not left.name.startswith(f".tmp-{os.getpid()}-"):
            left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have the renaming itself survive a power failure, where the system lets folders be synchronised."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


class Lock:
    """A file that one owner holds at a time; the system lets go of it when the process ends, however it does.

    Raises RuntimeError if another owner, in this process or another, has it. Where the file system has no locks, no
    one is kept out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(self.descriptor)
            held = os.path.samestat(os.fstat(self.descriptor), os.stat(path))  # else its last owner has deleted it
        except OSError as error:
            os.close(self.descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.ENOENT):
                raise
            held = False
        else:
            if not held:
                os.close(self.descriptor)
        if not held:
            raise RuntimeError(f"{path.parent}: another run is at work in this folder; wait, or choose another one")

    def release(self) -> None:
        """Let go of the file, and delete it."""
        if os.name == "posix":  # first: whoever opened it meanwhile finds that it is no longer there
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file, or raise OSError if it is locked."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def foreign(path: str | os.PathLike[str]) -> str:
    """Return a sentence on whose file this is and what to do with it, empty for one that lpnet does not know."""
    with open(path, "rb") as file:
        head = file.read(256)
    if head[:1] == b"\x80" or (head[:2] == b"PK" and b"/data.pkl" in head):  # bare, or first in an archive
        return (
            "a pickle, as torch.save makes, which may run code and is not read; in PyTorch, write "
            "safetensors.torch.save_file(model.state_dict(), file), then lpnet.interop.safetensors.load(file)"
        )
    if head[8:9] == b"{":
        return "a safetensors file: lpnet.interop.safetensors.load(file) gives what model.load_state_dict takes"
    return ""
