"""The script of `make bench-gpu` runs, on the stand-in and small: it must not fail on the day a GPU can be had."""

import re
import types

import numpy as np
import pytest

import lpnet as lp
from lpnet import backend

from ..benchmarks import gpu


@pytest.fixture
def timed(fake, monkeypatch):
    """Give the stand-in what the script asks of CUDA itself, and time each thing once."""
    runtime = types.SimpleNamespace(
        deviceSynchronize=lambda: None,
        getDeviceProperties=lambda _: {"name": b"none"},
        driverGetVersion=lambda: 0,
        runtimeGetVersion=lambda: 0,
    )
    monkeypatch.setattr(fake.cuda, "runtime", runtime, raising=False)
    monkeypatch.setattr(gpu, "seconds", lambda function, wait, *_: function() is None or 1.0)
    return fake


def test_rounding_differs_in_no_bit(timed):
    """Every format has its row, with no number that differs."""
    _, *rows = gpu.bits(30, 40)
    assert len(rows) == len(gpu.FORMATS)
    assert all(row.endswith("| 0 | 0 |") for row in rows)


def test_first_activations_are_compared(timed, monkeypatch):
    """All sums of LeNet without biases are exact, so its activations agree; the epoch has a row for each device."""
    rng = np.random.default_rng(0)
    sets = [lp.data.Dataset(rng.integers(0, 256, (n, 1, 28, 28), np.uint8), rng.integers(0, 10, n)) for n in (128, 50)]
    monkeypatch.setattr(lp.data, "load", lambda name: sets)
    text = "\n".join(gpu.epoch())
    layers = re.findall(r"\| (\S+) \| \d+ \| (\d+) \|", text)
    assert [different for _, different in layers] == ["0"] * 3
    assert "| cpu |" in text and "| cuda |" in text


def test_bandwidth_and_steps_have_rows(timed, monkeypatch):
    """What is missing, PyTorch for one, is written down with its reason."""
    monkeypatch.setattr(gpu, "BATCH", 2)
    assert len(list(gpu.bandwidth(1 << 14))) == 2 + 14
    rows = list(gpu.steps())
    assert len(rows) == 1 + 4 and "lpnet | bfp8" in rows[2]


def test_a_part_that_fails_does_not_stop_the_others(timed, monkeypatch):
    """Its place in the file says so."""

    def bad():
        """What fails."""
        raise RuntimeError("no such thing")
        yield

    for name in ("tests", "bits", "epoch", "bandwidth"):
        monkeypatch.setattr(gpu, name, bad)
    monkeypatch.setattr(gpu, "steps", lambda: iter(["fine"]))
    gpu.steps.__doc__ = "Last."
    text = "\n".join(gpu.report())
    assert text.count("NOT MEASURED: RuntimeError: no such thing") == 4 and "## Last\n\nfine" in text


def test_without_a_gpu_the_file_is_left_alone(monkeypatch, capsys, tmp_path):
    """The script says why and fails."""
    monkeypatch.setattr(backend, "cuda_problem", lambda: "no driver")
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(tmp_path / "GPU.md")])
    assert gpu.main() == 1 and not (tmp_path / "GPU.md").exists()
    assert "no driver" in capsys.readouterr().err
