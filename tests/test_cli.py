"""The command line: help, runs from end to end, and one clear line for each mistake."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lpnet as lp
from lpnet import cli, data
from lpnet.reproduce import demo

COMMANDS = ("demo", "train", "eval", "formats", "reproduce", "lab")
TINY = ("train", "--model", "logistic_regression", "--epochs", "2", "--quiet")


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Run in an empty folder, with a terminal of 80 columns, no data, and no network."""

    def refused(*_, **__):
        raise OSError("no network in tests")

    for name, value in {"COLUMNS": "80", "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LPNET_DATA", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", refused)
    monkeypatch.setattr("lpnet.picture.try_save", lambda *_: True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def run(capsys, *arguments):
    """Return exit code, standard output and standard error of a command line."""
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    """Return the one line that a refused command line writes."""
    code, _, error = run(capsys, *arguments)
    assert code == 2, (code, error)
    assert error.startswith("lpnet: error: ") and error.count("\n") == 1 and error.endswith("\n"), error
    return error


def test_help_mentions_every_command_and_option(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0 and all(command in out for command in COMMANDS)
    for command in COMMANDS:
        code, out, error = run(capsys, command, "--help")
        assert code == 0 and not error
        (sub,) = [a for a in cli.parser()._actions if a.dest == "command" or a.choices]
        for action in sub.choices[command]._actions:
            assert action.help, action
            assert all(option in out for option in action.option_strings), action
        assert "None" not in out and max(map(len, out.splitlines())) <= 80


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"{lp.__version__}\n", "")


def test_train_then_eval(capsys, nowhere):
    train = (*TINY[:-1], "--precision", "bfp8", "--swa-start", "1", "--out", nowhere / "run")
    code, out, error = run(capsys, *train)
    assert code == 0 and "epoch   2" in out and max(map(len, out.splitlines())) <= 80
    log = [json.loads(line) for line in (nowhere / "run" / "log.jsonl").read_text().splitlines()]
    code, out, error = run(capsys, "eval", nowhere / "run")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert (code, error) == (0, "") and max(map(len, out.splitlines())) <= 80
    assert [row[:2] for row in rows] == [[w, a] for w in ("model", "averaged") for a in ("exact", "rounded")]
    assert float(rows[1][3]) == pytest.approx(log[-1]["test_error"], abs=0.005)  # as the log measured it
    assert float(rows[2][3]) == pytest.approx(log[-1]["swalp_error"], abs=0.005)


def test_an_exact_run_is_measured_once(capsys, nowhere):
    assert run(capsys, *TINY, "--out", nowhere / "run")[0] == 0
    assert len(run(capsys, "eval", nowhere / "run")[1].splitlines()) == 2


def test_the_defaults_train(capsys):
    assert run(capsys, "train", "--epochs", "1", "--quiet")[0] == 0
    assert os.listdir("runs") == ["digits-small_cnn-fp32"]


def test_options_together_make_one_run(capsys, nowhere, monkeypatch):
    """The schedule, the accumulator and the length of a cycle follow from several; tests/cli has them one by one."""
    seen = {}
    monkeypatch.setattr(cli.train, "fit", lambda **k: seen.update(k))
    code, out, _ = run(
        capsys,
        "train",
        "--precision",
        "weight=bfp8,activation=e4m3,accumulator=bfp16",
        "--epochs",
        "8",
        "--batch-size",
        "100",
        "--lr",
        "0.2",
        "--swa-start",
        "4",
        "--out",
        nowhere / "x",
    )
    assert code == 0 and "9,978 parameters, 4 layers rounded" in out
    optimizer, swalp = seen["optimizer"], seen["swalp"]
    assert str(optimizer.precision.accumulator.format) == "bfp16" and optimizer.precision.error is None
    assert (swalp.start, swalp.cycle, swalp.lr) == (4 * 13, 13, 0.2 / 5)
    assert seen["schedule"](0) == 0.2 and seen["schedule"](3.9) == pytest.approx(0.002)


def test_a_long_precision_makes_no_folder_that_the_system_refuses(capsys):
    table = lp.Table(tuple(np.linspace(-2, 2, 63).tolist()), "long")
    assert run(capsys, *TINY, "--precision", repr(table))[0] == 0
    assert len(os.listdir("runs")) == 1 and len(os.listdir("runs")[0]) < 150


def test_the_home_folder_may_be_written_as_a_tilde(capsys, nowhere, monkeypatch):
    monkeypatch.setenv("HOME", str(nowhere))
    assert run(capsys, *TINY, "--out", "~/run")[0] == 0
    assert (nowhere / "run" / "model.npz").exists() and os.listdir(".") == []
    assert run(capsys, "eval", "~/run")[0] == 0


@pytest.mark.parametrize(
    "text, weight, activation",
    [
        ("FixedPoint(8, 6, symmetric=True)",) + ("FixedPoint(wl=8, fl=6, symmetric=True, saturate=True)",) * 2,
        ("weight=FixedPoint(8, 6),activation=bfp8", "fixed8.6", "bfp8"),
        (
            "activation=e4m3, weight=FixedPoint(8, 6, symmetric=True)",
            "FixedPoint(wl=8, fl=6, symmetric=True, saturate=True)",
            "e4m3",
        ),
    ],
)
def test_a_format_may_be_written_out(capsys, monkeypatch, text, weight, activation):
    """Commas and equals signs inside of parentheses belong to the format."""
    seen = {}
    monkeypatch.setattr(cli.train, "fit", lambda **k: seen.update(k))
    assert run(capsys, *TINY, "--precision", text)[0] == 0
    precision = seen["optimizer"].precision
    assert (str(precision.weight.format), str(precision.activation.format)) == (weight, activation)
    assert not re.search(r"[ ()]", seen["out"].name)


def test_an_interrupt_says_how_to_go_on(capsys, monkeypatch):
    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.train, "fit", interrupt)
    code, _, error = run(capsys, *TINY)
    assert code == 130 and "--resume" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["trian"], ["'trian'", "train"]),
        ([], ["COMMAND"]),
        (["train", "--modle", "mlp"], ["--modle"]),
        (["train", "--epochs"], ["--epochs"]),
        (["train", "--model", "smal_cnn"], ["'smal_cnn'", "small_cnn"]),
        (["train", "--model", "lenet"], ["lenet", "16x16", "8x8"]),
        (["train", "--data", "mnits"], ["'mnits'", "mnist"]),
        (["train", "--data", "mnist", "--data-dir", "missing"], ["missing", "train-images-idx3-ubyte"]),
        (["train", "--precision", "bfq8"], ["'bfq8'", "bfp8"]),
        (["train", "--precision", ""], ["unknown format"]),
        (["train", "--precision", "bfp99"], ["99"]),
        (["train", "--precision", "bfp1"], ["1"]),
        (["train", "--precision", "fixed99.3"], ["99"]),
        (["train", "--precision", "weight=bfp8,activaton=bfp8"], ["'activaton'", "activation"]),
        (["train", "--precision", "weight=bfq8"], ["'bfq8'"]),
        (["train", "--precision", "bfp8", "--rounding", "stochastik"], ["'stochastik'", "stochastic"]),
        (["train", "--rounding", "stochastik"], ["'stochastik'", "stochastic"]),
        (["train", "--epochs", "-1"], ["--epochs", "'-1'", "at least 1"]),
        (["train", "--epochs", "0"], ["--epochs"]),
        (["train", "--epochs", "many"], ["--epochs", "'many'", "integer"]),
        (["train", "--batch-size", "0"], ["--batch-size"]),
        (["train", "--lr", "-0.1"], ["--lr", "'-0.1'"]),
        (["train", "--lr", "nan"], ["--lr"]),
        (["train", "--momentum", "-1"], ["--momentum"]),
        (["train", "--weight-decay", "inf"], ["--weight-decay"]),
        (["train", "--seed", "-3"], ["--seed"]),
        (["train", "--seed", str(2**64)], ["seed"]),
        (["train", "--checkpoint-every", "-1"], ["--checkpoint-every"]),
        (["train", "--epochs", "5", "--swa-start", "5"], ["--swa-start", "below", "5"]),
        (["train", "--swa-start", "0"], ["--swa-start"]),
        (["train", "--swa-lr", "0.1"], ["--swa-lr", "--swa-start"]),
        (["train", "--swa-format", "bfp8"], ["--swa-format", "--swa-start"]),
        (["train", "--swa-start", "3", "--swa-lr", "-1"], ["--swa-lr"]),
        (["train", "--swa-start", "3", "--swa-cycle", "0"], ["--swa-cycle"]),
        (["train", "--swa-start", "3", "--swa-format", "bfq8"], ["'bfq8'"]),
        (["train", "--swa-start", "3", "--swa-cycle", "100000"], ["--swa-cycle", "at most 77", "100000"]),
        (["train", "--resume"], ["--resume", "runs/digits-small_cnn-fp32", "no run"]),
        (["train", "--resume", "--out", "."], ["--resume", "no run"]),
        (["train", "--out", ""], ["--out", "''"]),
        (["demo", "--out", ""], ["--out", "''"]),
        (["reproduce", "averaging", "--quick", "--out", " "], ["--out", "' '"]),
        (["eval", ""], ["RUN", "''"]),
        (["formats", "e4m3", "--plot", ""], ["--plot", "''"]),
        (["train", "--data-dir", "somewhere"], ["--data-dir", "digits", "somewhere"]),
        (["train", "--precision", "FixedPoint(8, 6"], ["FixedPoint(8, 6"]),
        (["train", "--precision", "weight=FixedPoint(8, 6),activaton=bfp8"], ["'activaton'", "activation"]),
        (["eval"], ["RUN"]),
        (["eval", "nothing"], ["nothing", "no run folder"]),
        (["demo", "--seeds", "1"], ["--seeds", "at least 2"]),
        (["demo", "--epochs", "2"], ["--epochs", "at least 3"]),
        (["formats", "e99m3"], ["99"]),
        (["formats", "bfq8"], ["'bfq8'", "bfp8"]),
    ],
)
def test_a_mistake_is_one_clear_line_and_leaves_nothing(capsys, arguments, words):
    error = refused(capsys, *arguments)
    assert all(word in error for word in words), error
    assert os.listdir(".") == []


def test_an_output_folder_under_a_file_is_refused(capsys, nowhere):
    (nowhere / "file").write_text("")
    for arguments in ((*TINY, "--out", nowhere / "file" / "run"), ("demo", "--out", nowhere / "file" / "demo")):
        assert "Not a directory" in refused(capsys, *arguments)
    assert "file" in refused(capsys, *TINY, "--out", nowhere / "file")


@pytest.fixture
def finished(nowhere, capsys):
    assert run(capsys, *TINY, "--out", nowhere / "run")[0] == 0
    return nowhere / "run"


def files(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


@pytest.mark.parametrize(
    "more, words",
    [
        ([], ["holds a run already"]),
        (["--resume", "--seed", "1"], ["seed=0", "not 1"]),
        (["--resume", "--precision", "bfp8"], ["precision='fp32'", "'bfp8'"]),
    ],
)
def test_a_folder_with_another_run_is_refused_untouched(capsys, finished, more, words):
    before = files(finished)
    error = refused(capsys, *TINY, "--out", finished, *more)
    assert all(word in error for word in words), error
    assert files(finished) == before


@pytest.mark.parametrize(
    "name, content",
    [
        ("checkpoint.npz", b"PK"),
        ("checkpoint.npz", b""),
        ("checkpoint.npz", None),
        ("config.json", b"{"),
    ],
)
def test_a_damaged_run_is_refused_by_the_files_name(capsys, finished, name, content):
    if content is None:
        np.savez(finished / name, x=np.arange(3))
    else:
        (finished / name).write_bytes(content)
    assert name in refused(capsys, *TINY, "--out", finished, "--resume")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("model.npz", b"PK", ["model.npz", "damaged"]),
        ("config.json", b"{}", ["config.json", "'data'"]),
        ("config.json", b"{", ["config.json", "damaged"]),
        ("model.npz", None, ["model.npz", "not ended"]),
    ],
)
def test_eval_refuses_a_damaged_or_unfinished_run(capsys, finished, name, content, words):
    (finished / name).unlink()
    if content is not None:
        (finished / name).write_bytes(content)
    error = refused(capsys, "eval", finished)
    assert all(word in error for word in words), error


def test_eval_refuses_a_model_file_without_a_model(capsys, finished):
    lp.save(finished / "model.npz", other=1)
    assert "'model'" in refused(capsys, "eval", finished)


def test_a_file_of_the_wrong_length_is_refused(capsys, nowhere):
    for name in data.sources.MNIST.files:
        (nowhere / name).write_bytes(b"\0\0\x08\x03" + b"\0" * 20)
    assert "train-images-idx3-ubyte" in refused(capsys, "train", "--data", "mnist", "--data-dir", nowhere)


def test_a_run_that_diverges_is_refused_with_the_step_and_keeps_its_folder(capsys, nowhere):
    error = refused(capsys, *TINY, "--lr", "1e38", "--out", nowhere / "run")
    assert re.search(r"step \d+ \(epoch 1\).*not finite", error), error
    assert "config.json" in os.listdir(nowhere / "run")


def test_formats_lists_and_describes(capsys):
    code, out, _ = run(capsys, "formats")
    assert code == 0 and "e4m3" in out and max(map(len, out.splitlines())) <= 80
    code, out, _ = run(capsys, "formats", "bfp8")
    assert code == 0 and out.strip()


def test_the_module_runs_as_a_program():
    command = [sys.executable, "-m", "lpnet", "train", "--model", "smal_cnn"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("lpnet: error: ") and done.stderr.count("\n") == 1


def shell(command):
    """Run a line of bash with buffered output, in which `lpnet` is the one under test."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(lp.__file__))
    line = f'lpnet() {{ "{sys.executable}" -m lpnet "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment)


posix = pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")


@posix
@pytest.mark.parametrize("command", ["formats", "reproduce", "--version", "train --help"])
def test_a_reader_that_goes_away_is_no_error(command):
    """Exit code 1 where the pipe was closed in time, and in any case nothing from Python about it."""
    done = shell(f"lpnet {command} | true; echo ${{PIPESTATUS[0]}}")
    assert done.stderr == "" and done.stdout.strip() == "1"


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_output_that_finds_no_room_is_one_clear_line():
    done = shell("lpnet formats > /dev/full; echo $?")
    assert done.stdout.strip() == "2" and done.stderr == "lpnet: error: No space left on device\n"


@posix
def test_an_epochs_line_is_in_a_log_when_the_epoch_ends(nowhere):
    """A run that is killed has told of every epoch but, perhaps, the last."""
    shell(
        f"'{sys.executable}' -m lpnet train --model logistic_regression --epochs 100000 --out run --device cpu "
        "> log 2> /dev/null & until [ $(cat run/log.jsonl | wc -l) -gt 5 ]; do kill -0 $! || exit; sleep 0.1; done; "
        "kill -KILL $!; wait"
    )
    told = Path("log").read_text().count("epoch ")
    assert told > 1 and abs(told - len(Path("run/log.jsonl").read_text().splitlines())) <= 1


def test_a_terminal_without_plus_minus_gets_a_table_nonetheless(monkeypatch):
    monkeypatch.setattr(demo, "run", lambda *_, **__: print("1.7 \u00b1 0.4"))
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["demo"]) == 0
    assert stream.buffer.getvalue().startswith(b"1.7 ? 0.4")
