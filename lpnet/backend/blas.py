"""Matrix products on one thread of BLAS: lpnet's own threads do the work."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Sequence
from typing import Any

from threadpoolctl import ThreadpoolController

from .memory import ALONE, references


@functools.cache
def _blas() -> list[Any]:
    return ThreadpoolController().select(user_api="blas").lib_controllers


_blas_lock = threading.RLock()  # may be asked for again by a signal handler that computes
_blas_blocks: list[one_blas_thread] = []  # that are being run, in any thread
_blas_before: list[int] | None = None  # the numbers of threads outside of all blocks, known while there are blocks


def _settle_blas() -> None:
    """Bring BLAS to one thread if there are blocks, else back; done again, after any interruption, it ends the same."""
    global _blas_before
    # A Ctrl-C at the entry of __exit__ ends a block unseen. Whoever runs a block refers to it, so it shows here.
    _blas_blocks[:] = [b for b, n in zip(_blas_blocks, references(_blas_blocks), strict=True) if n > ALONE]
    if _blas_blocks and _blas_before is None:
        _blas_before = [library.get_num_threads() for library in _blas()]
        _set_blas([1] * len(_blas_before))
    elif not _blas_blocks and _blas_before is not None:
        _set_blas(_blas_before)
        _blas_before = None


def _set_blas(numbers: Sequence[int]) -> None:
    for library, n in zip(_blas(), numbers, strict=True):
        # threadpoolctl 3.8 lets only the first thread set the number, and ignores the others; ours take turns.
        release = getattr(library, "clear_controlling_thread", lambda force: None)
        release(force=True)
        library.set_num_threads(n)
        release(force=True)


class one_blas_thread(contextlib.ContextDecorator):
    """Matrix products in this block use one thread: ours do the work, and sums never depend on how many there are.

    The number is the process's: the first block of any thread sets it, the last to be left restores it.
    """

    def _recreate_cm(self) -> one_blas_thread:  # each call of a decorated function is a block of its own
        return type(self)()

    def __enter__(self) -> None:
        self.thread = threading.get_ident()
        try:
            with _blas_lock:
                _blas_blocks.append(self)
                _settle_blas()
        except BaseException:  # a Ctrl-C: the block is not run
            self._leave()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._leave()
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        with _blas_lock:
            if self in _blas_blocks:  # and with it those within it that a Ctrl-C ended
                i = _blas_blocks.index(self)
                _blas_blocks[i:] = [block for block in _blas_blocks[i:] if block.thread != self.thread]
            _settle_blas()


def _after_fork() -> None:
    """Forget in a child process the blocks of its parent's other threads: they do not run here."""
    global _blas_lock
    _blas_lock = threading.RLock()
    _blas_blocks[:] = [block for block in _blas_blocks if block.thread == threading.get_ident()]
    _settle_blas()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)
