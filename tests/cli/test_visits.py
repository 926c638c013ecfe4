"""What somebody with a folder of pictures types, from the first training to a prediction; and a look at one step."""

import re

import numpy as np
import pytest

import lpnet as lp
from lpnet import cli, training
from lpnet.cli import train as command
from tests.alone import leave_alone

image = pytest.importorskip("PIL.Image")
TRAIN = "train --data shapes --size 12 --val 0.2 --model mlp --precision bfp8 --lr 0.01 --epochs 4 --quiet"


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """Run in a folder with 90 pictures of three classes: bright above, below, or in the middle, on a noisy ground."""
    leave_alone(tmp_path, monkeypatch)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for at, name in enumerate(("above", "below", "middle")):
        (tmp_path / "shapes" / name).mkdir(parents=True)
        for i in range(30):
            pixels = rng.integers(0, 100, (18, 24))
            pixels[(0, 12, 6)[at] :][:6] += 100
            image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "shapes" / name / f"{i}.png")
    return tmp_path


def typed(capsys, line, code=0):
    """Return what a command line prints; of lines of at most 80 columns."""
    assert cli.main(line.split()) == code
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()), default=0) <= 80, out
    return out


def test_a_run_that_was_interrupted_goes_on_to_the_same_best_model(shapes, capsys, monkeypatch):
    """Ctrl-C in the third epoch ends with 130; resumed, the files are those of a run that was left alone."""
    whole = typed(capsys, f"{TRAIN} --out whole")
    assert "shapes: 57 training, 15 validation, 18 test samples in 3 classes" in whole
    fit = command.fit

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "fit", lambda **options: fit(**{**options, "progress": stop}))
    typed(capsys, f"{TRAIN} --out stopped", 130)
    monkeypatch.setattr(command, "fit", fit)
    rest = typed(capsys, f"{TRAIN} --out stopped --resume")
    best = re.compile(r"best of epoch \d+: .*")
    assert best.search(rest).group() == best.search(whole).group()
    ours, its = (lp.load(shapes / run / "best.npz")["model"] for run in ("stopped", "whole"))
    assert all(np.array_equal(ours[name], its[name]) for name in its)


def test_confusion_predictions_and_curves_of_a_run(shapes, capsys):
    """They agree: with each other, and with the model that `load_model` gives."""
    pytest.importorskip("matplotlib")
    typed(capsys, f"{TRAIN} --out run")
    out = typed(capsys, "eval run --confusion")
    error = float(re.search(r"best +exact +\S+ +(\S+) %", out).group(1))
    rows = [re.findall(r"\d+", line)[:3] for line in out.splitlines() if line.startswith(("above", "below", "middle"))]
    matrix = np.array(rows, int)
    assert matrix.sum(axis=1).tolist() == [6, 6, 6]  # a fifth of each class is the test set
    assert 100 * (1 - np.trace(matrix) / matrix.sum()) == pytest.approx(error, abs=0.01)
    assert (shapes / "run" / "confusion.png").exists()

    files = [f"shapes/{name}/{i}.png" for name in ("above", "below") for i in (0, 1)]
    ours = lp.load_model("run")
    probabilities = ours(ours.read([shapes / file for file in files]))
    lines = typed(capsys, f"predict run {' '.join(files)}").splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        [file, ours.classes[p.argmax()]] for file, p in zip(files, probabilities, strict=True)
    ]
    assert [float(line.split()[2]) for line in lines] == pytest.approx(100 * probabilities.max(axis=1), abs=0.05)

    typed(capsys, "plot run run --out curves.svg")
    assert (shapes / "curves.svg").read_text().startswith("<?xml")


def test_a_trace_of_a_run_is_a_file_and_a_map(shapes, capsys):
    """Of every second step, with the sites of the network and of the optimizer."""
    pytest.importorskip("matplotlib")
    typed(capsys, f"{TRAIN} --out run --batch-size 20 --trace 2")
    history = training.read_history(shapes / "run" / "rounding.jsonl")
    assert [step for step, _ in history] == list(range(2, history[-1][0] + 1, 2)) and len(history) >= 4
    assert ("optimizer", "weight") in history[0][1] and (shapes / "run" / "rounding.png").exists()


def test_few_pictures_are_learned_without_options(tmp_path, monkeypatch, capsys):
    """Of 600 drawn pictures in three classes a run without options gets nine in ten right, and resumes as it began."""
    leave_alone(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    rng, (row, column) = np.random.default_rng(0), np.mgrid[:24, :32]
    for name in ("circle", "square", "triangle"):
        (tmp_path / "drawn" / name).mkdir(parents=True)
        for i in range(200):
            r, x, y = rng.integers(5, 10), rng.integers(10, 22), rng.integers(10, 14)
            away, down = abs(column - x), row - y
            drawn = {
                "circle": away**2 + down**2 <= r * r,
                "square": np.maximum(away, abs(down)) <= r,
                "triangle": (abs(down) <= r) & (2 * away <= down + r),
            }[name]
            pixels = np.where(drawn[..., None], rng.integers(0, 110, 3), rng.integers(150, 255, 3))
            pixels = pixels + rng.integers(-20, 20, pixels.shape)
            image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "drawn" / name / f"{i}.png")
    out = typed(capsys, "train --data drawn --no-bar --out run")
    assert "few samples: batches of 8, rate 0.003125" in out
    assert float(re.findall(r"test +(\S+) %", out)[-1]) < 10
    typed(capsys, "train --data drawn --no-bar --out run --resume")


@pytest.mark.parametrize(
    "typed_, batch, rate",
    [
        ("--size 12 --data shapes", 8, 0.003125),
        ("--size 12 --data shapes --batch-size 128", 128, 0.05),
        ("--size 12 --data shapes --lr 0.1", 8, 0.1),
        ("--size 12 --data shapes --optimizer adam", 8, 0.001),
        ("--data digits", 128, 0.05),
        ("--data digits --val 0.5", 128, 0.05),
        ("--data digits --optimizer rmsprop", 128, 0.001),
    ],
)
def test_batches_are_small_of_few_samples_of_ones_own_only(shapes, capsys, monkeypatch, typed_, batch, rate):
    """And sgd's rate goes with them, where neither is said."""
    seen = {}
    monkeypatch.setattr(command, "fit", lambda **options: seen.update(options))
    monkeypatch.setattr(command, "_finish", lambda *_: None)
    typed(capsys, f"train --model logistic_regression {typed_}")
    assert (seen["train"].batch_size, seen["optimizer"].lr) == (batch, rate)
    assert seen["config"]["momentum"] == 0.9  # as in the configurations of earlier runs, whatever steps


def test_a_trace_without_a_map_says_why(shapes, capsys):
    """Of a run that is too short, and of one in which nothing is rounded."""
    pytest.importorskip("matplotlib")
    assert "--trace: no map, the run has less than 999 steps" in typed(capsys, f"{TRAIN} --out short --trace 999")
    exact = TRAIN.replace("bfp8", "fp32")
    assert "--trace: no map, nothing is rounded" in typed(capsys, f"{exact} --out exact --trace 2")
    assert not list(shapes.rglob("rounding.png"))


@pytest.mark.parametrize("model", ["small_cnn", "preresnet20"])
def test_a_step_names_every_parameter_and_is_the_same_each_time(shapes, capsys, model):
    """Each whole name stands in the table once, and no file is written; another seed is another step."""
    line = f"step --model {model} --precision weight=bfp3,activation=bfp3,error=bfp3,gradient=bfp3 --batch-size 16"
    first = typed(capsys, line)
    assert first == typed(capsys, line) != typed(capsys, f"{line} --seed 1")
    assert [path.name for path in shapes.iterdir()] == ["shapes"]
    names = [name for name, _ in lp.models.build(model, (1, 8, 8), 10).named_parameters()]
    table = first.split("\n\n")[1].split()
    assert [word for word in table if word in names] == names


def test_a_step_after_others_is_the_next_of_the_same_training(shapes, capsys):
    """The loss falls, and the story of a weight goes on where it was left."""
    losses, before, after = [], [], []
    for steps in (0, 1, 12):  # an epoch has 11
        out = typed(capsys, f"step --precision bfp8 --after {steps} --weight 8.bias:3")
        losses.append(float(re.search(r"loss (\S+),", out).group(1)))
        before.append(re.search(r"^before +(\S+)", out, re.MULTILINE).group(1))
        after.append(re.search(r"^after +([^\s,]+)", out, re.MULTILINE).group(1))
    assert losses[2] < losses[0] and after[0] == before[1]


def test_a_scaled_loss_brings_back_errors_that_underflow(shapes, capsys):
    """In fixed8.6 most errors of the last layers become zero; multiplied by 256 fewer do."""
    shares = []
    for scale in (1, 256):
        out = typed(capsys, f"step --precision fixed8.6 --loss-scale {scale}")
        shares.append(float(re.search(r"^6 +error .* (\S+) %$", out, re.MULTILINE).group(1)))
    assert shares[0] > 90 > 50 > shares[1]
