"""`fit` and `evaluate`: learning, logs, exact resume, and what happens when numbers or files go wrong."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, optim, picture, training
from lpnet.data import DataLoader, random_crop, random_flip
from lpnet.training.attributes import Attributes
from lpnet.training.log import as_json
from lpnet.training.settings import text

DRAW = picture.try_save
TRAIN, TEST = lp.data.load("digits")
TRAIN, TEST = TRAIN[:100], TEST[:60]


@pytest.fixture(autouse=True, scope="module")
def without_pictures():
    """Drawing takes longer than these runs; one test looks at the picture."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch.setattr(picture, "try_save", lambda *_: True)


class Killed(Exception):
    """What stands for a kill in these tests."""


def fails_at(call):
    """Return a transform that passes batches through until its `call`-th, counted from 0."""
    calls = iter(range(10_000))

    def transform(x, rng):
        if next(calls) == call:
            raise Killed
        return x

    return transform


def parts(kill_at=None, held=False, **changes):
    """Return fit's arguments for a run in which all that is random happens, freshly made from the seed."""
    lp.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(36, 10),
    )
    precision, average = lp.Precision.uniform("bfp8", stream=lp.random.Stream(9) if held else None), None
    if held:
        average = lp.Quantizer("bfp8", stream=lp.random.Stream(10))
    nn.lower(model, precision)
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9, 1e-4, precision=precision)
    train = DataLoader(TRAIN, 32, shuffle=True, seed=3, transform=(fails_at(kill_at), random_crop(1), random_flip()))
    start = {"swalp": optim.SWALP(model, optimizer, 6, 3, 0.02, average), "schedule": optim.swalp_schedule(0.1, 2)}
    made = {
        "model": model,
        "train": train,
        "test": DataLoader(TEST, 32),
        "epochs": 4,
        "optimizer": optimizer,
        "progress": False,
        **start,
    }
    return {**made, **changes}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, without_pictures):
    folders = {}
    for held in (False, True):
        folders[held] = tmp_path_factory.mktemp("runs") / "whole"
        lp.fit(**parts(held=held), out=folders[held])
    return {held: contents(folder) for held, folder in folders.items()}


def test_the_run_folder_holds_what_the_docs_say(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "try_save", DRAW)
    lp.fit(**parts(), out=tmp_path)
    names = {"config.json", "log.jsonl", "checkpoint.npz", "model.npz", "averaged.npz", "curves.png"}
    assert set(contents(tmp_path)) == names
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_run_repeats_to_the_byte_and_the_files_do_not_change_it(uninterrupted, tmp_path):
    lp.fit(**parts(), out=tmp_path / "again", checkpoint_every=0)
    assert contents(tmp_path / "again") == uninterrupted[False]
    plain = parts()
    lp.fit(**plain)
    lp.save(tmp_path / "model.npz", packed=plain["optimizer"].precision.weight.format, model=plain["model"])
    assert (tmp_path / "model.npz").read_bytes() == uninterrupted[False]["model.npz"]


@pytest.mark.parametrize("held", [False, True])  # whether quantizers hold streams of their own
@pytest.mark.parametrize("kill_at, every", [(k, 0) for k in (0, 1, 3, 4, 6, 7, 9, 12, 15)] + [(7, 1e9)])
def test_a_run_interrupted_anywhere_and_resumed_ends_with_the_same_bytes(uninterrupted, tmp_path, kill_at, every, held):
    # 4 steps an epoch; SWALP starts after 6 and averages after 9, 12 and 15
    with pytest.raises(Killed):
        lp.fit(**parts(kill_at, held), out=tmp_path, checkpoint_every=every)
    lp.fit(**parts(held=held), out=tmp_path, resume=True)
    assert contents(tmp_path) == uninterrupted[held]


def test_a_run_interrupted_again_and_again_ends_with_the_same_bytes(uninterrupted, tmp_path):
    # Each attempt gets a few batches further: killed before the first checkpoint, mid-epoch, and at epochs' ends.
    for i, kill_at in enumerate((0, 2, 2, 2, 2, 3, 3, 1)):
        with pytest.raises(Killed):
            lp.fit(**parts(kill_at), out=tmp_path, resume=i > 0, checkpoint_every=0)
    lp.fit(**parts(), out=tmp_path, resume=True)
    assert contents(tmp_path) == uninterrupted[False]


class Stopping:
    """Raises at the call of that number of what it stands in for, after `done` if that is given."""

    def __init__(self, real, call, error, done=False):
        self.real, self.calls, self.error, self.done = real, iter(range(call + 1)), error, done
        self.last = call

    def __call__(self, *arguments):
        at = next(self.calls, None)
        if at != self.last:
            return self.real(*arguments)
        if self.done:
            self.real(*arguments)
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), Killed(), MemoryError()])
@pytest.mark.parametrize("place", ["forward", "backward", "update", "optimizer", "swalp", "callback", "evaluate"])
def test_whatever_stops_a_run_writes_the_last_whole_step_first(uninterrupted, tmp_path, monkeypatch, place, error):
    """A stop in the midst of a step, with half of it done, resumes to the same bytes."""
    run = parts()
    if place == "forward":
        run["loss"] = Stopping(lp.functions.cross_entropy, 7, error, done=True)
    elif place == "backward":
        run["scaler"] = None
        monkeypatch.setattr(run["optimizer"], "zero_grad", Stopping(run["optimizer"].zero_grad, 9, error))
    elif place == "update":
        monkeypatch.setattr(run["optimizer"], "update", Stopping(run["optimizer"].update, 40, error))
    elif place == "optimizer":
        monkeypatch.setattr(run["optimizer"], "step", Stopping(run["optimizer"].step, 9, error, done=True))
    elif place == "swalp":
        monkeypatch.setattr(run["swalp"], "step", Stopping(run["swalp"].step, 8, error, done=True))
    elif place == "callback":
        run["progress"] = Stopping(lambda row: None, 2, error)
    else:
        run["test"] = DataLoader(TEST, 32, transform=Stopping(lambda x, rng: x, 5, error))
    with pytest.raises(type(error)):
        lp.fit(**run, out=tmp_path, checkpoint_every=1e9)
    assert lp.load(tmp_path / "checkpoint.npz")["run"]["step"] > 0 and not (tmp_path / ".lock").exists()
    monkeypatch.undo()
    monkeypatch.setattr(picture, "try_save", lambda *_: True)
    lp.fit(**parts(), out=tmp_path, resume=True)
    assert contents(tmp_path) == uninterrupted[False]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_sigterm_is_such_a_stop_and_its_handler_is_put_back(uninterrupted, tmp_path):
    def stop(row):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as stopped:
        lp.fit(**parts(progress=stop), out=tmp_path, checkpoint_every=1e9)
    assert stopped.value.code == 143 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    lp.fit(**parts(), out=tmp_path, resume=True)
    assert contents(tmp_path) == uninterrupted[False]


@pytest.mark.parametrize("made", [False, True])
def test_resuming_where_there_is_no_run_is_refused_and_makes_nothing(tmp_path, made):
    folder = tmp_path / "none"
    if made:
        folder.mkdir()
    with pytest.raises(FileNotFoundError, match="none holds no run to resume"):
        lp.fit(**parts(), out=folder, resume=True)
    assert folder.exists() == made and (not made or not contents(folder))


def test_what_a_kill_leaves_behind_is_cleared_away(uninterrupted, tmp_path):
    with pytest.raises(Killed):
        lp.fit(**parts(9), out=tmp_path, checkpoint_every=0)
    (tmp_path / ".tmp-123-0-checkpoint.npz").write_bytes(b"half")
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write('{"epoch": 3, "st')
    (tmp_path / "model.npz").write_bytes(b"of an earlier time")
    lp.fit(**parts(), out=tmp_path, resume=True)
    assert contents(tmp_path) == uninterrupted[False]


def test_a_lost_log_comes_back(uninterrupted, tmp_path):
    with pytest.raises(Killed):
        lp.fit(**parts(9), out=tmp_path, checkpoint_every=0)
    (tmp_path / "log.jsonl").unlink()
    lp.fit(**parts(), out=tmp_path, resume=True)
    assert contents(tmp_path) == uninterrupted[False]


def test_resuming_a_run_that_has_ended_changes_nothing(uninterrupted, tmp_path):
    lp.fit(**parts(), out=tmp_path)
    log = lp.fit(**parts(kill_at=0), out=tmp_path, resume=True)
    assert contents(tmp_path) == uninterrupted[False] and len(log) == 4


def test_a_full_disk_stops_the_run_and_loses_nothing(uninterrupted, tmp_path, monkeypatch):
    real, calls = os.fsync, iter(range(10_000))

    def fsync(descriptor):
        if next(calls) == 30:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"cannot write .*: No space left"):
        lp.fit(**parts(), out=tmp_path, checkpoint_every=0)
    monkeypatch.undo()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".tmp")]
    assert lp.load(tmp_path / "checkpoint.npz")["run"]["step"] > 0
    lp.fit(**parts(), out=tmp_path, resume=True)
    assert contents(tmp_path) == uninterrupted[False]


# Learning and the log


def test_training_reduces_the_loss():
    model = lp.models.small_cnn(width=4)
    nn.lower(model, "bfp8")
    log = lp.fit(
        model,
        DataLoader(TRAIN, 20, shuffle=True),
        DataLoader(TEST, 60),
        epochs=10,
        progress=False,
        optimizer=optim.SGD(model.parameters(), 0.1, 0.9, precision="bfp8"),
    )
    assert log[-1]["train_loss"] < 0.1 * log[0]["train_loss"] and log[-1]["test_error"] < 50


def test_the_log_has_a_row_an_epoch_with_what_was_measured(uninterrupted):
    rows = [json.loads(line) for line in uninterrupted[False]["log.jsonl"].splitlines()]
    assert [(r["epoch"], r["step"]) for r in rows] == [(1, 4), (2, 8), (3, 12), (4, 16)]
    always = {"epoch", "step", "lr", "train_loss", "train_error", "test_loss", "test_error"}
    assert set(rows[0]) == always and set(rows[3]) == always | {"swalp_loss", "swalp_error"}


def test_the_log_gives_the_rate_the_epoch_was_trained_with():
    run = parts(epochs=3, schedule=optim.swalp_schedule(0.1, 2))
    run["swalp"] = optim.SWALP(run["model"], run["optimizer"], 8, 4, 0.02)
    assert [row["lr"] for row in lp.fit(**run)] == pytest.approx([0.1, 0.1, 0.02])


def test_the_schedule_sets_the_rate_of_each_epoch():
    run = parts(swalp=None, epochs=3, schedule=lambda epoch: 0.1 / (1 + epoch))
    assert [row["lr"] for row in lp.fit(**run)] == [0.1, 0.05, 0.1 / 3]


def test_the_test_set_is_measured_every_so_often_and_at_the_end():
    log = lp.fit(**parts(evaluate_every=3))
    assert ["test_error" in row for row in log] == [False, False, True, True]


def test_rows_go_to_the_function_given():
    seen = []
    assert lp.fit(**parts(progress=seen.append, epochs=2)) == seen


def test_the_progress_lines_fit_a_terminal(capsys):
    lp.fit(**parts(progress=True))
    out = capsys.readouterr().out
    assert out.count("epoch") == 4 and "average" in out and max(map(len, out.splitlines())) <= 80


def test_precision_rounds_every_operation():
    run = parts(swalp=None, schedule=None, epochs=1)
    nn.lower(run["model"], None)
    seen = []
    run["precision"] = lp.Precision(activation=lambda x: seen.append(x.shape) or x)
    lp.fit(**run)
    assert (32, 10) in seen and (32, 4, 6, 6) in seen


def test_a_training_set_whose_last_batch_is_dropped_can_be_averaged():
    x, y = np.random.default_rng(0).standard_normal((17, 4)).astype(np.float32), np.arange(17) % 3
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    optimizer = optim.SGD(model.parameters(), 0.1)
    log = lp.fit(
        model,
        DataLoader((x, y), 8, drop_last=True),
        DataLoader((x, y), 8),
        epochs=2,
        optimizer=optimizer,
        swalp=optim.SWALP(model, optimizer, 1, 1),
        progress=False,
    )
    assert "swalp_error" in log[-1]


def test_regression_has_a_loss_and_no_error():
    x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    y = x @ np.float32([[1], [-2], [0.5]])
    model = lp.models.linear_regression(3)
    log = lp.fit(
        model,
        DataLoader((x, y), 8),
        DataLoader((x, y), 64),
        epochs=20,
        progress=False,
        optimizer=optim.SGD(model.parameters(), 0.1),
        loss=lp.functions.mse_loss,
    )
    assert set(log[-1]) == {"epoch", "step", "lr", "train_loss", "test_loss"} and log[-1]["test_loss"] < 1e-4


# Evaluation


def test_evaluate_gives_the_mean_over_samples_whatever_the_batches():
    model = parts()["model"]
    nn.lower(model, None)
    logits = model.eval()(TEST.normalize(TEST.scaled())).numpy().astype(np.float64)
    wide = logits - logits.max(axis=1, keepdims=True)
    loss = (np.log(np.exp(wide).sum(1)) - wide[np.arange(60), TEST.labels]).mean()
    for size in (60, 32, 7):
        result = lp.evaluate(model, DataLoader(TEST, size))
        assert result["loss"] == pytest.approx(loss, rel=1e-5)
        assert result["error"] == pytest.approx(100 * (logits.argmax(1) != TEST.labels).mean())


def test_evaluate_leaves_streams_and_modes_even_when_interrupted():
    model = parts()["model"]
    model[5].eval()
    modes, site = [m.training for m in model.modules()], lp.random.default.site
    lp.evaluate(model, DataLoader(TEST, 32))
    with pytest.raises(Killed):
        lp.evaluate(model, DataLoader(TEST, 32, transform=fails_at(1)))
    with pytest.raises(ValueError, match="no data"):
        lp.evaluate(model, [])
    assert [m.training for m in model.modules()] == modes and lp.random.default.site == site


# Numbers that are not finite


class Overflow(nn.Module):
    """Multiplies by a number that leaves float32's range."""

    def forward(self, x):
        return x * 1e38 * 1e38


def plain(*layers, lr=0.1, x=None, **options):
    x = np.random.default_rng(0).standard_normal((96, 4)).astype(np.float32) if x is None else x
    model = nn.Sequential(*layers)
    return {
        "model": model,
        "train": DataLoader((x, np.arange(96) % 3), 32),
        "epochs": 2,
        "progress": False,
        "optimizer": optim.SGD(model.parameters(), lr),
        **options,
    }


def spoiled(array, index):
    array = array.copy()
    array[index] = np.nan
    return array


def test_nan_in_the_data_stops_at_its_step_and_the_last_good_checkpoint_stays(tmp_path):
    lp.manual_seed(0)
    x = spoiled(np.ones((96, 4), np.float32), (70, 2))
    with pytest.raises(FloatingPointError, match=r"step 3 \(epoch 1\): the loss is nan.*in the data"):
        lp.fit(**plain(nn.Linear(4, 3), x=x), out=tmp_path, checkpoint_every=0)
    good = lp.load(tmp_path / "checkpoint.npz")["run"]
    assert good["step"] == 2 and np.isfinite(good["model"]["0.weight"]).all()


@pytest.mark.parametrize("precision", [None, "bfp8", "fixed8.6", "e4m3", "e2m1"])
def test_nan_in_the_data_is_found_under_any_precision(precision):
    run = parts(swalp=None, schedule=None)
    nn.lower(run["model"], precision)
    images = spoiled(TRAIN.images.astype(np.float32), (0, 0, 4, 4))
    run["train"] = DataLoader((images, TRAIN.labels), 100)
    with pytest.raises(FloatingPointError, match=r"step 1 .*in the data"):
        lp.fit(**run)


def test_a_mistake_that_is_no_nan_passes_as_it_is():
    with pytest.raises(ValueError, match="label"):
        lp.fit(**plain(nn.Linear(4, 2)))


def test_nan_in_a_weight_is_named():
    run = plain(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    run["model"][2].bias.data[1] = np.nan
    with pytest.raises(FloatingPointError, match=r"step 1 .*in parameter '2\.bias'"):
        lp.fit(**run)


def test_the_layer_that_overflows_first_is_named():
    with pytest.raises(FloatingPointError, match=r"step 1 .*output of layer '1' \(Overflow\)"):
        lp.fit(**plain(nn.Linear(4, 3), Overflow(), nn.Linear(3, 3)))


def test_a_step_that_spoils_the_weights_is_stopped_at_that_step(tmp_path):
    with pytest.raises(FloatingPointError, match=r"step 1 .*weight is not finite.*in parameter '0\.weight'"):
        lp.fit(**plain(nn.Linear(4, 3, bias=False), lr=1e300), out=tmp_path, checkpoint_every=0)
    assert not (tmp_path / "checkpoint.npz").exists()


def test_a_loss_that_is_nan_by_itself_is_told_apart():
    def loss(logits, labels):
        return logits.sum() * float("nan")

    with pytest.raises(FloatingPointError, match="only the loss itself"):
        lp.fit(**plain(nn.Linear(4, 3), loss=loss))


# Folders that do not fit


def test_a_folder_with_another_configuration_is_refused_untouched(tmp_path):
    lp.fit(**parts(epochs=1), out=tmp_path, config={"seed": 1, "lr": 0.1})
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"seed=1, not 2.*choose another folder"):
        lp.fit(**parts(epochs=1), out=tmp_path, config={"seed": 2, "lr": 0.1}, resume=True)
    with pytest.raises(ValueError, match="holds a run already: resume it"):
        lp.fit(**parts(epochs=1), out=tmp_path, config={"seed": 1, "lr": 0.1})
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda folder: (folder / "checkpoint.npz").write_bytes(b"PK"), r"checkpoint\.npz: damaged"),
        (lambda folder: shutil.copy(folder / "model.npz", folder / "checkpoint.npz"), r"checkpoint\.npz does not fit"),
        (lambda folder: (folder / "config.json").write_text('{"a'), r"config\.json: damaged"),
        (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json: expected a dictionary"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    ],
)
def test_damaged_files_are_named(tmp_path, spoil, words):
    lp.fit(**parts(epochs=1), out=tmp_path)
    spoil(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        lp.fit(**parts(epochs=2), out=tmp_path, resume=True)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    lp.fit(**plain(nn.Linear(4, 3)), out=tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint\.npz does not fit this run: .*'1\.weight'"):
        lp.fit(**plain(nn.Linear(4, 4), nn.Linear(4, 3)), out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="other settings"):
        run = plain(nn.Linear(4, 3))
        lp.fit(**run, swalp=optim.SWALP(run["model"], run["optimizer"], 1, 1), out=tmp_path, resume=True)


def test_scaling_the_loss_by_a_power_of_two_changes_nothing_in_float():
    def weights(scaler):
        lp.manual_seed(0)
        run = plain(nn.Linear(4, 3))
        log = lp.fit(**run, scaler=scaler)
        return next(run["model"].parameters()).data, log

    (a, plain_log), (b, log) = weights(None), weights(optim.LossScaler(1024.0))
    np.testing.assert_array_equal(a, b)
    assert log == plain_log  # the loss as it is, not as it is scaled


def test_errors_below_the_range_of_their_format_are_saved_by_scaling_the_loss():
    """Those of this loss are below 2^-20, and the smallest number of e4m3 is 2^-9."""
    for scaler, moves in ((None, False), (optim.LossScaler(2.0**20), True)):
        run = plain(nn.Linear(4, 3), lr=1e4, precision=lp.Precision(error=lp.Quantizer("e4m3", "nearest")))
        before = next(run["model"].parameters()).data.copy()
        lp.fit(**run, scaler=scaler, loss=lambda logits, labels: lp.functions.cross_entropy(logits, labels) * 2.0**-20)
        assert (before != next(run["model"].parameters()).data).any() == moves


def test_a_resumed_run_goes_on_with_the_scale_it_had(tmp_path):
    scaler = optim.LossScaler(8.0, growth_interval=3)
    lp.fit(**parts(), scaler=scaler, out=tmp_path / "whole")
    with pytest.raises(Killed):
        lp.fit(**parts(kill_at=7), scaler=optim.LossScaler(8.0, 3), out=tmp_path / "killed", checkpoint_every=0)
    resumed = optim.LossScaler(8.0, growth_interval=3)
    lp.fit(**parts(), scaler=resumed, out=tmp_path / "killed", resume=True)
    assert resumed.factor == scaler.factor == 8.0 * 2 ** (16 // 3)  # 4 epochs of 4 steps
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
    with pytest.raises(ValueError, match="other settings"):
        lp.fit(**parts(), out=tmp_path / "killed", resume=True)


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"epochs": 0}, "epochs"),
        ({"evaluate_every": 0}, "evaluate_every"),
        ({"checkpoint_every": -1}, "checkpoint_every"),
        ({"checkpoint_every": float("nan")}, "checkpoint_every"),
    ],
)
def test_bad_arguments_are_refused_before_a_folder_is_made(tmp_path, changes, word):
    with pytest.raises(ValueError, match=word):
        lp.fit(**parts(**changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        lp.fit(**parts(), out=tmp_path / "file" / "run")


def test_curves_of_a_short_log_are_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(picture, "try_save", DRAW)
    training.plot_curves([{"epoch": 1, "train_loss": 1.0}], tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


# Settings that shape the next step


def small(tmp_path, **changes):
    """Return fit's arguments for a short run with everything whose settings a resumed run must have again."""
    c = {
        "size": 32,
        "shuffle": True,
        "drop_last": False,
        "n": 96,
        "momentum": 0.9,
        "decay": 1e-4,
        "nesterov": False,
        "cycle": 2,
        "lr": 0.01,
        "growth": 5,
        "precision": None,
        "optimizer": None,
        "schedule": optim.constant_schedule(0.1),
        **changes,
    }
    lp.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3))
    optimizer = optim.SGD(model.parameters(), 0.1, c["momentum"], c["decay"], c["nesterov"], precision=c["optimizer"])
    x = np.random.default_rng(0).standard_normal((c["n"], 4)).astype(np.float32)
    train = DataLoader((x, np.arange(c["n"]) % 3), c["size"], c["shuffle"], drop_last=c["drop_last"])
    return {
        "model": model,
        "train": train,
        "optimizer": optimizer,
        "epochs": c.get("epochs", 2),
        "progress": False,
        "swalp": optim.SWALP(model, optimizer, 1, c["cycle"], c["lr"]),
        "precision": c["precision"],
        "scaler": optim.LossScaler(8.0, c["growth"]),
        "schedule": c["schedule"],
        "out": tmp_path,
    }


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"size": 16}, "batch_size=32.*not 16"),
        ({"shuffle": False}, "shuffle=True"),
        ({"drop_last": True}, "drop_last=False"),
        ({"n": 90}, "samples=96.*not 90"),
        ({"momentum": 0.5}, "momentum=0.9"),
        ({"decay": 0.0}, "weight_decay"),
        ({"nesterov": True}, "nesterov"),
        ({"cycle": 3}, "cycle=2"),
        ({"lr": 0.02}, "lr=0.01"),
        ({"growth": 6}, "growth_interval=5"),
        ({"precision": "bfp8"}, "precision='exact'"),
        ({"optimizer": "bfp8"}, "precision='exact'"),
        ({"schedule": optim.constant_schedule(0.2)}, "schedule that gives 0.1"),
    ],
)
def test_a_run_resumed_with_other_settings_is_refused_by_their_name(tmp_path, changes, words):
    lp.fit(**small(tmp_path))
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=words):
        lp.fit(**small(tmp_path, **changes), resume=True)
    assert contents(tmp_path) == before


def test_more_epochs_go_on_and_a_checkpoint_that_knows_no_settings_is_taken(tmp_path):
    lp.fit(**small(tmp_path / "whole", epochs=3))
    lp.fit(**small(tmp_path / "run"))
    state = lp.load(tmp_path / "run" / "checkpoint.npz")["run"]
    old = {k: v for k, v in state.items() if k not in ("settings", "rates", "first_loss")}
    lp.save(tmp_path / "run" / "checkpoint.npz", run=old)
    lp.fit(**small(tmp_path / "run", epochs=3), resume=True)
    weights = [lp.load(tmp_path / name / "model.npz")["model"]["0.weight"] for name in ("whole", "run")]
    np.testing.assert_array_equal(*weights)


def several(run, average="bfp4"):
    """Give a run three averages, two of them with streams of their own."""
    kinds = {
        "every": {"cycle": 1},
        "rare": {"average": lp.Quantizer("bfp8", stream=lp.random.Stream(1))},
        "coarse": {"cycle": 1, "average": lp.Quantizer(average, stream=lp.random.Stream(2))},
    }
    run["swalp"] = optim.SWALP(run["model"], run["optimizer"], 1, 2, 0.01, averages=kinds)
    return run


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_a_run_of_several_averages_stopped_anywhere_ends_with_the_same_bytes(tmp_path, steps):
    """Also where it is stopped in the midst of a step, after one average has taken in the weights."""
    lp.fit(**several(small(tmp_path / "whole")))
    run = several(small(tmp_path / "run"))
    coarse = run["swalp"].averages["coarse"]
    coarse.step = Stopping(coarse.step, steps, Killed())
    with pytest.raises(Killed):
        lp.fit(**run)
    again = several(small(tmp_path / "run"))
    lp.fit(**again, resume=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "run")
    assert [one.n_averaged for one in again["swalp"].averages.values()] == [5, 2, 5]


def test_a_run_resumed_with_other_averages_is_refused(tmp_path):
    lp.fit(**several(small(tmp_path)))
    with pytest.raises(ValueError, match=r"averages=.*bfp4.*not.*bfp6"):
        lp.fit(**several(small(tmp_path), "bfp6"), resume=True)


class Dither:
    """Rounds to sixteenths off a shift that moves with every call: all kinds of attributes, two of them made late."""

    def __init__(self):
        self.rng, self.stream, self.quantizer = np.random.default_rng(3), lp.random.Stream(4), lp.Quantizer("bfp8")
        self.carried, self.pair, self.factor = np.zeros(()), (1, 2), np.float32(1)
        object.__setattr__(self.quantizer, "stream", lp.random.Stream(5))
        self.opaque = object()  # no state: left alone

    def __call__(self, x):
        self.count = getattr(self, "count", 0) + 1
        self.carried = self.carried + self.rng.random() + self.stream.draw(1)[0] / 2**16
        self.pair, self.factor = self.pair[::-1], self.factor * np.float32(1.001)
        assert type(self.pair) is tuple and type(self.factor) is np.float32
        return self.quantizer(np.floor(x * 16 + self.carried % 1) / 16 * self.pair[0] / self.pair[0])

    def method(self, x):
        return self(x)


class Own:
    """The same, with a state of its own that its attributes do not show."""

    def __init__(self):
        self.dither = Dither()

    def __call__(self, x):
        return self.dither(x)

    def state_dict(self):
        return Attributes(self.dither).state_dict()

    def load_state_dict(self, state):
        Attributes(self.dither).load_state_dict(state)


@dataclasses.dataclass
class Shown:
    """A function whose text shows its state."""

    shift: float = 0.0

    def __call__(self, x):
        self.shift = (self.shift + 0.3) % 1
        return np.floor(x * 64 + self.shift) / 64


def with_attributes():
    def q(x):
        q.shift = (q.shift + 0.3) % 1
        return np.floor(x * 64 + q.shift) / 64

    q.shift = 0.0
    return q


FUNCTIONS = {
    "attributes": Dither,
    "method": lambda: Dither().method,
    "state": Own,
    "shown": Shown,
    "function": with_attributes,
}


def stateful(folder, make):
    """Return a run with a stateful function in each place that takes one."""
    run = small(folder, optimizer=lp.Precision(weight=make(), momentum=make(), gradient=make()))
    nn.lower(run["model"], lp.Precision(activation=make(), error=make()), ["0"])
    run["swalp"] = optim.SWALP(run["model"], run["optimizer"], 1, 1, averages={"a": {"average": make()}, "b": {}})
    return {**run, "precision": lp.Precision(activation=make()), "test": list(run["train"])}


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("place", ["loss", "update"])
@pytest.mark.parametrize("step", [0, 1, 4])
def test_functions_with_a_state_go_on_from_where_they_were(tmp_path, kind, place, step):
    """Stopped in the midst of any step, and resumed by functions that are new."""
    lp.fit(**stateful(tmp_path / "whole", FUNCTIONS[kind]))
    run = stateful(tmp_path / "run", FUNCTIONS[kind])
    if place == "loss":
        run["loss"] = Stopping(lp.functions.cross_entropy, step, Killed(), done=True)
    else:
        run["optimizer"].update = Stopping(run["optimizer"].update, 2 * step + 1, Killed())
    with pytest.raises(Killed):
        lp.fit(**run)
    del run
    lp.fit(**stateful(tmp_path / "run", FUNCTIONS[kind]), resume=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "run")


def test_a_checkpoint_that_knows_no_functions_is_taken_and_one_of_others_refused(tmp_path):
    lp.fit(**stateful(tmp_path, Shown))
    state = lp.load(tmp_path / "checkpoint.npz")["run"]
    held = state["functions"].pop("fit.activation")
    lp.save(tmp_path / "checkpoint.npz", run=state)
    with pytest.raises(ValueError, match="functions that round"):
        lp.fit(**stateful(tmp_path, Shown), resume=True)
    assert set(held) == {"shift"}
    del state["functions"]
    lp.save(tmp_path / "checkpoint.npz", run=state)
    lp.fit(**stateful(tmp_path, Shown), resume=True)


def test_functions_that_round_are_the_same_in_every_process():
    assert " at 0x" not in text(lp.Precision(weight=lambda x: x))


def test_a_step_that_the_scaler_skips_is_none_for_the_average():
    run = plain(nn.Linear(4, 3), epochs=1)
    scaler = optim.LossScaler(3e38, growth_interval=100)
    run["swalp"] = optim.SWALP(run["model"], run["optimizer"], 0, 1)
    run["loss"] = lambda logits, labels: lp.functions.cross_entropy(logits, labels) * 8
    skipped = []
    step = scaler.step
    scaler.step = lambda optimizer: skipped.append(not step(optimizer)) or not skipped[-1]
    lp.fit(**run, scaler=scaler)
    assert any(skipped) and run["swalp"].t == skipped.count(False)


# The task, and loaders of any kind


@pytest.mark.parametrize("shape", [(64, 1), (64,)])
def test_regression_on_whole_numbers_has_no_error(shape):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 4)).astype(np.float32), rng.integers(0, 9, shape)
    model = nn.Linear(4, 1)

    def loss(prediction, y):
        return lp.functions.mse_loss(lp.functions.reshape(prediction, (-1, *shape[1:])), y)

    run = {"epochs": 1, "optimizer": optim.SGD(model.parameters(), 0.01), "loss": loss, "progress": False}
    (row,) = lp.fit(model, DataLoader((x, y), 8), DataLoader((x, y), 64), **run)
    assert set(row) == {"epoch", "step", "lr", "train_loss", "test_loss"}


class Once:
    """A loader that is neither a list nor knows its length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize("kind", [list, tuple, Once])
def test_any_loader_trains_averages_and_resumes(tmp_path, kind):
    rng = np.random.default_rng(0)
    batches = kind([(rng.standard_normal((8, 4)).astype(np.float32), rng.integers(0, 3, 8)) for _ in range(8)])

    def run(out, **more):
        lp.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
        optimizer = optim.SGD(model.parameters(), 0.1)
        swalp = optim.SWALP(model, optimizer, 8, 4)
        given = {"epochs": 3, "optimizer": optimizer, "swalp": swalp, "progress": False, "out": out, **more}
        return lp.fit(model, batches, batches, **given)

    assert "swalp_error" in run(tmp_path / "whole")[-1]
    with pytest.raises(Killed):
        run(tmp_path / "run", loss=Stopping(lp.functions.cross_entropy, 19, Killed()))
    run(tmp_path / "run", resume=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "run")


def test_a_loader_that_ends_for_good_is_refused():
    with pytest.raises(TypeError, match="starts anew each epoch, got a list_iterator"):
        lp.fit(**{**plain(nn.Linear(4, 3)), "train": iter([])})


def test_a_loader_that_was_left_in_the_midst_gives_the_same_run(tmp_path):
    made = parts()
    next(iter(made["train"]))
    with pytest.raises(Killed):
        lp.fit(**{**made, "loss": Stopping(lp.functions.cross_entropy, 0, Killed())}, out=tmp_path)
    assert lp.load(tmp_path / "checkpoint.npz")["run"]["loader"]["batch"] == 0


def test_parts_of_another_model_are_refused():
    run, other = plain(nn.Linear(4, 3)), plain(nn.Linear(4, 3))
    with pytest.raises(ValueError, match="optimizer holds none of the model's parameters"):
        lp.fit(**{**run, "optimizer": other["optimizer"]})
    with pytest.raises(ValueError, match="SWALP averages another model"):
        lp.fit(**run, swalp=optim.SWALP(other["model"], other["optimizer"], 1, 1))


def test_an_average_that_the_run_does_not_reach_is_said(capsys):
    run = plain(nn.Linear(4, 3))
    lp.fit(**run, swalp=optim.SWALP(run["model"], run["optimizer"], 6, 1))
    assert "averages after step 7" in capsys.readouterr().err


def test_a_precision_is_what_it_is_everywhere():
    def weights(precision):
        lp.manual_seed(0)
        run = plain(nn.Linear(4, 3), precision=precision)
        lp.fit(**run)
        return next(run["model"].parameters()).data

    np.testing.assert_array_equal(weights("bfp8"), weights(lp.Precision.uniform("bfp8")))


def test_the_users_folder_is_meant(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    lp.fit(**plain(nn.Linear(4, 3)), out="~/run")
    assert (tmp_path / "run" / "model.npz").exists()


# Decoration, divergence, and one owner a folder


def test_a_picture_that_cannot_be_drawn_is_a_line(tmp_path, monkeypatch, capsys):
    def draw(*_):
        raise RuntimeError("no\nLaTeX")

    monkeypatch.setattr(picture, "try_save", DRAW)
    monkeypatch.setattr(picture, "save", draw)
    assert len(lp.fit(**plain(nn.Linear(4, 3)), out=tmp_path)) == 2
    assert capsys.readouterr().err == f"lpnet: no picture {tmp_path / 'curves.png'}: no LaTeX\n"


@pytest.mark.parametrize("streams", [("stderr",), ("stderr", "stdout")])
def test_a_run_without_a_terminal_trains(monkeypatch, streams):
    for name in streams:
        monkeypatch.setattr(sys, name, None)
    assert len(lp.fit(**plain(nn.Linear(4, 3), progress=True))) == 2


def test_a_log_file_gets_no_bar(capsys):
    lp.fit(**plain(nn.Linear(4, 3), progress=True))
    assert capsys.readouterr().err == ""


def test_a_loss_that_diverges_is_stopped_though_it_is_finite(tmp_path):
    run = plain(nn.Linear(4, 1), lr=3.0, epochs=4)
    with pytest.raises(FloatingPointError, match=r"it diverges, .*lower learning rate"):
        lp.fit(**run, out=tmp_path, loss=lambda p, y: lp.functions.mse_loss(p[:, 0], y.astype(np.float32)))
    assert (tmp_path / "config.json").exists()


def test_a_test_loss_that_is_nan_stops_and_the_log_is_json(tmp_path):
    run = plain(nn.Linear(4, 3))
    x = spoiled(np.ones((8, 4), np.float32), (3, 1))
    with pytest.raises(FloatingPointError, match=r"epoch 1: test_loss is nan.*lower learning rate"):
        lp.fit(**run, test=DataLoader((x, np.zeros(8, int)), 8), out=tmp_path)
    assert json.dumps(as_json({"a": float("nan"), "b": 1.0}), allow_nan=False) == '{"a": null, "b": 1.0}'


def test_a_folder_has_one_run_at_a_time(tmp_path):
    """A second one, of this process or another, is refused and takes nothing away."""
    code = (
        "import sys, numpy as np, lpnet as lp; m = lp.nn.Linear(4, 3)\n"
        "L = lp.data.DataLoader((np.zeros((8, 4)), np.arange(8) % 3), 4)\n"
        "lp.fit(m, L, epochs=1, optimizer=lp.optim.SGD(m.parameters(), .1), out=sys.argv[1], resume=True)"
    )

    def second(row):
        with pytest.raises(RuntimeError, match="another run is at work in this folder"):
            lp.fit(**plain(nn.Linear(4, 3)), out=tmp_path, resume=True)
        other = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
        assert "another run is at work" in other.stderr and (tmp_path / ".tmp-99999999-1-model.npz").exists()

    def first(row):
        (tmp_path / ".tmp-99999999-1-model.npz").write_text("half")
        second(row)

    lp.fit(**plain(nn.Linear(4, 3), epochs=1, progress=first), out=tmp_path)
    lp.fit(**plain(nn.Linear(4, 3), epochs=1), out=tmp_path, resume=True)
    assert not [name for name in contents(tmp_path) if name.startswith(".")]
