"""lpnet train."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from .. import data, distributed, models, nn, plots, recipes, training
from ..backend import choose_device, set_num_threads
from ..checkpoint import save
from ..classifier import about
from ..rounding import MODES
from ..training import evaluate, fit
from . import configured
from .parsing import add_data, add_device, command, number, path

NOT_CONFIG = (  # may change when a run is resumed
    "run",
    "out",
    "resume",
    "quiet",
    "no_bar",
    "data_dir",
    "checkpoint_every",
    "device",
    "threads",
)


def add(commands: Any) -> None:
    """Add the command with its options."""
    p = command(
        commands,
        "train",
        train,
        "train a network on images in any precision",
        "The run folder holds config.json, log.jsonl, checkpoint.npz, model.npz, averaged.npz, best.npz (with "
        "a validation set) and curves.png; a run killed at any moment goes on with --resume, to the same "
        "bits.",
    )
    p.add_argument("--model", default="small_cnn", help=f"one of {', '.join(models.names())}")
    add_data(p)
    p.add_argument(
        "--val",
        type=number(float, 0, 1),
        default=0.0,
        metavar="SHARE",
        help="share of the training set that is set aside as a validation set: it is measured after every "
        "epoch, the best model is kept, and the test set is looked at once, at the end",
    )
    p.add_argument(
        "--stop-after",
        type=number(int, 1),
        metavar="EPOCHS",
        help="stop when the validation loss has not fallen for so many epochs; none: never",
    )
    add_precision(p)
    p.add_argument(
        "--recipe",
        choices=recipes.names(),
        metavar="NAME",
        help="what is rounded, layers in float and loss scale as a paper has them, in place of --precision: "
        f"{', '.join(recipes.names())} (see 'lpnet recipes')",
    )
    p.add_argument("--epochs", type=number(int, 1), default=10, help="passes over the training set")
    p.add_argument(
        "--batch-size",
        type=number(int, 1),
        help="samples a step; none: 128, or less for your own data, so that an epoch has at least 40 steps",
    )
    _add_optimizer(p)
    _add_averaging(p)
    p.add_argument("--augment", action="store_true", help="random crops, padded by 4, and flips")
    p.add_argument(
        "--seed",
        type=number(int, 0),
        default=0,
        help="seed of splits, initial weights, order, augmentation and rounding",
    )
    _add_running(p)


def add_precision(p: argparse.ArgumentParser) -> None:
    """Add --precision and --rounding."""
    p.add_argument(
        "--precision",
        default="fp32",
        help="a format for everything, such as bfp8 or e4m3 (see 'lpnet "
        "formats'), or role by role: weight=bfp8,activation=e4m3,error=e5m2; roles: weight, activation, "
        "error, gradient, momentum, accumulator, second_moment, average; fp32 is exact. Fixed point has one "
        "range for all: where errors are too small for it, --loss-scale lifts them",
    )
    p.add_argument(
        "--rounding",
        default="stochastic",
        choices=list(MODES),
        metavar="MODE",
        help=f"how numbers are rounded: {', '.join(MODES)}",
    )


def _add_optimizer(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--optimizer",
        default="sgd",
        choices=configured.OPTIMIZERS,
        help="what steps: " + ", ".join(configured.OPTIMIZERS),
    )
    p.add_argument(
        "--lr",
        type=number(float, 0),
        help="learning rate; none: 0.05 for sgd, in proportion to a "
        "batch size that is chosen for your own data, 0.001 for the others",
    )
    p.add_argument(
        "--schedule",
        default="swalp",
        choices=configured.SCHEDULES,
        help="of the learning rate. swalp: constant, then falling to 0.01 of it; constant; cosine: to 0; "
        "step: a tenth after each third",
    )
    p.add_argument("--warmup", type=number(int, 0), default=0, metavar="STEPS", help="steps in which the rate rises")
    p.add_argument("--momentum", type=number(float, 0), help="momentum of sgd; none: 0.9")
    p.add_argument("--weight-decay", type=number(float, 0), default=5e-4, help="weight decay")
    p.add_argument(
        "--clip", type=number(float, 0), metavar="NORM", help="scale gradients down to this common norm; none: never"
    )
    p.add_argument(
        "--label-smoothing",
        type=number(float, 0, 1),
        default=0.0,
        metavar="SHARE",
        help="share of each label that is spread over all classes",
    )
    p.add_argument(
        "--loss-scale",
        type=configured.loss_scale,
        metavar="SCALE",
        help="a number by which the loss is "
        "multiplied and the gradients divided, or 'dynamic': so that small errors survive in narrow "
        "formats; none: 1",
    )


def _add_averaging(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--swa-start", type=number(int, 1), help="epoch after which weights are averaged (SWALP); none: no averaging"
    )
    p.add_argument("--swa-lr", type=number(float, 0), help="learning rate while averaging; none: a fifth of --lr")
    p.add_argument("--swa-cycle", type=number(int, 1), help="steps from one average to the next; none: an epoch")
    p.add_argument("--swa-format", help="format of the average itself; none: full precision")


def _add_running(p: argparse.ArgumentParser) -> None:
    p.add_argument("--out", type=path, help="run folder; none: runs/DATA-MODEL-PRECISION")
    p.add_argument("--resume", action="store_true", help="go on from the checkpoint in the run folder")
    p.add_argument(
        "--checkpoint-every", type=number(float, 0), default=30.0, metavar="SECONDS", help="time between checkpoints"
    )
    p.add_argument(
        "--trace",
        type=number(int, 1),
        metavar="STEPS",
        help="trace what rounding does at every so many steps, into rounding.jsonl and rounding.png, a map of "
        "place by step; none: never",
    )
    p.add_argument("--no-bar", action="store_true", help="a line an epoch, but no progress bar")
    p.add_argument("--quiet", action="store_true", help="neither a bar nor a line an epoch")
    p.add_argument(
        "--shards",
        type=number(int, 1),
        help="cut each batch into so many parts, for the processes of "
        "'mpiexec -n 4 lpnet train ...'; the same bits for any number of them; none: one process, whole "
        "batches",
    )
    p.add_argument(
        "--threads", type=number(int, 1), help="threads that compute; none: one a processor. Results are the same"
    )
    add_device(p)


def train(arguments: argparse.Namespace) -> None:
    """Train, in all the processes that there are, and say where the results are."""
    if arguments.shards is not None:
        distributed.init(arguments.shards)
    with distributed.together():
        _train(arguments)


def _train(arguments: argparse.Namespace) -> None:
    config = {k: v for k, v in vars(arguments).items() if k not in NOT_CONFIG}
    configured.check(config)
    out = arguments.out or _folder(arguments)
    if arguments.resume and not any((out / name).exists() for name in ("config.json", "checkpoint.npz")):
        raise FileNotFoundError(f"--resume: {out} holds no run to go on with, start it without --resume")
    if arguments.threads is not None:
        set_num_threads(arguments.threads)
    sets = configured.datasets(config, arguments.data_dir)
    config = configured.chosen(config, sets["train"])
    parts = configured.parts(config, sets, choose_device(arguments.device))
    if arguments.trace is not None:
        parts["callbacks"].append(training.TraceRounding(arguments.trace, out / "rounding.jsonl"))
    config["about"] = about(config["model"], sets["train"], config["precision"], config["rounding"], config["recipe"])
    _tell(config["model"], parts["model"], sets)
    if arguments.batch_size is None and config["batch_size"] < configured.BATCH:
        print(f"few samples: batches of {config['batch_size']}, rate {parts['optimizer'].lr:.4g} (--batch-size, --lr)")
    progress = False if arguments.quiet else "lines" if arguments.no_bar else True
    fit(
        **parts,
        out=out,
        resume=arguments.resume,
        config=config,
        checkpoint_every=arguments.checkpoint_every,
        progress=progress,
        graph=True,
    )
    _finish(out, config, parts, sets)
    print(f"results: {out}")


def _folder(arguments: argparse.Namespace) -> Path:
    name = f"{Path(arguments.data).stem or 'data'}-{arguments.model}-{arguments.recipe or arguments.precision}"
    return Path("runs") / re.sub(r"[^\w.=,-]+", "-", name)[:150].strip("-")


def _tell(name: str, model: nn.Module, sets: dict[str, data.Dataset]) -> None:
    lowered = sum(m.precision is not None for m in model.modules())
    print(f"{name}: {model.n_parameters():,} parameters, {lowered} layers rounded, on {model.device}")
    sizes = ", ".join(f"{len(part):,} {configured.PARTS[which]}" for which, part in sets.items())
    print(f"{sets['train'].name}: {sizes} samples in {len(sets['train'].classes)} classes")


def _finish(out: Path, config: dict[str, Any], parts: dict[str, Any], sets: dict[str, data.Dataset]) -> None:
    """Draw the trace; where a validation set chose, write the best model, and look at the test set at last."""
    tracing = next((callback for callback in parts["callbacks"] if isinstance(callback, training.TraceRounding)), None)
    if tracing is not None and distributed.first():
        _draw(tracing, out / "rounding.png")
    best = next((callback for callback in parts["callbacks"] if isinstance(callback, training.Best)), None)
    if best is None:
        return
    model, loader = best.load_into(parts["model"]), data.DataLoader(sets["test"], config["batch_size"])
    if distributed.first():
        save(out / "best.npz", model=model, about=config["about"])
    nn.lower(model, None)
    measured = evaluate(model, loader)
    print(
        f"best of epoch {best.epoch}: validation loss {best.value:.4f}; test loss {measured['loss']:.4f}, test error "
        f"{measured['error']:.2f} %"
    )


def _draw(tracing: training.TraceRounding, file: Path) -> None:
    """Draw the map of what was traced, or say why there is none."""
    if any(sites for _, sites in tracing.history):
        plots.save_rounding_map(tracing.history, file)
    else:
        none = (
            "nothing is rounded, see --precision" if tracing.lines else f"the run has less than {tracing.every} steps"
        )
        print(f"--trace: no map, {none}")
