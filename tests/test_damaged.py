"""Damaged files of every kind are refused in one sentence, or read as the honest file: the proof's quick form.

Then the states that no run can be in, each with the sentence that says so.
"""

import json
import re

import numpy as np
import pytest

import lpnet as lp
from lpnet import cli, optim

from . import damaged

possible = pytest.mark.skipif(not damaged.POSSIBLE, reason="needs /proc and limits of POSIX")


@possible
def test_damaged_files_are_refused_in_a_sentence_or_read_as_the_honest_ones(tmp_path):
    proof = damaged.prove(tmp_path, 240)
    assert not proof.wrong and proof.total() > 200
    assert all(proof.refused[what] for what in proof.refused | proof.same)


@possible
def test_a_file_that_is_accepted_wrongly_is_found(tmp_path):
    """The proof can fail: what reads other contents, raises something else or names no file is told."""
    proof, path = damaged.Proof(), tmp_path / "x"

    def read(error):
        raise error

    for result in (lambda: "other", lambda: read(KeyError("x")), lambda: read(ValueError("no name"))):
        proof.see("x", "x", result, path, "honest", 1 << 22)
    proof.see("x", "x", lambda: read(ValueError(f"{path}: damaged")), path, "honest", 1 << 22)
    assert len(proof.wrong) == 3


@pytest.mark.parametrize(
    "state, message",
    [
        ({"factor": 0.0, "good_steps": 1}, "factor must be a finite number above 0"),
        ({"factor": 2.0, "good_steps": -1}, "good_steps must be an integer"),
        ({"factor": float("nan"), "good_steps": 1}, "factor must be a finite number"),
        ({"factor": "2", "good_steps": 1}, "factor must be a finite number"),
    ],
)
def test_a_scaler_refuses_a_state_that_cannot_be(state, message):
    with pytest.raises(ValueError, match=f"LossScaler: {message}"):
        optim.LossScaler().load_state_dict(state)


@pytest.mark.parametrize(
    "state",
    [
        {"seed": -1, "site": 0},
        {"seed": 1, "site": -1},
        {"seed": 1, "site": 2**64},
        {"seed": "1", "site": 0},
        {"seed": 1, "site": None},
    ],
)
def test_a_stream_refuses_a_position_that_cannot_be_and_stays(state):
    stream = lp.random.Stream(5)
    with pytest.raises(ValueError, match="Stream: "):
        stream.load_state_dict(state)
    assert stream.state_dict() == {"seed": 5, "site": 0}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"t": -1}, "t must be an integer"),
        ({"n_averaged": 0}, "after 0 averages the saved state has 2 arrays"),
        ({"mean": {}}, "after 1 averages the saved state has 0 arrays"),
        ({"mean": {"weight": np.full((2, 3), np.nan), "bias": np.zeros(2)}}, "average of 'weight' holds a NaN"),
        (
            {"mean": {"weight": np.full((2, 3), "1"), "bias": np.zeros(2)}},
            "average of 'weight' must be an array of real",
        ),
    ],
)
def test_an_average_refuses_a_state_that_cannot_be(change, message):
    model = lp.nn.Linear(3, 2)
    swalp = optim.SWALP(model, optim.SGD(model.parameters(), 0.1), 0, 1)
    swalp.step()
    with pytest.raises(ValueError, match=f"SWALP: .*{message}"):
        swalp.load_state_dict({**swalp.state_dict(), **change})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mean": np.full((2, 3), np.nan)}, "the saved mean of parameter 0 holds a NaN"),
        ({"square": np.full((2, 3), "1")}, "the saved square of parameter 0 must be an array of real numbers"),
        ({"t": np.array(-1)}, "the saved t of parameter 0 must be an integer"),
        ({"square": None}, "one mean of the two"),
    ],
)
def test_an_optimizer_refuses_a_state_that_cannot_be(change, message):
    model = lp.nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters())
    model(np.ones((1, 3), np.float32)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    state["state"]["0"] = {k: v for k, v in {**state["state"]["0"], **change}.items() if v is not None}
    with pytest.raises(ValueError, match=f"Adam: .*{message}"):
        optimizer.load_state_dict(state)


def test_a_model_takes_real_numbers_only():
    model = lp.nn.Linear(3, 2)
    for dtype in ("U3", complex):
        with pytest.raises(ValueError, match="load_state_dict: 'bias' has numbers of type"):
            model.load_state_dict({**model.state_dict(), "bias": np.zeros(2, dtype)})


def test_eval_names_the_file_that_it_refuses(tmp_path, capsys):
    assert not cli.main(["train", "--model", "mlp", "--epochs", "1", "--quiet", "--out", str(tmp_path)])
    state, path = lp.load(tmp_path / "model.npz"), tmp_path / "model.npz"
    name, array = next(iter(state["model"].items()))
    for change, message in (
        ({name: array * np.nan}, "not finite in parameter"),
        ({name: array[1:]}, "has shape"),
        ({"more": array}, "has no 'more'"),
    ):
        lp.save(path, model={**state["model"], **change})
        assert cli.main(["eval", str(tmp_path)]) == 2
        assert re.fullmatch(rf"lpnet: error: {re.escape(str(path))}: .*{message}.*\n", capsys.readouterr().err)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "batch_size": -1}))
    assert cli.main(["eval", str(tmp_path)]) == 2
    assert "config.json: DataLoader: batch_size must be" in capsys.readouterr().err
