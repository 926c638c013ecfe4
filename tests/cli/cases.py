"""Every option of the command line in one table: what is typed, and what comes of it.

A new option fails a test until its case is here: one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lpnet as lp


@dataclass(frozen=True)
class Case:
    """An option, or an argument by its name in help: typed after the command, it makes `seen` be `value`.

    `seen` is an argument of a function that the command calls, and attributes of it: "fit.optimizer.lr".
    """

    option: str
    typed: str
    seen: str
    value: Any
    also: str = ""  # typed before, in any case
    without: str = ""  # typed in its place where the command needs something
    after: str = ""  # typed after it


STEPS = 11  # of an epoch on the digits
MNIST, AVERAGE, BFP8 = "--data mnist", "--swa-start 4", lp.format("bfp8")

CASES = {
    "train": (
        Case("--model", "mlp", "build.name", "mlp"),
        Case("--data", "mnist", "load.name", "mnist"),
        Case("--data-dir", "there", "load.root", Path("there"), MNIST),
        Case("--precision", "weight=bfp8", "fit.optimizer.precision.weight.format", BFP8),
        Case("--rounding", "nearest", "fit.optimizer.precision.weight.rounding", "nearest", "--precision bfp8"),
        Case("--recipe", "nvfp4", "fit.optimizer.precision.name", "nvfp4"),
        Case("--epochs", "8", "fit.epochs", 8),
        Case("--batch-size", "100", "fit.train.batch_size", 100),
        Case("--lr", "0.2", "fit.optimizer.lr", 0.2),
        Case("--momentum", "0.5", "fit.optimizer.momentum", 0.5),
        Case("--weight-decay", "0.1", "fit.optimizer.weight_decay", 0.1),
        Case("--swa-start", "4", "fit.swalp.start", 4 * STEPS),
        Case("--swa-lr", "0.3", "fit.swalp.lr", 0.3, AVERAGE),
        Case("--swa-cycle", "7", "fit.swalp.cycle", 7, AVERAGE),
        Case("--swa-format", "bfp8", "fit.swalp.precision.average.format", BFP8, AVERAGE),
        Case("--augment", "", "random_crop.padding", 4),
        Case("--seed", "11", "manual_seed.seed", 11),
        Case("--out", "there", "fit.out", Path("there")),
        Case("--resume", "", "fit.resume", True, "--out run"),
        Case("--checkpoint-every", "9", "fit.checkpoint_every", 9),
        Case("--quiet", "", "fit.progress", False),
        Case("--shards", "4", "init.shards", 4),
        Case("--trace", "5", "fit.callbacks.0.every", 5),
        Case("--no-bar", "", "fit.progress", "lines"),
        Case("--size", "9", "parts.size", 9, "--data pictures"),
        Case("--val", "0.25", "fit.test_name", "val"),
        Case("--stop-after", "3", "fit.callbacks.1.patience", 3, "--val 0.2"),
        Case("--optimizer", "adam", "fit.optimizer.betas", (0.9, 0.999)),
        Case("--optimizer", "rmsprop", "fit.optimizer.alpha", 0.99),
        Case("--schedule", "constant", "fit.schedule.__qualname__", "constant_schedule.<locals>.<lambda>"),
        Case("--warmup", "7", "warmup.steps", 7),
        Case("--clip", "2", "fit.callbacks.0.max_norm", 2),
        Case("--label-smoothing", "0.1", "fit.loss.keywords", {"label_smoothing": 0.1}),
        Case("--loss-scale", "8", "fit.scaler.factor", 8),
        Case("--threads", "1", "threads.n", 1),
        Case("--device", "cuda", "choose_device.device", "cuda"),
    ),
    "eval": (
        Case("RUN", "run", "read_config.folder", Path("run"), without="other"),
        Case("--data-dir", "there", "load.root", Path("there"), "mnist"),
        Case("--device", "cuda", "choose_device.device", "cuda", "run"),
        Case("--confusion", "", "confusion.folder", Path("run"), "run"),
    ),
    "predict": (
        Case("RUN", "run", "load_model.path", Path("run"), without="other", after="x.png"),
        Case("FILE", "x.png", "read.files", [Path("x.png")], "run", without="y.png"),
    ),
    "formats": (
        Case("NAME", "e4m3", "describe.name", lp.format("e4m3")),
        Case("--plot", "line.png", "plot.path", Path("line.png"), "e4m3"),
    ),
    "recipes": (Case("NAME", "nvfp4", "recipe.name", "nvfp4"),),
    "summary": (
        Case("MODEL", "mlp", "build.name", "mlp", without="small_cnn"),
        Case("--data", "mnist", "load.name", "mnist", "mlp"),
        Case("--data-dir", "there", "load.root", Path("there"), "mlp --data mnist"),
        Case("--size", "9", "parts.size", 9, "mlp --data pictures"),
        Case("--precision", "weight=bfp8", "summary.optimizer.precision.weight.format", BFP8, "mlp"),
        Case("--rounding", "nearest", "summary.optimizer.precision.weight.rounding", "nearest", "mlp --precision bfp8"),
    ),
    "step": (
        Case("--model", "mlp", "build.name", "mlp"),
        Case("--data", "mnist", "load.name", "mnist"),
        Case("--data-dir", "there", "load.root", Path("there"), MNIST),
        Case("--size", "9", "parts.size", 9, "--data pictures"),
        Case("--precision", "weight=bfp8", "watch.optimizer.precision.weight.format", BFP8),
        Case("--rounding", "nearest", "watch.optimizer.precision.weight.rounding", "nearest", "--precision bfp8"),
        Case("--batch-size", "50", "loader.batch_size", 50),
        Case("--lr", "0.3", "watch.optimizer.lr", 0.3),
        Case("--momentum", "0.3", "watch.optimizer.momentum", 0.3),
        Case("--loss-scale", "8", "scaled.self.factor", 8),
        Case("--after", "2", "update.count", 3),
        Case("--weight", "8.bias:3", "story.name", "8.bias"),
        Case("--seed", "5", "manual_seed.seed", 5),
    ),
    "plot": (
        Case("RUN", "run", "read_log.folder", Path("run"), without="other"),
        Case("--out", "there.png", "save.path", Path("there.png"), "run"),
    ),
    "lab": (
        Case("--port", "9000", "lab.port", 9000),
        Case("--host", "::1", "lab.host", "::1"),
        Case("--no-browser", "", "lab.browser", False),
    ),
    "demo": (
        Case("--seeds", "3", "demo.seeds", 3),
        Case("--epochs", "9", "demo.epochs", 9),
        Case("--out", "there", "demo.out", Path("there")),
        Case("--device", "cuda", "demo.device", "cuda"),
    ),
    "reproduce": (
        Case("NAME", "averaging", "reproduce.name", "averaging"),
        Case("--quick", "", "reproduce.quick", True, "averaging"),
        Case("--paper", "cifar10", "reproduce.paper", "cifar10", "classification"),
        Case("--data-dir", "there", "reproduce.data_dir", Path("there"), "averaging"),
        Case("--out", "there", "reproduce.out", Path("there"), "averaging"),
        Case("--jobs", "3", "reproduce.jobs", 3, "averaging"),
        Case("--device", "cuda", "choose_device.device", "cuda", "averaging"),
    ),
}
