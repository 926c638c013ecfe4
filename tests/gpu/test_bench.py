"""The stages of `make bench-gpu` run, on the stand-in and small: they must not fail on the day a GPU can be had."""

import re
import subprocess
import types

import numpy as np
import pytest

import lpnet as lp
from lpnet import backend

from ..benchmarks import ours
from ..benchmarks.gpu import STAGES, __main__, right, speed


@pytest.fixture
def timed(fake, monkeypatch):
    """Give the stand-in what the stages ask of CUDA itself, and time each thing once."""
    runtime = types.SimpleNamespace(deviceSynchronize=lambda: None)
    monkeypatch.setattr(fake.cuda, "runtime", runtime, raising=False)
    monkeypatch.setattr(speed, "seconds", lambda function, *_: function() is None or 1.0)
    return fake


def test_rounding_differs_in_no_bit(timed):
    """Every format has its row, with no number that differs."""
    _, *rows = right.bits(30, 40)
    assert len(rows) == len(right.FORMATS)
    assert all(row.endswith("| 0 | 0 |") for row in rows)


def test_kernels_differ_in_no_bit(timed, monkeypatch):
    """Every format and mode has a cell, with no number that differs."""
    monkeypatch.setattr(right, "_compiled", lambda *_: 0.0)
    rows = [line for line in right.kernels() if line.startswith(tuple(f"| {name} |" for name in right.FORMATS))]
    assert len(rows) == len(right.FORMATS) and all(row.endswith("|" + " 0 |" * 7) for row in rows)


def test_products_on_tensor_cores_are_all_called(timed):
    """All 128 calls give what float64 gives."""
    assert list(right.cublas()) == ["128 calls, 0 of them with a number that differs."]


def test_sums_have_rows(timed):
    """Up to K = 1040 they are exact."""
    _, *rows = right.sums()
    assert len(rows) == 15 and rows[0] == "| 1040 | all 127 | 0.0e+00 | +0.0e+00 | 0.0e+00 | +0.0e+00 |"


def test_first_activations_are_compared(timed, monkeypatch):
    """All sums of LeNet without biases are exact, so its activations agree; the epoch has a row for each device."""
    rng = np.random.default_rng(0)
    sets = [lp.data.Dataset(rng.integers(0, 256, (n, 1, 28, 28), np.uint8), rng.integers(0, 10, n)) for n in (128, 50)]
    monkeypatch.setattr(lp.data, "load", lambda name: sets)
    text = "\n".join(right.epoch())
    layers = re.findall(r"\| (\S+) \| \d+ \| (\d+) \|", text)
    assert [different for _, different in layers] == ["0"] * 3
    assert "| cpu |" in text and "| cuda |" in text


def test_bandwidth_and_steps_have_rows(timed, monkeypatch):
    """What is missing, PyTorch for one, is written down with its reason."""
    monkeypatch.setattr(ours, "NETWORKS", {"lenet": (1, 28, 28)})
    monkeypatch.setattr(ours, "batch", lambda shape, batch=ours.batch: batch(shape, 2))
    assert len(list(speed.bandwidth(1 << 14))) == 2 + 14
    rows = list(speed.steps())
    assert len(rows) == 1 + 8 and "lpnet | bfp8" in rows[2]


def test_a_stage_that_fails_or_takes_too_long_keeps_what_it_printed(monkeypatch):
    """Its place in the file says so, and the others go on."""
    run = subprocess.run

    def half(command, **kwargs):
        return run(["sh", "-c", f"echo first; {command[-1]}"], **kwargs)

    monkeypatch.setattr(subprocess, "run", half)
    monkeypatch.setitem(STAGES, "sleep 9", lambda: None)
    monkeypatch.setitem(STAGES, "no_such_thing", lambda: None)
    assert "first\n\nNOT FINISHED within 0 s\n" in __main__.section("sleep 9", 0.4)
    assert re.search(r"first\n\nENDED BY AN ERROR: .*no_such_thing", __main__.section("no_such_thing", 9))


def test_without_a_gpu_the_file_is_left_alone(monkeypatch, capsys, tmp_path):
    """The script says why and fails."""
    monkeypatch.setattr(backend, "cuda_problem", lambda: "no driver")
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(tmp_path / "GPU.md")])
    assert __main__.main() == 1 and not (tmp_path / "GPU.md").exists()
    assert "no driver" in capsys.readouterr().err
