"""A trace over a training: its steps are those asked for, its figures those of `lp.trace`, and no number changes."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, optim, training
from lpnet.data import DataLoader

X = np.random.default_rng(0).standard_normal((96, 4)).astype(np.float32)


class Stop(training.Callback):
    """Breaks off a training within a step."""

    def __init__(self, after):
        self.after = after

    def on_backward(self, run):
        if run.step == self.after:
            raise KeyboardInterrupt

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def train(tmp_path, callbacks, resume=False, epochs=3):
    """Train a small network in bfp8, three steps an epoch; return it."""
    lp.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.lower(model, "bfp8")
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9, precision="bfp8")
    loader = DataLoader((X, np.arange(96) % 3), 32, shuffle=True)
    marks = [m.precision for m in model.modules()], optimizer.precision
    try:
        lp.fit(
            model,
            loader,
            epochs=epochs,
            optimizer=optimizer,
            progress=False,
            out=tmp_path / "run",
            resume=resume,
            callbacks=callbacks,
        )
    finally:
        assert ([m.precision for m in model.modules()], optimizer.precision) == marks
    return model


def weights(model):
    return {name: p.tobytes() for name, p in model.state_dict().items()}


def test_every_other_step_is_traced_and_no_number_changes(tmp_path):
    """Each site counts the numbers that the step rounded there; the weights are those of a run without a trace."""
    tracing = training.TraceRounding(2, tmp_path / "rounding.jsonl")
    traced = weights(train(tmp_path / "a", [tracing]))
    assert traced == weights(train(tmp_path / "b", []))
    assert [step for step, _ in tracing.history] == [2, 4, 6, 8]
    assert {stats["1", "activation"].count for _, stats in tracing.history} == {32 * 8}
    assert {stats["optimizer", "weight"].count for _, stats in tracing.history} == {4 * 8 + 8 + 8 * 3 + 3}
    assert training.read_history(tmp_path / "rounding.jsonl") == tracing.history


def test_a_resumed_run_has_the_same_history(tmp_path):
    """The steps before the interrupt are in the checkpoint; the one that was broken off is traced once."""
    whole = training.TraceRounding(1)
    train(tmp_path / "a", [whole])
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", [training.TraceRounding(1), Stop(4)])
    rest = training.TraceRounding(1)
    train(tmp_path / "b", [rest, Stop(None)], resume=True)
    assert rest.history == whole.history and [step for step, _ in rest.history] == list(range(1, 10))


def test_a_damaged_file_is_refused(tmp_path):
    """By its name."""
    for text in ("{", '{"step": 1}', '{"step": 1, "sites": [{"place": "a", "role": "b", "c": 1}]}'):
        (tmp_path / "x.jsonl").write_text(text)
        with pytest.raises(ValueError, match=r"x\.jsonl: damaged"):
            training.read_history(tmp_path / "x.jsonl")


def test_the_map_has_a_row_a_site_and_a_column_a_step(tmp_path):
    """What a step did not round is left empty."""
    pytest.importorskip("matplotlib")
    tracing = training.TraceRounding(2)
    train(tmp_path, [tracing])
    axes = lp.plots.rounding_map(tracing.history)
    (image,) = axes.images
    assert image.get_array().shape == (len(tracing.history[0][1]), 4)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "4", "6", "8"]
