"""A run stopped by a signal at any moment and resumed ends with the same bytes as one that was not.

Signals 9, 15 and 2 in turn; runs of the command line and, in Python, of all that has a state. The tests stop each kind
of run three times. The long proof: python tests/test_resume.py --kills 200
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, optim
from lpnet.data import DataLoader, random_crop, random_flip
from lpnet.training import EMA, ClipGradients, EarlyStopping

RUN = (
    "train",
    "--data",
    "digits",
    "--model",
    "small_cnn",
    "--precision",
    "bfp8",
    "--augment",
    "--epochs",
    "12",
    "--batch-size",
    "256",
    "--swa-start",
    "6",
    "--swa-cycle",
    "2",
    "--swa-format",
    "bfp16",
    "--quiet",
)
COMPARED = ("model.npz", "averaged.npz", "checkpoint.npz", "log.jsonl", "config.json")


SIGNALS = (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGKILL", signal.SIGTERM))


class Dither:
    """A quantizer of the user's: adds noise of its own stream, then rounds to multiples of 2^-12."""

    def __init__(self, seed: int) -> None:
        self.stream = lp.random.Stream(seed)

    def __call__(self, x):
        noise = lp.random.current(self.stream).draw(x.size).reshape(x.shape) / np.float32(2**16)
        return np.floor(x * 4096 + noise) / 4096


class Two(optim.SWALP):
    """An average in bfp8, rounded by a quantizer with its own stream, and with it a second, exact one."""

    def __init__(self, model, optimizer) -> None:
        super().__init__(model, optimizer, 12, 3, 0.002, lp.Quantizer("bfp8", stream=lp.random.Stream(8)))
        self.more = {"exact": optim.SWALP(model, optimizer, 15, 2)}

    def step(self) -> None:
        super().step()
        self.more["exact"].step()

    def state_dict(self):
        return {**super().state_dict(), "exact": self.more["exact"].state_dict()}

    def load_state_dict(self, state) -> None:
        super().load_state_dict(state)
        self.more["exact"].load_state_dict(state["exact"])


def train(folder: Path, resume: bool) -> None:
    """Train with everything that has a state: Adam, a scaler, streams, averages, augmentation, callbacks."""
    lp.manual_seed(3)
    digits, test = lp.data.load("digits")
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(72, 10),
    )
    nn.lower(model, lp.Precision(activation=Dither(7), error="bfp8"))
    precision = lp.Precision(
        weight=Dither(9),
        gradient=lp.Quantizer("bfp8", stream=lp.random.Stream(10)),
        momentum="bfp8",
        accumulator="bfp16",
        second_moment="bfp16",
    )
    optimizer = optim.Adam(model.parameters(), 0.01, precision=precision)
    loader = DataLoader(digits[:640], 64, shuffle=True, seed=4, transform=(random_crop(1), random_flip()))
    callbacks = [ClipGradients(0.5), EMA(model, 0.9), EarlyStopping(6, "train_loss")]
    lp.fit(
        model,
        loader,
        DataLoader(test[:100]),
        epochs=6,
        optimizer=optimizer,
        swalp=Two(model, optimizer),
        scaler=optim.LossScaler(2.0**130, growth_interval=4),
        schedule=optim.swalp_schedule(0.01, 4),
        out=folder,
        resume=resume,
        checkpoint_every=0,
        progress=False,
        callbacks=callbacks,
    )


KINDS = {
    "command line": [sys.executable, "-m", "lpnet", *RUN, "--checkpoint-every", "0", "--out"],
    "Python": [sys.executable, __file__, "--run"],
}


def start(folder: Path, log: Path, kind: str) -> subprocess.Popen[bytes]:
    """Start the run, or go on with it, in a process of its own, which hears Ctrl-C also in the background."""
    command = [*KINDS[kind], str(folder), *["--resume"] * (folder / "config.json").exists()]
    changed = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(lp.__file__).parents[1])}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=log.parent,
            stdout=output,
            stderr=output,
            env={**os.environ, **changed},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def finish(folder: Path, log: Path, kind: str) -> dict[str, bytes]:
    """Let the run come to its end; return its files."""
    if code := start(folder, log, kind).wait():
        raise RuntimeError(f"exit code {code}: {log.read_text()}")
    return {name: (folder / name).read_bytes() for name in COMPARED}


def kill_after(folder: Path, log: Path, kind: str, number: int, seconds: float) -> bool:
    """Stop the run some time after its folder has changed for the first time; return whether it was still alive."""
    process, before = start(folder, log, kind), _state(folder)
    while process.poll() is None and _state(folder) == before:
        time.sleep(0.005)
    time.sleep(seconds)
    alive = process.poll() is None
    process.send_signal(number)
    process.wait(timeout=60)
    return alive


def _state(folder: Path) -> list[tuple[str, int]]:
    """Return the names and times of the folder's files; they may vanish while we look."""
    try:
        return sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(folder))
    except FileNotFoundError:
        return []


def prove(folder: Path, kills: int, kind: str, seed: int = 0, report=lambda line: None) -> dict[str, int]:
    """Raise AssertionError unless runs stopped `kills` times in all end like one that was not; return counts."""
    whole, length = finish(folder / "whole", folder / "whole.txt", kind), _length(folder / "whole")
    rng, runs, killed = random.Random(seed), 0, Counter()
    while killed.total() < kills:
        runs += 1
        run, log = folder / f"run{runs}", folder / f"run{runs}.txt"
        for _ in range(min(5, kills - killed.total())):
            number = SIGNALS[killed.total() % 3]
            alive = kill_after(run, log, kind, number, length / 4 * rng.random())  # five go some way through a run
            killed[number.name] += alive
            told = f"{number.name} after step {_step(run)}, {killed.total()} so far" if alive else "had ended"
            report(f"{kind}, run {runs}: {told}")
            if not alive:
                break
        ended = finish(run, log, kind)
        different = [name for name in COMPARED if ended[name] != whole[name]]
        assert not different, f"run {runs} ended with other bytes in {different}"
        assert not list(run.glob(".*")), f"run {runs} left {list(run.glob('.*'))}"
        report(f"{kind}, run {runs}: the same bytes in {', '.join(COMPARED)}")
    return {**killed, "runs": runs}


def _length(folder: Path) -> float:
    """Return the seconds from a run's first file to its last."""
    times = [file.stat().st_mtime for file in folder.iterdir()]
    return max(times) - min(times)


def _step(folder: Path) -> int:
    """Return the step of the checkpoint, which must be whole whenever the signal came."""
    checkpoint = folder / "checkpoint.npz"
    return lp.load(checkpoint)["run"]["step"] if checkpoint.exists() else 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_of_each_kind_changes_no_byte(tmp_path, kind):
    assert prove(tmp_path, 3, kind)["runs"] >= 1


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_run_in_python_goes_through_all_that_has_a_state(tmp_path):
    """The scaler skips and grows, all three averages average, every stream is drawn from."""
    train(tmp_path, resume=False)
    run = lp.load(tmp_path / "checkpoint.npz")["run"]
    assert run["scaler"]["skipped"] > 0 and run["swalp"]["n_averaged"] > 1 and run["swalp"]["exact"]["n_averaged"] > 1
    assert run["callbacks"]["1.EMA"]["n_averaged"] == 60 - run["scaler"]["skipped"]
    assert len(run["streams"]) == 4 and all(stream["site"] > 0 for stream in run["streams"].values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="kills in all, over as many runs as it takes")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--run", type=Path, help="only make the run in Python, in this folder")
    parser.add_argument("--resume", action="store_true", help="go on with it")
    arguments = parser.parse_args()
    if arguments.run is not None:
        train(arguments.run, arguments.resume)
    else:
        for kind, kills in zip(KINDS, (arguments.kills // 2, arguments.kills - arguments.kills // 2), strict=True):
            with tempfile.TemporaryDirectory() as place:
                counts = prove(Path(place), kills, kind, arguments.seed, report=lambda line: print(line, flush=True))
            print(f"{kind}: {counts}", flush=True)
