"""Loaders that know where they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from .evaluation import Batches


class Positioned:
    """A loader without a position of its own, with one: the batches of this epoch that were handed out."""

    def __init__(self, loader: Batches) -> None:
        self.loader, self.batch, self._skip = loader, 0, 0

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]  # TypeError where it has no length, as of any iterable

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        self.batch, self._skip = self._skip, 0
        for batch in itertools.islice(self.loader, self.batch, None):
            self.batch += 1
            yield batch
        self.batch = 0

    def state_dict(self) -> dict[str, int]:
        """Return how many batches were handed out."""
        return {"batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go there; the next loop goes on from it."""
        self._skip = self.batch = int(state["batch"])
