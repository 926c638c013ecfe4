"""lpnet eval, lpnet predict."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, picture, plots, tables
from ..backend import choose_device
from ..checkpoint import load
from ..classifier import load_model
from ..data import DataLoader
from ..precision import Precision
from ..training import evaluate as measure
from ..training import first_nonfinite, predictions, read_config
from . import configured
from .parsing import add_device, command, path

FILES = ("model", "averaged", "best")


def add(commands: Any) -> None:
    """Add the commands with their options."""
    p = command(commands, "eval", evaluate, "measure the models of a run on its test set")
    p.add_argument("folder", metavar="RUN", type=path, help="run folder of 'lpnet train'")
    p.add_argument("--data-dir", type=path, help="folder with the data files")
    p.add_argument(
        "--confusion",
        action="store_true",
        help="also which class is taken for which, as a table and as RUN/confusion.png",
    )
    add_device(p)
    p = command(
        commands,
        "predict",
        predict,
        "say what pictures show, by the network of a run",
        "Prints the file, the most probable class and its probability, a line a file. Takes best.npz of the "
        "run, else averaged.npz, else model.npz.",
    )
    p.add_argument("model", metavar="RUN", type=path, help="run folder of 'lpnet train', or a model file")
    p.add_argument("files", metavar="FILE", type=path, nargs="+", help="pictures, read by Pillow")


def evaluate(arguments: argparse.Namespace) -> None:
    """Print the loss and the error of each model."""
    folder, config = arguments.folder, read_config(arguments.folder)
    try:
        test = configured.datasets(config, arguments.data_dir)["test"]
        loader = DataLoader(test, config["batch_size"])
        network = configured.model(config, test).to(choose_device(arguments.device))
        precision = configured.precision(config)
        if not isinstance(config["augment"], bool):
            raise ValueError(f"augment must be true or false, got {config['augment']!r}")
    except KeyError as error:
        raise ValueError(f"{folder}: config.json has no {error}: not a run of 'lpnet train'") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / 'config.json'}: {error}") from error
    if not (folder / "model.npz").exists():
        raise FileNotFoundError(f"{folder} has no model.npz: the run has not ended, go on with --resume")
    print(f"{'weights':8} {'activations':11} {'loss':>8} {'error':>8}")
    for name in FILES:
        if (folder / f"{name}.npz").exists():
            _load(folder / f"{name}.npz", network, config.get("about"))
            _print_errors(name, network, loader, precision)
    if arguments.confusion:
        _confusion(folder, network, loader)


def _load(file: Path, network: nn.Module, about: Any) -> None:
    try:
        saved = load(file)
        network.load_state_dict(saved["model"])
    except KeyError as error:
        raise ValueError(f"{file} holds no {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(str(error) if str(file) in str(error) else f"{file}: {error}") from error
    if place := first_nonfinite(network):
        raise ValueError(f"{file}: numbers that are not finite {place}")
    if saved.get("about") != about:
        raise ValueError(f"{file} is of another network or data set than config.json: {saved.get('about')}")


def _print_errors(name: str, network: nn.Module, loader: DataLoader, precision: Precision) -> None:
    """Print the loss and error of a saved model, with exact activations and, if different, with rounded ones."""
    for activations, p in (("exact", None), ("rounded", precision)):
        if p is None or p.activation is not None or p.products is not None:
            nn.lower(network, p)
            result = measure(network, loader)
            print(f"{name:8} {activations:11} {result['loss']:8.4f} {result['error']:6.2f} %")


def _confusion(folder: Path, network: nn.Module, loader: DataLoader) -> None:
    """Print and draw which class the last model, with exact activations, takes for which."""
    nn.lower(network, None)
    classes = loader.dataset.classes  # type: ignore[union-attr]  # of a Dataset
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for chosen, labels in predictions(network, loader):
        np.add.at(matrix, (labels, chosen), 1)
    title = tables.fill("what is shown, a row each, and what it is taken for")
    print(f"\n{title}\n{_confusion_table(matrix, classes)}")
    file = folder / "confusion.png"
    if picture.try_save(file, (6, 5), lambda figure: plots.confusion(matrix, classes, figure.subplots())):
        print(f"picture: {file}")


def _confusion_table(matrix: np.ndarray, classes: tuple[str, ...]) -> str:
    """Return the matrix with the error of each class; where it is too wide, what each class is taken for most often."""
    shown, width = matrix.sum(axis=1), tables.columns()
    errors = [tables.percent(n - right, n) for n, right in zip(shown, np.diag(matrix), strict=True)]
    rows = [[name, *map(str, row), error] for name, row, error in zip(classes, matrix, errors, strict=True)]
    for letters in (width, 6):
        whole = tables.text(["class", *(name[:letters] for name in classes), "error"], rows, width)
        if max(map(len, whole.splitlines())) <= width:
            return whole
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, matrix)
    most = [f"{classes[row.argmax()]}, {row.max()} times" if row.any() else "-" for row in wrong]
    listed = zip(classes, map(str, shown), errors, most, strict=True)
    return tables.folded(["class", "shown", "error", "most often taken for"], listed)


def predict(arguments: argparse.Namespace) -> None:
    """Print the class and the probability of each file."""
    classifier = load_model(arguments.model)
    probabilities = classifier(classifier.read(arguments.files))
    rows = [
        [str(file), classifier.classes[p.argmax()], f"{100 * p.max():.1f} %"]
        for file, p in zip(arguments.files, probabilities, strict=True)
    ]
    print(tables.text(["file", "class", "probability"], rows, 200))
