"""The command line: lpnet demo | train | eval | formats | reproduce."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import data, demo, distributed, models, nn, optim, random, reproduce
from .backend import DEVICES, choose_device
from .checkpoint import load
from .formats import show
from .precision import Precision
from .rounding import MODES
from .training import evaluate, first_nonfinite, fit, read_config
from .version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0; 1 for an experiment with a figure outside of its band; 2 for a mistake of the user's; 130 when interrupted.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        if hasattr(stream, "reconfigure"):  # any terminal shows a table, any log gets a row when it is known
            stream.reconfigure(errors="replace", line_buffering=True)
    try:
        code = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a pipe that has been closed is handled, and not at exit
        return code
    except BrokenPipeError:  # whoever read the output has gone; nothing more can be told
        return 1
    except (ValueError, TypeError, OSError, FloatingPointError, MemoryError, RuntimeError, ImportError) as error:
        print(f"lpnet: error: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lpnet: interrupted; 'train' goes on with --resume, 'reproduce' by itself", file=sys.stderr)
        return 130
    finally:
        _drop_unwritable()


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = parser().parse_args(argv)
        return arguments.run(arguments) or 0
    except SystemExit as stop:  # argparse's way to end after --help or a usage error
        return int(stop.code or 0)


def _drop_unwritable() -> None:
    """Let what a closed pipe or a full disk does not take vanish, so that Python does not try again at exit."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _sentence(error: Exception) -> str:
    """Return what went wrong in one line."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(text.split())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"lpnet: error: {message}; see {self.prog} --help\n")


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default is None or action.default is False
        return action.help if none else super()._get_help_string(action)


def _number(kind: type[int] | type[float], least: float) -> Callable[[str], float]:
    """Return a converter for argparse that refuses what is not a finite number of at least `least`."""

    def convert(text: str) -> float:
        with contextlib.suppress(ValueError):
            if least <= (value := kind(text)) < math.inf:
                return value
        what = "an integer" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"expected {what} of at least {least}, got {text!r}")

    return convert


def _path(text: str) -> Path:
    """Return a path of the command line, ~ and all; no path at all would be the folder that one happens to be in."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text).expanduser()


def parser() -> argparse.ArgumentParser:
    """Return the parser with all commands."""
    top = _Parser(prog="lpnet", description="Low-precision training of small neural networks.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_demo, _add_train, _add_eval, _add_formats, _add_reproduce):
        add(commands)
    return top


def _command(commands: Any, name: str, run: Any, summary: str, details: str = "") -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {details}",
        formatter_class=_Help,
    )  # fmt: skip
    parser.set_defaults(run=run)
    return parser


def _add_demo(commands: Any) -> None:
    p = _command(commands, "demo", _demo, "train in float, 8 and 4 bits, and show what SWALP gains",
                 "Needs no network and no data beside the package; takes two minutes on two processors."
                 )  # fmt: skip
    p.add_argument("--seeds", type=_number(int, 2), default=6, help="runs of each method")
    p.add_argument("--epochs", type=_number(int, 3), default=demo.EPOCHS, help="epochs of each run")
    p.add_argument("--out", type=_path, default=Path("demo"), help="folder for table.md and curves.png")
    p.add_argument("--device", default="cpu", choices=DEVICES, help="where to compute: cpu or cuda")


def _demo(arguments: argparse.Namespace) -> None:
    demo.run(arguments.out, arguments.seeds, arguments.epochs, device=arguments.device)


def _add_train(commands: Any) -> None:
    p = _command(commands, "train", _train, "train a network on images in any precision",
                 "The run folder holds config.json, log.jsonl, checkpoint.npz, model.npz, averaged.npz and "
                 "curves.png; a run killed at any moment goes on with --resume, to the same bits.")  # fmt: skip
    p.add_argument("--model", default="small_cnn", help=f"one of {', '.join(models.names())}")
    p.add_argument("--data", default="digits", help=f"one of {', '.join(data.names())}")
    p.add_argument("--data-dir", type=_path, help="folder with the data files; without it LPNET_DATA, the user's "
                   "cache, or a download")  # fmt: skip
    p.add_argument("--precision", default="fp32", help="a format for everything, such as bfp8, fixed8.6 or e4m3 "
                   "(see 'lpnet formats'), or role by role: weight=bfp8,activation=e4m3,error=e5m2; roles: weight, "
                   "activation, error, gradient, momentum, accumulator, second_moment, average; "
                   "fp32 is exact")  # fmt: skip
    p.add_argument("--rounding", default="stochastic", choices=list(MODES), metavar="MODE",
                   help=f"how numbers are rounded: {', '.join(MODES)}")  # fmt: skip
    p.add_argument("--epochs", type=_number(int, 1), default=10, help="passes over the training set")
    p.add_argument("--batch-size", type=_number(int, 1), default=128, help="samples a step")
    p.add_argument("--lr", type=_number(float, 0), default=0.05,
                   help="learning rate: constant, then falling to 0.01 of it")
    p.add_argument("--momentum", type=_number(float, 0), default=0.9, help="momentum of SGD")
    p.add_argument("--weight-decay", type=_number(float, 0), default=5e-4, help="weight decay of SGD")
    p.add_argument("--swa-start", type=_number(int, 1),
                   help="epoch after which weights are averaged (SWALP); none: no averaging")
    p.add_argument("--swa-lr", type=_number(float, 0), help="learning rate while averaging; none: a fifth of --lr")
    p.add_argument("--swa-cycle", type=_number(int, 1), help="steps from one average to the next; none: an epoch")
    p.add_argument("--swa-format", help="format of the average itself; none: full precision")
    p.add_argument("--augment", action="store_true", help="random crops, padded by 4, and flips")
    p.add_argument("--seed", type=_number(int, 0), default=0,
                   help="seed of initial weights, order, augmentation and rounding")
    p.add_argument("--out", type=_path, help="run folder; none: runs/DATA-MODEL-PRECISION")
    p.add_argument("--resume", action="store_true", help="go on from the checkpoint in the run folder")
    p.add_argument("--checkpoint-every", type=_number(float, 0), default=30.0, metavar="SECONDS",
                   help="time between checkpoints")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.add_argument("--shards", type=_number(int, 1), help="cut each batch into so many parts, for the processes of "
                   "'mpiexec -n 4 lpnet train ...'; the same bits for any number of them; none: one process, whole "
                   "batches")  # fmt: skip
    _add_device(p)


def _add_device(p: argparse.ArgumentParser) -> None:
    p.add_argument("--device", choices=DEVICES, help="where to compute: cpu or cuda; none: the GPU where there is one "
                   "that works, else the CPU")  # fmt: skip


_NOT_CONFIG = (  # may change when a run is resumed
    "run", "out", "resume", "quiet", "data_dir", "checkpoint_every", "device",
)  # fmt: skip


def _train(arguments: argparse.Namespace) -> None:
    if arguments.shards is not None:
        distributed.init(arguments.shards)
    with distributed.together():
        _train_here(arguments)


def _train_here(arguments: argparse.Namespace) -> None:
    config = {k: v for k, v in vars(arguments).items() if k not in _NOT_CONFIG}
    precision = re.sub(r"[^\w.=,-]+", "-", arguments.precision)[:100].strip("-")
    out = arguments.out or Path("runs") / f"{arguments.data}-{arguments.model}-{precision}"
    if arguments.resume and not any((out / name).exists() for name in ("config.json", "checkpoint.npz")):
        raise FileNotFoundError(f"--resume: {out} holds no run to go on with, start it without --resume")
    parts = _prepare(config, arguments.data_dir, choose_device(arguments.device))
    lowered = sum(m.precision is not None for m in parts["model"].modules())
    print(f"{arguments.model}: {parts['model'].n_parameters():,} parameters, {lowered} layers rounded, on "
          f"{parts['model'].device}")  # fmt: skip
    fit(**parts, out=out, resume=arguments.resume, config=config, checkpoint_every=arguments.checkpoint_every,
        progress=not arguments.quiet)  # fmt: skip
    print(f"results: {out}")


def _prepare(config: dict[str, Any], data_dir: Path | None, device: str) -> dict[str, Any]:
    """Return what `fit` needs for a configuration."""
    random.manual_seed(config["seed"])
    train, test = _loaders(config, data_dir)
    model = _model(config, train).to(device)
    precision = Precision.parse(config["precision"], config["rounding"])
    nn.lower(model, precision if precision != Precision() else None)
    optimizer = optim.SGD(model.parameters(), config["lr"], config["momentum"], config["weight_decay"],
                          precision=precision)  # fmt: skip
    return {
        "model": model, "train": train, "test": test, "epochs": config["epochs"], "optimizer": optimizer,
        "swalp": _swalp(config, model, optimizer, len(train)),
        "schedule": optim.swalp_schedule(config["lr"], config["swa_start"] or config["epochs"]),
    }  # fmt: skip


def _loaders(config: dict[str, Any], data_dir: Path | None) -> tuple[data.DataLoader, data.DataLoader]:
    if data_dir is not None and config["data"] == "digits":
        raise ValueError(f"--data-dir is for data sets in files, digits are part of the package; got {data_dir}")
    train, test = data.load(config["data"], data_dir)
    augment = (data.random_crop(4), data.random_flip()) if config["augment"] else None
    size = config["batch_size"]
    return (data.DataLoader(train, size, shuffle=True, seed=config["seed"], transform=augment),
            data.DataLoader(test, size))  # fmt: skip


def _model(config: dict[str, Any], loader: data.DataLoader) -> nn.Module:
    return models.build(config["model"], loader.dataset.images.shape[1:], len(loader.dataset.classes))


def _swalp(config: dict[str, Any], model: nn.Module, optimizer: optim.Optimizer, steps: int) -> optim.SWALP | None:
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
    lr = config["lr"] / 5 if config["swa_lr"] is None else config["swa_lr"]
    return optim.SWALP(model, optimizer, start * steps, cycle, lr, config["swa_format"])


def _add_eval(commands: Any) -> None:
    p = _command(commands, "eval", _eval, "measure the final and the averaged model of a run on its test set")
    p.add_argument("folder", metavar="RUN", type=_path, help="run folder of 'lpnet train'")
    p.add_argument("--data-dir", type=_path, help="folder with the data files")
    _add_device(p)


def _eval(arguments: argparse.Namespace) -> None:
    config = read_config(arguments.folder)
    try:
        _, test = _loaders(config, arguments.data_dir)
        model = _model(config, test).to(choose_device(arguments.device))
        precision = Precision.parse(config["precision"], config["rounding"])
        if not isinstance(config["augment"], bool):
            raise ValueError(f"augment must be true or false, got {config['augment']!r}")
    except KeyError as error:
        raise ValueError(f"{arguments.folder}: config.json has no {error}: not a run of 'lpnet train'") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{arguments.folder / 'config.json'}: {error}") from error
    if not (arguments.folder / "model.npz").exists():
        raise FileNotFoundError(f"{arguments.folder} has no model.npz: the run has not ended, go on with --resume")
    print(f"{'weights':10} {'activations':12} {'loss':>8} {'error':>8}")
    for name in ("model", "averaged"):
        if (arguments.folder / f"{name}.npz").exists():
            _print_errors(name, arguments.folder / f"{name}.npz", model, test, precision)


def _print_errors(name: str, file: Path, model: nn.Module, test: data.DataLoader, precision: Precision) -> None:
    """Print the loss and error of a saved model, with exact activations and, if different, with rounded ones."""
    try:
        state = load(file)
        model.load_state_dict(state["model"])
    except KeyError as error:
        raise ValueError(f"{file} holds no {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(str(error) if str(file) in str(error) else f"{file}: {error}") from error
    if place := first_nonfinite(model):
        raise ValueError(f"{file}: numbers that are not finite {place}")
    for activations, p in (("exact", None), ("rounded", precision)):
        if p is None or p.activation is not None:
            nn.lower(model, p)
            result = evaluate(model, test)
            print(f"{name:10} {activations:12} {result['loss']:8.4f} {result['error']:6.2f} %")


def _add_formats(commands: Any) -> None:
    p = _command(commands, "formats", _formats, "list the number formats, or describe one")
    p.add_argument("name", metavar="NAME", nargs="?", help="a format, such as e4m3, fixed8.6 or bfp8:16")
    p.add_argument("--plot", metavar="FILE", type=_path, help="draw NAME's numbers on a line")


def _formats(arguments: argparse.Namespace) -> None:
    if arguments.name is None:
        print(show.table())
        return
    print(show.describe(arguments.name))
    if arguments.plot is not None:
        show.plot(arguments.name, arguments.plot)
        print(f"picture: {arguments.plot}")


def _add_reproduce(commands: Any) -> None:
    p = _command(commands, "reproduce", _reproduce, "run one of the SWALP paper's experiments, or list them",
                 "Writes results.json, table.md and picture.png. Started again, it goes on where it was. The exit code "
                 "is 1 if a figure lies outside of its band.")  # fmt: skip
    p.add_argument("name", metavar="NAME", nargs="?", help=f"one of {', '.join(reproduce.EXPERIMENTS)}")
    p.add_argument("--quick", action="store_true", help="a version of about a minute, on data of the package")
    p.add_argument("--paper", metavar="DATA", choices=reproduce.PAPER, help="classification with the paper's own "
                   f"networks, data and epochs: {' or '.join(reproduce.PAPER)}; takes weeks")  # fmt: skip
    p.add_argument("--data-dir", type=_path, help="folder with the data files")
    p.add_argument("--out", type=_path, help="folder for the results; none: runs/NAME, with what was chosen added")
    p.add_argument("--jobs", type=_number(int, 1), help="processes that compute; none: one a processor, or one in all "
                   "on a GPU")  # fmt: skip
    p.add_argument("--device", default="cpu", choices=DEVICES, help="where networks are trained: cpu or cuda")


def _reproduce(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        print(reproduce.listing())
        return 0
    name = "-".join(filter(None, (arguments.name, "quick" if arguments.quick else None, arguments.paper)))
    out = arguments.out or Path("runs") / name
    report = reproduce.run(arguments.name, out, quick=arguments.quick, paper=arguments.paper,
                           data_dir=arguments.data_dir, jobs=arguments.jobs,
                           device=choose_device(arguments.device))  # fmt: skip
    print(report)
    print(f"results: {out}")
    return 0 if report.passed else 1
