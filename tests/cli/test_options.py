"""Every option does what its case says, and an option without a case fails."""

import contextlib
import functools
import inspect
import json
from types import SimpleNamespace

import pytest

from lpnet import cli, data, models

from .cases import CASES

PAIRS = [pytest.param(command, case, id=f"{command} {case.option}") for command in CASES for case in CASES[command]]


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
            return result(*args, **kwargs) if callable(result) else result

        monkeypatch.setattr(owner, attribute, call)

    for name, owner, attribute, result in (
        ("fit", cli, "fit", []), ("evaluate", cli, "evaluate", {"loss": 1.0, "error": 2.0}),
        ("read_config", cli, "read_config", cli.read_config), ("choose_device", cli, "choose_device", "cpu"),
        ("load", data, "load", lambda *_: digits), ("build", models, "build", models.build),
        ("random_crop", data, "random_crop", data.random_crop), ("init", cli.distributed, "init", None),
        ("manual_seed", cli.random, "manual_seed", cli.random.manual_seed),
        ("describe", cli.show, "describe", ""), ("plot", cli.show, "plot", None), ("demo", cli.demo, "run", ""),
        ("reproduce", cli.reproduce, "run", SimpleNamespace(passed=True)),
    ):  # fmt: skip
        record(name, owner, attribute, result)
    monkeypatch.chdir(tmp_path)
    defaults = vars(cli.parser().parse_args(["train"]))
    for name in ("run", "other", "mnist"):
        config = {key: value for key, value in defaults.items() if key not in cli._NOT_CONFIG}
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "data": "mnist"}))
        (tmp_path / name / "model.npz").write_bytes(b"")
    monkeypatch.setattr(cli, "load", lambda _: {"model": models.build("small_cnn", (1, 8, 8), 10).state_dict()})
    return seen


def found(seen, path):
    """Return the value at a case's path, None where there is none."""
    name, argument, *attributes = path.split(".")
    return functools.reduce(lambda value, a: getattr(value, a, None), attributes, seen.get(f"{name}.{argument}"))


@pytest.mark.parametrize("command, case", PAIRS)
def test_an_option_does_what_its_case_says(calls, capsys, command, case):
    """With the option the value is there, and without it another."""
    option = [case.option] if case.option.startswith("-") else []
    for typed, there in ((case.without.split(), False), ([*option, *case.typed.split()], True)):
        calls.clear()
        assert cli.main([command, *case.also.split(), *typed]) == 0, capsys.readouterr().err
        assert (found(calls, case.seen) == case.value) is there
