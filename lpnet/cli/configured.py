"""What a configuration, a dictionary of the options of `lpnet train`, stands for: data, a network, what trains it."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
from pathlib import Path
from typing import Any

from .. import data, models, nn, optim, random, recipes, training
from .. import functions as F
from ..data import DataLoader, Dataset
from ..precision import Precision
from ..validate import integer

PARTS = {"train": "training", "val": "validation", "test": "test"}
PADDING = 4  # of random crops
TEST_SHARE = 0.2  # of data of one's own that have no test set
OPTIMIZERS: dict[str, Any] = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop}
SIZE = 32  # of one's own pictures; and, by default, the rate of sgd, samples a step, least steps an epoch:
RATE, BATCH, STEPS = 0.05, 128, 40
SCHEDULES = ("swalp", "constant", "cosine", "step")


def loss_scale(text: str) -> float | str:
    """Return a number above 0, or "dynamic"."""
    if text == "dynamic":
        return text
    with contextlib.suppress(ValueError):
        if 0 < (scale := float(text)) < math.inf:
            return scale
    raise argparse.ArgumentTypeError(f"expected a number above 0 or 'dynamic', got {text!r}")


def datasets(config: dict[str, Any], data_dir: Path | None = None) -> dict[str, Dataset]:
    """Return the sets "train", "test", and "val" where there is one, normalised by the training set.

    Data of one's own without a test set give TEST_SHARE of each class to it, by the seed; the same way --val takes its
    share of what is left.
    """
    name, seed = config["data"], integer("config", "seed", config["seed"])
    if data_dir is not None and name == "digits":
        raise ValueError(
            f"--data-dir is for data sets in files, digits are part of the package; got {data_dir}{_seen(data_dir)}"
        )
    own = name not in data.names() and _place(config).exists()
    if own:
        if data_dir is not None:
            raise ValueError(f"--data-dir is for public data sets, {name} is read where it is; got {data_dir}")
        found = data.parts(name, config.get("size") or SIZE)
    else:
        found = dict(zip(("train", "test"), data.load(name, data_dir), strict=True))
    if "test" not in found and "val" in found and not config.get("val"):
        found["test"] = found.pop("val")  # as ImageNet's are used: the second part is what errors are told of
    if "test" not in found:
        found["train"], found["test"] = data.split(found["train"], TEST_SHARE, seed)
    if config.get("val"):
        found["train"], found["val"] = data.split(found["train"], config["val"], seed)
    return {
        part: data.normalized(found[part], found["train"]) if config.get("val") else found[part]
        for part in PARTS
        if part in found
    }


def check(config: dict[str, Any]) -> None:
    """Raise ValueError for an option that was typed and would be ignored."""
    if config["size"] is not None and not (config["data"] not in data.names() and _place(config).is_dir()):
        raise ValueError(f"--size is for folders of pictures, {config['data']} has a size of its own")
    if config.get("momentum") is not None and config.get("optimizer", "sgd") != "sgd":
        raise ValueError(f"--momentum is sgd's, leave it out with --optimizer {config['optimizer']}")
    if config.get("recipe") is not None and config["rounding"] != "stochastic":
        raise ValueError(f"--recipe {config['recipe']} says how numbers are rounded: leave out --rounding")


def _place(config: dict[str, Any]) -> Path:
    return Path(config["data"]).expanduser()


def chosen(config: dict[str, Any], train: Dataset) -> dict[str, Any]:
    """Return the configuration with what was left to lpnet: the batch size, the rate that goes with it and so on.

    Of data of one's own that are few, batches are smaller, a power of two from 8, and sgd's rate in proportion (Goyal
    et al., "Accurate, large minibatch SGD", 2017): else a few steps an epoch, each as large as of many, learn nothing.
    """
    batch, sgd = config["batch_size"], config["optimizer"] == "sgd"
    momentum = 0.9 if config["momentum"] is None else config["momentum"]
    found = {**config, "momentum": momentum, "size": config["size"] or SIZE}
    if batch is not None:
        return found
    own = config["data"] not in data.names()
    found["batch_size"] = min(BATCH, max(8, 2 ** int(math.log2(max(1, len(train) / STEPS))))) if own else BATCH
    if found["batch_size"] < BATCH and sgd and config["lr"] is None:
        found["lr"] = RATE * found["batch_size"] / BATCH
    return found


def _seen(folder: Path) -> str:
    """Return what is in a folder, for a message."""
    if not folder.is_dir():
        return ", which is no folder"
    held = [name for name in data.names() if name != "digits" and _holds(name, folder)]
    if held:
        return f"; it holds {', '.join(held)}: choose with --data {held[0]}"
    if classes := data.own.picture_classes(folder):
        return f"; it holds pictures in {', '.join(classes[:3])}: choose them with --data {folder}"
    return "; it holds none of the data sets that lpnet knows, nor a folder of pictures for each class"


def _holds(name: str, folder: Path) -> bool:
    with contextlib.suppress(Exception):
        data.load(name, folder)
        return True
    return False


def model(config: dict[str, Any], dataset: Dataset) -> nn.Module:
    """Return the network for the images of a data set."""
    return models.build(config["model"], dataset.images.shape[1:], len(dataset.classes))


def precision(config: dict[str, Any]) -> Precision:
    """Return what is rounded: a recipe, or what is said role by role."""
    recipe = config.get("recipe")
    if recipe is None:
        return Precision.parse(config["precision"], config["rounding"])
    if config["precision"] != "fp32":
        raise ValueError(f"--recipe {recipe} says what is rounded: leave out --precision {config['precision']}")
    return recipes.RECIPES[recipe]()


def parts(config: dict[str, Any], sets: dict[str, Dataset], device: str) -> dict[str, Any]:
    """Return what `fit` needs."""
    random.manual_seed(config["seed"])
    if config["augment"] and (side := min(sets["train"].images.shape[2:])) <= PADDING:
        raise ValueError(f"--augment shifts by up to {PADDING} pixels, more than images of {side} have: leave it out")
    train = DataLoader(
        sets["train"],
        config["batch_size"],
        shuffle=True,
        seed=config["seed"],
        transform=(data.random_crop(PADDING), data.random_flip()) if config["augment"] else None,
    )
    network = model(config, sets["train"]).to(device)
    rounded = precision(config)
    nn.lower(network, rounded if rounded != Precision() else None)
    optimizer = _optimizer(config, network, rounded)
    measured = "val" if "val" in sets else "test"
    return {
        "model": network,
        "train": train,
        "test": DataLoader(sets[measured], config["batch_size"]),
        "test_name": measured,
        "epochs": config["epochs"],
        "optimizer": optimizer,
        "swalp": _swalp(config, network, optimizer, len(train)),
        "schedule": _schedule(config, optimizer.lr, len(train)),
        "scaler": scaler(config, rounded),
        "callbacks": _callbacks(config, measured),
        "loss": _loss(config),
    }


def _optimizer(config: dict[str, Any], network: nn.Module, precision: Precision) -> optim.Optimizer:
    kind, lr = config.get("optimizer", "sgd"), config["lr"]
    if lr is None:
        lr = RATE if kind == "sgd" else 1e-3
    momentum = {"momentum": config["momentum"]} if kind == "sgd" else {}
    return OPTIMIZERS[kind](
        network.parameters(), lr, weight_decay=config["weight_decay"], precision=precision, **momentum
    )


def _schedule(config: dict[str, Any], lr: float, steps: int) -> Any:
    epochs, kind = config["epochs"], config.get("schedule", "swalp")
    schedule = {
        "swalp": lambda: optim.swalp_schedule(lr, config["swa_start"] or epochs),
        "constant": lambda: optim.schedules.constant_schedule(lr),
        "cosine": lambda: optim.schedules.each_step(optim.schedules.cosine_schedule(lr, epochs)),
        "step": lambda: optim.schedules.step_schedule(lr, max(1, epochs / 3)),
    }[kind]()
    return optim.schedules.warmup(schedule, config["warmup"], steps) if config.get("warmup") else schedule


def scaler(config: dict[str, Any], rounded: Precision | None = None) -> optim.LossScaler | None:
    """Return what scales the loss, if anything does: an option, or else a recipe."""
    scale: Any = config.get("loss_scale")
    if scale is None:
        scale = getattr(rounded, "loss_scale", 1.0)
        return None if scale == 1 else optim.LossScaler(scale)
    return optim.LossScaler(growth_interval=1000) if scale == "dynamic" else optim.LossScaler(scale)


def _loss(config: dict[str, Any]) -> Any:
    smoothing = config.get("label_smoothing", 0.0)
    return functools.partial(F.cross_entropy, label_smoothing=smoothing) if smoothing else F.cross_entropy


def _callbacks(config: dict[str, Any], measured: str) -> list[training.Callback]:
    callbacks: list[training.Callback] = []
    if config.get("clip") is not None:
        callbacks.append(training.ClipGradients(config["clip"]))
    if measured == "val":
        callbacks.append(training.Best())
    if config.get("stop_after") is not None:
        if measured != "val":
            raise ValueError("--stop-after needs a validation set: set one aside with --val 0.2")
        callbacks.append(training.EarlyStopping(config["stop_after"], "val_loss"))
    return callbacks


def _swalp(config: dict[str, Any], network: nn.Module, optimizer: optim.Optimizer, steps: int) -> optim.SWALP | None:
    start = config["swa_start"]
    if start is None:
        if idle := [key for key in ("swa_lr", "swa_cycle", "swa_format") if config[key] is not None]:
            raise ValueError(f"--{idle[0].replace('_', '-')} needs --swa-start, the epoch after which averaging begins")
        return None
    if start >= config["epochs"]:
        raise ValueError(f"--swa-start must be below --epochs, which is {config['epochs']}, got {start}")
    cycle, averaging = config["swa_cycle"] or steps, (config["epochs"] - start) * steps
    if cycle > averaging:
        raise ValueError(f"--swa-cycle must be at most {averaging}, the steps after --swa-start, got {cycle}")
    lr = optimizer.lr / 5 if config["swa_lr"] is None else config["swa_lr"]
    return optim.SWALP(network, optimizer, start * steps, cycle, lr, config["swa_format"])
