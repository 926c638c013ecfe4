"""lpnet formats, recipes, summary, step, plot: to look at what there is."""

from __future__ import annotations

import argparse
import itertools
import math
import re
import shutil
from pathlib import Path
from typing import Any

from .. import data, models, nn, optim, picture, plots, random, tables
from .. import functions as F
from .. import recipes as known
from .._summary import summary
from .._watch import watch
from ..formats import format, show
from ..precision import Precision
from . import configured
from .parsing import add_data, command, number, path
from .train import add_precision

PICTURE = Path("curves.png")


def add(commands: Any) -> None:
    """Add the commands with their options."""
    p = command(commands, "formats", formats, "list the number formats, describe one, or compare several")
    p.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="formats, such as e4m3, fixed8.6 or bfp8:16; several are shown on one axis",
    )
    p.add_argument("--plot", metavar="FILE", type=path, help="draw their numbers on lines")
    p = command(commands, "recipes", recipes, "list the recipes with their sources, or draw the products of one")
    p.add_argument("name", metavar="NAME", nargs="?", help=f"one of {', '.join(known.names())}")
    p = command(commands, "summary", summarize, "show what a network is made of: layers, parameters, bytes, products")
    p.add_argument("model", metavar="MODEL", help=f"one of {', '.join(models.names())}")
    add_data(p)
    add_precision(p)
    p = command(
        commands,
        "step",
        step,
        "take one training step and show which updates move a weight",
        "Two tables: parameter by parameter which numbers moved, were swallowed or overshot, layer by layer "
        "what rounding cost. Nothing is written.",
    )
    p.add_argument("--model", default="small_cnn", help=f"one of {', '.join(models.names())}")
    add_data(p)
    add_precision(p)
    p.add_argument("--batch-size", type=number(int, 1), default=128, help="samples a step")
    p.add_argument("--lr", type=number(float, 0), default=0.05, help="learning rate")
    p.add_argument("--momentum", type=number(float, 0), default=0.9, help="momentum of SGD")
    p.add_argument(
        "--loss-scale",
        type=configured.loss_scale,
        metavar="SCALE",
        help="a number by which the loss is multiplied and the gradients divided; none: 1",
    )
    p.add_argument("--after", type=number(int, 0), default=0, metavar="STEPS", help="steps to take before")
    p.add_argument("--weight", metavar="NAME:I,J,...", help="also the story of one weight, such as 0.weight:0,0,1,1")
    p.add_argument("--seed", type=number(int, 0), default=0, help="seed of weights, order and rounding")
    p = command(commands, "plot", plot, "draw the curves of several runs into one picture")
    p.add_argument("runs", metavar="RUN", type=path, nargs="+", help="run folders of 'lpnet train'")
    p.add_argument("--out", type=path, default=PICTURE, help="the picture, .png, .svg or .pdf")


def formats(arguments: argparse.Namespace) -> None:
    """Print a table of formats, what one is, or several on one axis."""
    names = [format(name) for name in arguments.names]
    if not names:
        print(show.table())
    elif len(names) == 1:
        print(show.describe(names[0]))
    else:
        print(show.number_lines(names, max(40, min(shutil.get_terminal_size((80, 24)).columns, 120))))
    if arguments.plot is not None:
        if not names:
            raise ValueError("--plot needs the name of a format to draw")
        plots.save_formats(names, arguments.plot)
        print(f"picture: {arguments.plot}")


def recipes(arguments: argparse.Namespace) -> None:
    """Print all recipes, or one with its products."""
    print(known.listing() if arguments.name is None else known.describe(arguments.name))


def _network(config: dict[str, Any], dataset: data.Dataset) -> tuple[nn.Module, Precision, optim.Optimizer]:
    random.manual_seed(config.get("seed", 0))
    network, precision = configured.model(config, dataset), Precision.parse(config["precision"], config["rounding"])
    nn.lower(network, precision if precision != Precision() else None)
    lr, momentum = config.get("lr", 0.05), config.get("momentum", 0.9)
    return network, precision, optim.SGD(network.parameters(), lr, momentum, precision=precision)


def summarize(arguments: argparse.Namespace) -> None:
    """Print the layers of a network for the images of a data set."""
    config = {**vars(arguments), "seed": 0}
    configured.check(config)
    train = configured.datasets(config, arguments.data_dir)["train"]
    network, _, optimizer = _network(config, train)
    print(summary(network, train.images.shape[1:], optimizer))


def step(arguments: argparse.Namespace) -> None:
    """Take a step, and print what it did."""
    config = vars(arguments)
    configured.check(config)
    train = configured.datasets(config, arguments.data_dir)["train"]
    network, _, optimizer = _network(config, train)
    scaler = configured.scaler(config)
    name, index = _weight(arguments.weight, network) if arguments.weight else ("", ())
    loader = data.DataLoader(train, arguments.batch_size, shuffle=True, seed=arguments.seed)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for x, y in itertools.islice(batches, arguments.after):
        _step(network, optimizer, scaler, x, y)
    x, y = next(batches)
    with watch(network, optimizer) as seen:
        loss = _step(network, optimizer, scaler, x, y)
    what = f"step {arguments.after + 1} of {arguments.model} in {arguments.precision}, {arguments.rounding}"
    print(f"{tables.fill(what)}\nloss {loss:.3f}, guessing {math.log(len(train.classes)):.3f}\n")
    print(seen)
    if name:
        print(f"\n{seen.story(name, index)}")


def _step(network: nn.Module, optimizer: optim.Optimizer, scaler: optim.LossScaler | None, x: Any, y: Any) -> float:
    optimizer.zero_grad()
    loss = F.cross_entropy(network(x), y)
    (loss if scaler is None else scaler.scale(loss)).backward()
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
    return loss.item()


def _weight(text: str, network: nn.Module) -> tuple[str, tuple[int, ...]]:
    """Return name and index of "0.weight:0,1"; raises ValueError for a parameter or an element that is not there."""
    name, _, places = text.partition(":")
    shapes = {name: p.shape for name, p in network.named_parameters()}
    if name not in shapes or not re.fullmatch(r"-?\d+(,-?\d+)*", places):
        raise ValueError(f"--weight: expected NAME:I,J,... with a name among {', '.join(shapes)}, got {text!r}")
    index, shape = tuple(map(int, places.split(","))), shapes[name]
    if len(index) != len(shape) or not all(-n <= i < n for i, n in zip(index, shape, strict=True)):
        raise ValueError(f"--weight: {name} has shape {shape}, which has no element {places}")
    return name, index


def plot(arguments: argparse.Namespace) -> None:
    """Draw the curves of runs."""
    logs = {str(folder): plots.read_log(folder) for folder in arguments.runs}
    picture.save(arguments.out, (9, 4), lambda figure: plots.compare(logs, figure.subplots(1, 2)))
    print(f"picture: {arguments.out}")
