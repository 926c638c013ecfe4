"""Every option does what its case says, and an option without a case fails."""

import contextlib
import functools
import inspect
import json
from types import SimpleNamespace

import numpy as np
import pytest

from lpnet import cli, data, lab, models, nn, optim, reproduce
from lpnet._watch import Watch
from lpnet.cli import configured, evaluate, experiments, look, train
from lpnet.reproduce import demo

from .cases import CASES

PAIRS = [pytest.param(command, case, id=f"{command} {case.option}") for command in CASES for case in CASES[command]]


class Predictor:
    """Takes every picture for the first class."""

    classes = ("cat", "dog")

    def read(self, files):
        return files

    def __call__(self, files):
        return np.array([[0.9, 0.1]] * len(files))


def options():
    """Return {command: names of its options and arguments} as the parser has them."""
    (commands,) = [action for action in cli.parser()._actions if action.choices]
    found = {}
    for name, parser in commands.choices.items():
        with contextlib.suppress(SystemExit):
            parser.parse_args([])  # a command may take its options when it is first asked to parse
        actions = [action for action in parser._actions if action.dest != "help"]
        found[name] = {action.option_strings[0] if action.option_strings else action.metavar for action in actions}
    return found


def test_every_option_has_a_case_and_every_case_an_option():
    assert {command: {case.option for case in cases} for command, cases in CASES.items()} == options()


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Return what the functions that a command calls are given, {"name.argument": value}; none of them takes long."""
    seen, digits = {}, data.load("digits")

    def record(name, owner, attribute, result):
        real = getattr(owner, attribute)

        @functools.wraps(real)
        def call(*args, **kwargs):
            bound = inspect.signature(real).bind(*args, **kwargs)
            seen.update({f"{name}.{key}": value for key, value in bound.arguments.items()})
            seen[f"{name}.count"] = seen.get(f"{name}.count", 0) + 1
            return result(*args, **kwargs) if callable(result) else result

        monkeypatch.setattr(owner, attribute, call)

    folder = data.load("digits")[0][:60]
    for name, owner, attribute, result in (
        ("fit", train, "fit", []),
        ("evaluate", evaluate, "measure", {"loss": 1.0, "error": 2.0}),
        ("finish", train, "_finish", None),
        ("confusion", evaluate, "_confusion", None),
        ("read_config", evaluate, "read_config", evaluate.read_config),
        ("choose_device", train, "choose_device", "cpu"),
        ("choose_device", evaluate, "choose_device", "cpu"),
        ("choose_device", experiments, "choose_device", "cpu"),
        ("threads", train, "set_num_threads", None),
        ("load", data, "load", lambda *_: digits),
        ("build", models, "build", models.build),
        ("parts", data, "parts", lambda *_: {"train": folder}),
        ("split", data, "split", data.split),
        ("random_crop", data, "random_crop", data.random_crop),
        ("init", train.distributed, "init", None),
        ("loader", data, "DataLoader", data.DataLoader),
        ("manual_seed", look.random, "manual_seed", look.random.manual_seed),
        ("smoothing", configured.F, "cross_entropy", configured.F.cross_entropy),
        ("warmup", optim.schedules, "warmup", optim.schedules.warmup),
        ("describe", look.show, "describe", ""),
        ("recipe", look.known, "describe", ""),
        ("plot", look.plots, "save_formats", None),
        ("demo", demo, "run", ""),
        ("lab", lab, "serve", None),
        ("summary", look, "summary", ""),
        ("sgd", optim, "SGD", optim.SGD),
        ("lower", nn, "lower", nn.lower),
        ("watch", look, "watch", look.watch),
        ("update", optim.SGD, "step", optim.SGD.step),
        ("story", Watch, "story", ""),
        ("scaled", optim.LossScaler, "scale", optim.LossScaler.scale),
        ("load_model", evaluate, "load_model", lambda *_: Predictor()),
        ("read", Predictor, "read", lambda _, files: files),
        ("read_log", look.plots, "read_log", []),
        ("save", look.picture, "save", None),
        ("reproduce", reproduce, "run", SimpleNamespace(passed=True)),
    ):
        record(name, owner, attribute, result)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    defaults = vars(cli.parser().parse_args(["train"]))
    for name in ("run", "other", "mnist"):
        config = {key: value for key, value in defaults.items() if key not in train.NOT_CONFIG}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "data": "mnist", "batch_size": 128}))
        (tmp_path / name / "model.npz").write_bytes(b"")
    state = models.build("small_cnn", (1, 8, 8), 10).state_dict()
    monkeypatch.setattr(evaluate, "load", lambda _: {"model": state})
    return seen


def found(seen, path):
    """Return the value at a case's path, None where there is none."""
    name, argument, *attributes = path.split(".")

    def inner(value, attribute):
        if attribute.isdigit():
            return value[int(attribute)] if value and len(value) > int(attribute) else None
        return getattr(value, attribute, None)

    return functools.reduce(inner, attributes, seen.get(f"{name}.{argument}"))


@pytest.mark.parametrize("command, case", PAIRS)
def test_an_option_does_what_its_case_says(calls, capsys, command, case):
    """With the option the value is there, and without it another."""
    option = [case.option] if case.option.startswith("-") else []
    for typed, there in ((case.without.split(), False), ([*option, *case.typed.split()], True)):
        calls.clear()
        assert cli.main([command, *case.also.split(), *typed, *case.after.split()]) == 0, capsys.readouterr().err
        assert (found(calls, case.seen) == case.value) is there


def test_a_confusion_is_a_matrix_where_it_fits_and_else_a_line_a_class():
    """Whole names where there is room, six letters where that helps; the error of every class in any case."""
    names = ("circle", "square", "triangle")
    few = evaluate._confusion_table(np.array([[8, 1, 1], [0, 4, 0], [0, 0, 0]]), names).splitlines()
    assert few[0].split() == ["class", *names, "error"] and few[1].split() == ["circle", "8", "1", "1", "20.0", "%"]
    assert few[3].split()[-1] == "-"  # nothing was shown of this class
    ten = evaluate._confusion_table(np.eye(10, dtype=int), (*(f"class_number_{i}" for i in range(8)), "a", "b"))
    assert max(map(len, ten.splitlines())) <= 80 and len(ten.splitlines()) == 11
    matrix = np.eye(100, dtype=int)
    matrix[3, 7] = 3
    many = evaluate._confusion_table(matrix, tuple(f"c{i}" for i in range(100))).splitlines()
    assert len(many) == 101 and many[4].split() == ["c3", "4", "75.0", "%", "c7,", "3", "times"]
    assert many[5].split() == ["c4", "1", "0.0", "%", "-"]
