"""Callbacks see every step and epoch, in their order; what they remember is in the checkpoint, to the byte."""

import os

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, optim, picture
from lpnet.data import DataLoader
from lpnet.training import EMA, Callback, ClipGradients, EarlyStopping

X = np.random.default_rng(0).standard_normal((96, 4)).astype(np.float32)
Y = np.arange(96) % 3


@pytest.fixture(autouse=True, scope="module")
def _without_pictures():
    with pytest.MonkeyPatch.context() as patch:
        yield patch.setattr(picture, "try_save", lambda *_: True)


def run(*callbacks, lr=0.1, epochs=3, **options):
    """Return fit's arguments for a run of three steps an epoch, with BatchNorm and rounding."""
    lp.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    precision = lp.Precision.uniform("bfp8")
    nn.lower(model, precision)
    return {
        "model": model,
        "train": DataLoader((X, Y), 32, shuffle=True),
        "test": DataLoader((X, Y), 96),
        "epochs": epochs,
        "optimizer": optim.SGD(model.parameters(), lr, 0.9, precision=precision),
        "progress": False,
        "callbacks": callbacks,
        **options,
    }


def contents(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


class Recorder(Callback):
    """Notes what it is called with, and the weights."""

    def __init__(self, name="", calls=None):
        self.name, self.calls, self.weights = name, [] if calls is None else calls, []

    def on_backward(self, run):
        self.calls.append((self.name, "backward", run.step))
        assert all(p.grad is not None for p in run.optimizer.params)

    def on_step(self, run):
        self.calls.append((self.name, "step", run.step))
        self.weights.append([p.data.astype(np.float64) for p in run.model.parameters()])

    def on_epoch(self, run, row):
        self.calls.append((self.name, "epoch", run.epoch))
        row["seen"] = np.float32(len(self.calls))


def test_callbacks_are_called_in_their_order_and_may_add_to_the_row():
    calls = []
    log = lp.fit(**run(Recorder("a", calls), Recorder("b", calls), epochs=1))
    hooks = [(place, i) for step in range(3) for place, i in (("backward", step), ("step", step + 1))]
    assert calls == [(name, *hook) for hook in (*hooks, ("epoch", 1)) for name in "ab"]
    assert log[0]["seen"] == 14 and type(log[0]["seen"]) is float


def moved(*callbacks, scaler=None):
    """Return by how much one exact step at rate 1 moves the weights: the gradient, with its sign changed."""
    lp.manual_seed(1)
    model = nn.Linear(4, 3)
    before = [p.numpy().copy() for p in model.parameters()]
    lp.fit(
        model,
        DataLoader((X, Y), 96),
        epochs=1,
        optimizer=optim.SGD(model.parameters(), 1.0),
        progress=False,
        callbacks=callbacks,
        scaler=scaler,
    )
    return np.concatenate([(p.numpy() - b).ravel() for p, b in zip(model.parameters(), before, strict=True)])


def test_clipped_gradients_keep_their_direction_and_have_the_norm():
    free, clipped = moved(), moved(ClipGradients(0.01))
    assert np.linalg.norm(free) > 0.1 and np.linalg.norm(clipped) == pytest.approx(0.01, rel=1e-4)
    np.testing.assert_allclose(clipped, free * (0.01 / np.linalg.norm(free)), atol=1e-7)


def test_gradients_below_the_norm_are_left_to_the_bit():
    np.testing.assert_array_equal(moved(ClipGradients(10.0)), moved())


def test_the_norm_is_that_of_the_gradients_without_the_scale_of_the_loss():
    clip = ClipGradients(0.01)
    np.testing.assert_array_equal(moved(clip, scaler=optim.LossScaler(1024.0)), moved(clip))


def test_a_step_that_overflows_is_skipped_though_it_is_clipped_and_no_average_takes_it_in():
    """Clipping does not hide from the scaler that a gradient is not finite."""
    given = run(ClipGradients(1.0), recorder := Recorder(), epochs=1, scaler=optim.LossScaler(2.0**126, 100))
    given["callbacks"] += (ema := EMA(given["model"], 0.5),)
    given["loss"] = lambda logits, labels: lp.functions.cross_entropy(logits, labels) * 8
    lp.fit(**given)
    assert 0 < given["scaler"].skipped < 3 and ema.n_averaged == 3 - given["scaler"].skipped
    assert len(recorder.weights) == 3


def test_the_moving_average_is_that_of_its_formula():
    """The witness is the recurrence in float64 over the weights as they were after each step."""
    given = run(recorder := Recorder())
    lp.fit(**{**given, "callbacks": (recorder, ema := EMA(given["model"], 0.75))})
    expected = recorder.weights[0]
    for weights in recorder.weights[1:]:
        expected = [0.75 * mean + 0.25 * w for mean, w in zip(expected, weights, strict=True)]
    for mean, p in zip(expected, ema.averaged.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), mean, rtol=1e-5, atol=1e-6)


def test_the_moving_average_changes_nothing_in_training_and_is_measured():
    plain = lp.fit(**run())
    given = run()
    log = lp.fit(**{**given, "callbacks": [EMA(given["model"], 0.0)]})  # decay 0: the weights themselves
    assert [{k: v for k, v in row.items() if not k.startswith("ema")} for row in log] == plain
    averaged = lp.fit(**{**(given := run()), "callbacks": [EMA(given["model"], 0.9)]})
    assert all({"ema_loss", "ema_error"} <= row.keys() for row in averaged)
    assert averaged[-1]["ema_loss"] != averaged[-1]["test_loss"]


class Measures(Callback):
    """Gives each epoch the next of some values."""

    def __init__(self, *values):
        self.values = list(values)

    def on_epoch(self, run, row):
        row["measure"] = self.values[run.epoch - 1]


@pytest.mark.parametrize(
    "values, patience, least, epochs",
    [
        ((5, 4, 4, 4, 1), 2, 0, 4),
        ((5, 4, 4, 3, 3), 2, 0, 5),
        ((5, 4, 3, 2, 1), 1, 0, 5),
        ((5, 4.5, 4.2, 1, 1), 1, 1, 2),
        ((5, 4.5, 3.5, 3, 9), 2, 1, 5),
        ((1, 2, 2, 2, 2), 1, 0, 2),
    ],
)
def test_a_run_stops_when_nothing_has_become_better_for_so_long(values, patience, least, epochs):
    log = lp.fit(**run(Measures(*values), EarlyStopping(patience, "measure", least), epochs=5))
    assert len(log) == epochs


@pytest.mark.parametrize("measure, more", [("tset_loss", {}), ("test_loss", {"test": None}), ("swalp_loss", {})])
def test_stopping_by_what_is_not_measured_is_refused(measure, more):
    with pytest.raises(ValueError, match=f"EarlyStopping: the log has no '{measure}', it has epoch, step, lr, train_l"):
        lp.fit(**run(EarlyStopping(1, measure), **more))


def test_epochs_that_are_not_tested_do_not_count_and_an_average_may_come_later():
    given = run(EarlyStopping(1, "swalp_loss"), evaluate_every=2, epochs=4)
    swalp = optim.SWALP(given["model"], given["optimizer"], 7, 1)
    assert len(lp.fit(**given, swalp=swalp)) == 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClipGradients(-1),
        lambda: ClipGradients(float("nan")),
        lambda: EarlyStopping(0),
        lambda: EarlyStopping(1.5),
        lambda: EarlyStopping(1, least=-1),
        lambda: EMA(nn.Linear(1, 1), 1.5),
    ],
)
def test_numbers_that_cannot_be_are_refused(make):
    with pytest.raises(ValueError, match=r"^(ClipGradients|EarlyStopping|EMA): \w+ must be "):
        make()


@pytest.mark.parametrize(
    "callback, error, words",
    [
        (lambda: print, TypeError, "callbacks must be lpnet.training.Callback objects, got <built-in function print>"),
        (lambda: EMA(nn.Linear(1, 1)), ValueError, "EMA averages another model"),
    ],
)
def test_what_is_no_callback_of_this_run_is_refused_before_a_folder_is_made(tmp_path, callback, error, words):
    with pytest.raises(error, match=words):
        lp.fit(**run(callback()), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value, error", [(float("nan"), FloatingPointError), ("text", ValueError), (None, ValueError)])
def test_a_row_takes_finite_numbers_only(value, error):
    with pytest.raises(error, match="measure"):
        lp.fit(**run(Measures(value, value, value)))


# The state of callbacks


class Killed(Exception):
    """What stands for a kill in these tests."""


class Curious(Callback):
    """Moves the rate by its own random numbers and counts in place: all that a user's callback may remember."""

    def __init__(self, kill=None):
        self.rng, self.stream, self.counts, self.kill = np.random.default_rng(3), lp.random.Stream(4), np.zeros(3), kill
        self.last = None

    def on_backward(self, run):
        self._at("backward", run)
        self.counts[0] += 1

    def on_step(self, run):
        self.counts[1] += 1
        run.optimizer.lr = 0.05 + 0.1 * self.rng.random() + self.stream.draw(1)[0] / 2**20 + self.counts.sum() / 1000
        self._at("step", run)

    def on_epoch(self, run, row):
        self.counts[2] += 1
        self.last = {"rows": [row["train_loss"]]}
        self._at("epoch", run)

    def _at(self, place, run):
        """Stop the run once, with half of the work done."""
        if self.kill == (place, run.step):
            raise Killed


def stateful(kill=None, decay=0.75, patience=2):
    given = run(epochs=4)
    ema, stop = EMA(given["model"], decay), EarlyStopping(patience, "measure")
    callbacks = [ClipGradients(0.5), ema, Curious(kill), Measures(3.0, 2.0, 2.5, 2.5), stop]
    return {**given, "callbacks": callbacks, "swalp": optim.SWALP(given["model"], given["optimizer"], 2, 2)}


@pytest.mark.parametrize("every", [0, 1e9])
@pytest.mark.parametrize(
    "kill",
    [("backward", 0), ("backward", 4), ("step", 1), ("step", 3), ("step", 8), ("epoch", 3), ("epoch", 9)],
    ids=str,
)
def test_a_run_stopped_anywhere_and_resumed_ends_with_the_same_bytes(tmp_path, kill, every):
    """Three steps an epoch; whatever the callback that stops it has done in its step is undone."""
    lp.fit(**stateful(), out=tmp_path / "whole")
    with pytest.raises(Killed):
        lp.fit(**stateful(kill), out=tmp_path / "run", checkpoint_every=every)
    lp.fit(**stateful(), out=tmp_path / "run", resume=True)
    whole, resumed = contents(tmp_path / "whole"), contents(tmp_path / "run")
    for ended in (whole, resumed):  # where it was to be killed differs
        del ended["checkpoint.npz"]
    assert whole == resumed
    states = [lp.load(tmp_path / name / "checkpoint.npz")["run"] for name in ("whole", "run")]
    for state in states:
        del state["callbacks"]["2.Curious"]["kill"]
    lp.save(tmp_path / "a.npz", **states[0])
    lp.save(tmp_path / "b.npz", **states[1])
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_run_that_was_stopped_early_is_not_gone_on_with(tmp_path):
    first = lp.fit(**stateful(patience=1), out=tmp_path)
    before = contents(tmp_path)
    assert len(first) == 3 and lp.fit(**stateful(patience=1), out=tmp_path, resume=True) == first
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"decay": 0.5}, r"decay=0.75 \(1.EMA\), not 0.5"),
        ({"patience": 3}, r"patience=2 \(4.EarlyStopping\), not 3"),
    ],
)
def test_a_run_resumed_with_other_settings_of_a_callback_is_refused(tmp_path, changes, words):
    lp.fit(**stateful(), out=tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=words):
        lp.fit(**stateful(**changes), out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="other settings: callbacks"):
        lp.fit(**{**stateful(), "callbacks": []}, out=tmp_path, resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "name, key, value",
    [
        ("1.EMA", "n_averaged", 0),
        ("1.EMA", "mean", {"x": np.ones(2)}),
        ("4.EarlyStopping", "waited", -1),
        ("4.EarlyStopping", "best", "x"),
        (None, "stopped", "yes"),
        (None, "callbacks", []),
    ],
)
def test_a_state_that_cannot_be_is_named(tmp_path, name, key, value):
    lp.fit(**stateful(), out=tmp_path)
    state = lp.load(tmp_path / "checkpoint.npz")["run"]
    (state if name is None else state["callbacks"][name])[key] = value
    lp.save(tmp_path / "checkpoint.npz", run=state)
    with pytest.raises(ValueError, match=r"checkpoint\.npz does not fit this run"):
        lp.fit(**stateful(), out=tmp_path, resume=True)
