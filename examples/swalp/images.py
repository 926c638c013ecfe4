"""Training of image classifiers in any precision: first SGD, then, from the same weights, averaging.

The protocol is one for all methods. SGD spends the whole budget of epochs under its schedule; SWA and SWALP spend the
same budget, of which the averaging phase is a part. Errors are measured on the test set once a phase has ended, with
exact activations and with those of the training, BatchNorm's statistics estimated anew each time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np

from .. import random
from ..data import DataLoader, Dataset, load, parts, random_crop, random_flip, random_resized_crop, statistics
from ..nn import BatchNorm2d, Module, lower
from ..optim import SGD, SWALP, LossScaler, constant_schedule, swalp_schedule, update_bn
from ..optim.schedules import Schedule, step_schedule
from ..precision import EXACT, Precision, Quantizer
from ..training import evaluate, fit
from .experiment import Context, Result, Results
from .networks import network
from .report import BySeed

IMAGENET = "imagenet"
Errors = dict[str, float]  # in per cent: "float", with exact activations, and "as trained"


@dataclass(frozen=True)
class Average:
    """One average that is kept of a training."""

    name: str
    cycle: int | None = None  # steps; None: an epoch
    fmt: str | None = None  # of the average itself; None: float
    rounding: str = "nearest"


@dataclass(frozen=True)
class Training:
    """One training: all that its result depends on beside the seed."""

    data: str
    network: str
    epochs: int
    start: int  # epochs of SGD before averaging; all: there is no averaging
    lr: float
    swa_lr: float  # while averaging
    weight_decay: float
    batch: int = 128
    momentum: float = 0.9
    crop: int = 1  # pixels by which images are padded and moved
    size: int | None = None  # of windows of random place, area and shape, in place of `crop`; tests see the middle
    flip: bool = False
    images: int | None = None  # the first so many; None: all
    tested: int | None = None  # the first so many test images; None: all
    pool: int = 1  # by which width and height of the images are divided
    steps: bool = False  # SGD's rate falls to a tenth after each third; else as in the paper's code
    precision: Precision = EXACT
    loss_scale: float = 1.0
    averages: tuple[Average, ...] = (Average("epoch"),)
    checkpoints: bool = False

    @property
    def images_in_words(self) -> str:
        """The images that are trained on."""
        tested = "all" if self.tested is None else f"the first {self.tested}"
        count = (
            "all images" if self.images is None else f"the first {self.images} training images, {tested} test images"
        )
        smaller = f", their width and height divided by {self.pool}" if self.pool > 1 else ""
        return f"{self.data}, {count}{smaller}"

    def augmentation(self) -> tuple[Any, ...] | None:
        """Return the crops and flips."""
        crops = (random_crop(self.crop),) if self.crop else ()
        crops = (random_resized_crop(self.size),) if self.size else crops
        return (*crops, *((random_flip(),) if self.flip else ())) or None

    def schedule(self) -> Schedule:
        """Return SGD's learning rate before averaging starts."""
        return step_schedule(self.lr, self.start / 3) if self.steps else swalp_schedule(self.lr, self.start)

    def sgd(self) -> Training:
        """Return the same with all epochs for SGD."""
        return replace(self, start=self.epochs)


def train(s: Training, seed: int, context: Context) -> Result:
    """Train, and return the Errors of the weights after each phase.

    "first": after the SGD phase; with averaging also "last", the weights at the end, and "averages", by name.
    """
    return Trainer(s, seed, context).run()


class Trainer:
    """One run: data, network, optimizer, and the two phases."""

    def __init__(self, s: Training, seed: int, context: Context) -> None:
        random.manual_seed(seed)
        self.s, self.seed, self.context = s, seed, context
        train, test = images(s, context.data_dir)
        self.loader = DataLoader(train, s.batch, shuffle=True, seed=seed, transform=s.augmentation())
        train, test = (middle(d, s.size) if s.size else d for d in (train, test))
        self.plain, self.test = DataLoader(train, s.batch), DataLoader(test, 64 if s.size else 500)
        self.model = network(s.network, train.images.shape[1:], len(train.classes)).to(context.device)
        lower(self.model, s.precision)
        self.optimizer = SGD(self.model.parameters(), s.lr, s.momentum, s.weight_decay, precision=s.precision)
        self.scaler = LossScaler(s.loss_scale) if s.loss_scale != 1 else None

    def run(self) -> Result:
        """Return the test errors after each phase."""
        s = self.s
        self._fit("first", s.start, schedule=s.schedule())
        result: Result = {"first": self.errors(self.model)}
        if s.epochs > s.start:
            swalp = SWALP(self.model, self.optimizer, 0, lr=s.swa_lr, averages=self._averages())
            self._fit("second", s.epochs - s.start, schedule=constant_schedule(s.swa_lr), swalp=swalp)
            result["last"] = self.errors(self.model)
            result["averages"] = {name: self.errors(one.averaged) for name, one in swalp.averages.items()}
        return result

    def _fit(self, phase: str, epochs: int, **more: Any) -> None:
        out = self.context.folder / phase if self.s.checkpoints else None
        begun = out is not None and (out / "config.json").exists()
        config = {"training": repr(self.s), "seed": self.seed}
        fit(
            self.model,
            self.loader,
            epochs=epochs,
            optimizer=self.optimizer,
            scaler=self.scaler,
            out=out,
            resume=begun,
            config=config,
            progress=False,
            graph=True,
            **more,
        )

    def _averages(self) -> dict[str, dict[str, Any]]:
        return {
            a.name: {
                "cycle": a.cycle or len(self.loader),
                "average": None if a.fmt is None else Quantizer(a.fmt, a.rounding, random.Stream(i)),
            }
            for i, a in enumerate(self.s.averages)
        }

    def errors(self, model: Module) -> Errors:
        """Return the test errors with exact activations, and with those of the training."""
        return {"float": self._error(model, None), "as trained": self._error(model, self.s.precision)}

    def _error(self, model: Module, precision: Precision | None) -> float:
        marks = {m: m.precision for m in model.modules()}
        try:
            lower(model, precision)
            kept = {m: (m.running_mean.data, m.running_var.data) for m in marks if isinstance(m, BatchNorm2d)}
            update_bn(model, self.plain)
            return evaluate(model, self.test)["error"]
        finally:
            for m, mark in marks.items():
                m.precision = mark
            for m, (mean, var) in kept.items():
                m.running_mean.data, m.running_var.data = mean, var


def by_seed(results: Results, name: str, seeds: int, *path: str) -> BySeed:
    """Return a test error of the runs `name`-0, `name`-1, ...: what `path` leads to in each; None where it diverged."""
    runs = [results[f"{name}-{seed}"] for seed in range(seeds)]
    found: list[Any] = [None if "diverged" in run else reduce(getitem, path, run) for run in runs]
    return found


def images(s: Training, data_dir: Path | None) -> tuple[Dataset, Dataset]:
    """Return training images, as many as there shall be, and all test images, made as small as they shall be."""
    train, test = read(s.data, data_dir, s.size)
    train, test = train[: s.images], test[: s.tested]
    if s.pool == 1:
        return train, test
    train, test = (replace(d, images=pooled(d.images, s.pool)) for d in (train, test))
    mean, std = statistics(train.images, train.scale)
    return replace(train, mean=mean, std=std), replace(test, mean=mean, std=std)


def read(name: str, data_dir: Path | None, size: int | None = None) -> tuple[Dataset, Dataset]:
    """Return training and test images: of a public data set, or "imagenet", a folder with its train/ and val/.

    A folder's pictures have their shorter side scaled to 8/7 of `size`, 256 for 224, and are all held in memory: 0.2 MB
    each at that size. Raises FileNotFoundError where there are none.
    """
    if name != IMAGENET:
        return load(name, data_dir)
    wanted = "a folder with train/ and val/, and in each a folder of pictures for each class: name it with --data-dir"
    if data_dir is None:
        raise FileNotFoundError(f"{name} is {wanted}")
    found = parts(data_dir, round((size or 224) * 8 / 7))
    if "val" not in found:
        raise FileNotFoundError(f"{data_dir} has no train/ and val/; {name} is {wanted}")
    return found["train"], found["val"]


def middle(dataset: Dataset, size: int) -> Dataset:
    """Return the images' middle, (size, size)."""
    top, left = ((n - size) // 2 for n in dataset.images.shape[2:])
    return replace(dataset, images=dataset.images[:, :, top : top + size, left : left + size])


def pooled(x: np.ndarray, pool: int) -> np.ndarray:
    """Return means over squares: (N, C, H, W) -> (N, C, H/pool, W/pool) float32."""
    n, c, h, w = x.shape
    # (N, C, H, W) -> (N, C, H/pool, pool, W/pool, pool)
    return x.reshape(n, c, h // pool, pool, w // pool, pool).mean((3, 5), dtype=np.float32)
