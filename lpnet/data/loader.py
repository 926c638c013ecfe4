"""Batches by position: (seed, epoch) gives the order of the samples, (seed, epoch, batch) the augmentation.

Nothing sequential is drawn, so that three integers are the whole state. Order: a Philox generator with key (seed, 2)
and counter (0, epoch, 0, 0). Augmentation: key (seed, 3) and counter (0, epoch, batch, 0). Second key words 0 and 1
belong to rounding and initial weights (lpnet/random.py), so the streams of one seed never meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from .. import random
from ..backend import choose_device, to_device
from ..validate import flag, integer
from .datasets import Dataset
from .transforms import Transform, compose

_ORDER, _AUGMENT = 2, 3  # second key words
_LAST = 2**64 - 1  # of seeds and epochs


class DataLoader:
    """Iterate over a data set in batches (x float32, y); one full `for` loop is one epoch.

    Parameters
    ----------
    dataset : Dataset or pair of arrays
        Of a Dataset x is (n, C, H, W), scaled, transformed, then normalised by its mean and std; y is (n,) int64.
        Or a pair of arrays (x, y) of one length: x is given as float32; y as int64 when integer, else as float32.
    batch_size : int
        Samples a batch; the last batch of an epoch may have fewer.
    shuffle : bool
        A new order each epoch, else the data set's own.
    seed : int
        In [0, 2^64), for order and augmentation.
    transform : function or tuple of functions, optional
        Each (x, rng) -> x, one after the other.
    drop_last : bool
        Leave out a last batch that is not full.
    device : str
        Where the batches go, "cpu" or "cuda"; `lpnet.fit` and `evaluate` move them to where the model is anyway.

    Raises
    ------
    ValueError
        An argument does not fit, or no batch would come.
    RuntimeError
        "cuda" cannot be had.

    Notes
    -----
    `state_dict()` taken in the loop's body counts the batch the body has just received as consumed. After
    `load_state_dict` the next `for` goes on with the very next batch of that epoch (with none when the state was taken
    after the last one), and later epochs follow as if never interrupted. In any other case a `for` starts at the
    beginning of the current epoch, and the epoch counts up only when its loop comes to its end: leaving a loop by
    `break` and looping again gives the same batches again. Set `loader.epoch` to go to another epoch. A pass made for
    another purpose (evaluation, `update_bn`) wants a loader of its own, or it moves the position of the training.
    `lpnet.manual_seed` sends every loader back to the beginning of epoch 0 (and leaves `seed` as it is), so that a
    program that seeds gives the same run whatever the loader was used for before.
    """

    def __init__(
        self,
        dataset: Dataset | tuple[np.ndarray, np.ndarray],
        batch_size: int = 128,
        shuffle: bool = False,
        seed: int = 0,
        transform: Transform | tuple[Transform, ...] | None = None,
        drop_last: bool = False,
        device: str = "cpu",
    ) -> None:
        self.dataset = dataset if isinstance(dataset, Dataset) else _as_pair(dataset)
        self.batch_size = integer("DataLoader", "batch_size", batch_size, 1)
        self.seed = integer("DataLoader", "seed", seed, 0, _LAST)
        self.shuffle = flag("DataLoader", "shuffle", shuffle)
        self.drop_last = flag("DataLoader", "drop_last", drop_last)
        self.device = choose_device(device)
        self.transform = _one_transform(transform)
        self._seek(0, 0)
        if not len(self):
            wanted = f"batch_size {batch_size} with drop_last={drop_last}"
            raise ValueError(f"DataLoader: {self._samples} samples give no batch, {wanted}")

    @property
    def _samples(self) -> int:
        return len(self.dataset if isinstance(self.dataset, Dataset) else self.dataset[1])

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(self._samples, self.batch_size)
        return full + bool(rest and not self.drop_last)

    def _seek(self, epoch: int, batch: int, resume: bool = False) -> None:
        """Set the position; with `resume` the next loop goes on at `batch`."""
        self._epoch, self._batch, self._resume, self._seed_calls = epoch, batch, resume, random.seed_calls

    def _check_reseeded(self) -> None:
        """Go back to the beginning if this thread called `manual_seed` since the position was set."""
        if self._seed_calls < random.thread_stream().seed_call:
            self._seek(0, 0)

    @property
    def epoch(self) -> int:
        """How many epochs are finished; set it to go to the beginning of another one."""
        self._check_reseeded()
        return self._epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._seek(integer("DataLoader", "epoch", value, 0, _LAST), 0)

    @property
    def batch(self) -> int:
        """How many batches of the current epoch were handed out."""
        self._check_reseeded()
        return self._batch

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        epoch, start = self.epoch, self.batch if self._resume else 0
        self._resume = False
        order = self.order(epoch)
        for batch in range(start, len(self)):
            index = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            x, y = self._take(index, epoch, batch)
            xy = to_device(x, self.device), to_device(y, self.device)
            self._seek(epoch, batch + 1)
            yield xy
        self._seek(epoch + 1, 0)

    def order(self, epoch: int) -> np.ndarray:
        """Return the indices of the samples in the order of that epoch, (N,) int64."""
        if not self.shuffle:
            return np.arange(self._samples)
        # Sorting raw words, as NumPy promises the same raw words for ever but not the same permutation().
        words = _philox(self.seed, _ORDER, epoch).random_raw(self._samples)
        return np.argsort(words, kind="stable")

    def _take(self, index: np.ndarray, epoch: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one batch: chosen, scaled, transformed, normalised."""
        if not isinstance(self.dataset, Dataset):
            x, y = self.dataset
            return self._transformed(x[index], epoch, batch), y[index]
        x = self._transformed(self.dataset.scaled(index), epoch, batch)
        return self.dataset.normalize(x), self.dataset.labels[index]

    def _transformed(self, x: np.ndarray, epoch: int, batch: int) -> np.ndarray:
        if self.transform is None:
            return x
        rng = np.random.Generator(_philox(self.seed, _AUGMENT, epoch, batch))
        return np.asarray(self.transform(x, rng), np.float32)

    def _settings(self) -> dict[str, int]:
        """Return what a position means nothing without."""
        return {
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "length": self._samples,
        }

    def state_dict(self) -> dict[str, int]:
        """Return the position (seed, epoch, how many batches of it were consumed), and the settings it belongs to."""
        return {"seed": self.seed, "epoch": self.epoch, "batch": self.batch, **self._settings()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to the position that `state_dict` returned; the next loop goes on there.

        Raises ValueError when it is not a position of this loader, or of one with another batch_size, shuffle,
        drop_last or length; the loader is then as it was. A state of an earlier version, without these, is taken.
        """
        if not isinstance(state, Mapping):
            raise ValueError(f"DataLoader: the state must be a dictionary, got {type(state).__name__}")
        missing = [key for key in ("seed", "epoch", "batch") if key not in state]
        if missing:
            raise ValueError(f"DataLoader: the state has no {', '.join(missing)}")
        seed = integer("DataLoader", "seed", state["seed"], 0, _LAST)
        for key, mine in self._settings().items():
            if state.get(key, mine) != mine:
                raise ValueError(f"DataLoader: the state was made with {key} {state[key]}, this loader has {mine}")
        epoch = integer("DataLoader", "epoch", state["epoch"], 0, _LAST)
        batch = integer("DataLoader", "batch", state["batch"], 0, len(self))
        self.seed = seed
        self._seek(epoch, batch, resume=True)


def _philox(seed: int, purpose: int, epoch: int, batch: int = 0) -> np.random.Philox:
    key, counter = np.array([seed, purpose], np.uint64), np.array([0, epoch, batch, 0], np.uint64)
    return np.random.Philox(key=key, counter=counter)


def _one_transform(transform: Transform | tuple[Transform, ...] | None) -> Transform | None:
    if transform is None:
        return None
    return compose(*transform) if isinstance(transform, tuple | list) else compose(transform)


def _as_pair(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y) as float32 and int64 (or float32) arrays of one length."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"DataLoader: dataset must be a Dataset or a pair (x, y), got {type(pair).__name__}")
    if isinstance(pair[0], tuple) or (isinstance(pair, list) and not all(isinstance(a, np.ndarray) for a in pair)):
        raise ValueError("DataLoader: dataset must be a Dataset or a pair of arrays (x, y), got samples in a list")
    x, y = (_as_array(a, name) for a, name in zip(pair, "xy", strict=True))
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise ValueError(f"DataLoader: x {x.shape} and y {y.shape} must have the same length")
    if x.dtype.kind not in "biuf" or y.dtype.kind not in "biuf":
        raise ValueError(f"DataLoader: x and y must be numbers, got {x.dtype} and {y.dtype}")
    if y.dtype.kind == "u" and len(y) and y.max() > np.iinfo(np.int64).max:
        raise ValueError(f"DataLoader: y must be below 2^63, got {y.max()}")
    return x.astype(np.float32, copy=False), y.astype(np.float32 if y.dtype.kind == "f" else np.int64, copy=False)


def _as_array(values: object, name: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"DataLoader: {name} must be an array, got samples of different shapes") from error
