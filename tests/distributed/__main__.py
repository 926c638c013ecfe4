"""The long proof: 1 to 8 processes, each stopped three times and gone on with by another number, leave the same bytes.

python -m tests.distributed runs `lpnet train` on digits with augmentation, SWALP and shards that all these numbers
divide, in float, in bfp8 and in nvfp4. The first run, by one process, is not stopped.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lpnet as lp

from .programs import COMPARED, MPIEXEC, ROOT

PROCESSES = (1, 2, 3, 4, 6, 8)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TRAIN = (
    "train --data digits --model small_cnn --augment --epochs 6 --batch-size 240 --swa-start 3 --swa-cycle 2 "
    "--swa-format bfp16 --quiet --shards 24 --checkpoint-every 0"
)


def start(processes: int, fmt: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start the training, or go on with it; what it prints is in a file beside the folder."""
    launcher = [] if processes == 1 else [MPIEXEC, "-n", str(processes)]
    own = ["--precision", fmt, "--out", str(folder), *["--resume"] * (folder / "config.json").exists()]
    changed = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with folder.with_suffix(".txt").open("ab") as output:
        return subprocess.Popen(
            [*launcher, sys.executable, "-m", "lpnet", *TRAIN.split(), *own],
            stdout=output,
            stderr=output,
            env={**os.environ, **changed},
        )


def finish(processes: int, fmt: str, folder: Path) -> dict[str, bytes]:
    """Let the training come to its end; return its files."""
    if code := start(processes, fmt, folder).wait():
        raise RuntimeError(f"exit code {code}: {folder.with_suffix('.txt').read_text()}")
    return {name: (folder / name).read_bytes() for name in COMPARED}


def stop_at(processes: int, fmt: str, folder: Path, step: int, number: signal.Signals) -> int:
    """Stop the training some time after a step; return the step of the checkpoint it left, and wait for its end."""
    process = start(processes, fmt, folder)
    while process.poll() is None and last_step(folder) < step:
        time.sleep(0.005)
    process.send_signal(number)
    process.wait(timeout=120)
    return last_step(folder)


def last_step(folder: Path) -> int:
    """Return the step of the last checkpoint, which is whole at any moment."""
    checkpoint = folder / "checkpoint.npz"
    return lp.load(checkpoint)["run"]["step"] if checkpoint.exists() else 0


def prove(place: Path, fmt: str, numbers: tuple[int, ...], rng: random.Random) -> None:
    """Raise AssertionError unless all runs end with the bytes of one process that was not stopped."""
    whole, steps = finish(1, fmt, place / f"{fmt}-whole"), last_step(place / f"{fmt}-whole")
    for first in numbers:
        folder, told = place / f"{fmt}-{first}", []
        order = itertools.islice(itertools.cycle(numbers), numbers.index(first), None)
        for at, number in zip(sorted(rng.sample(range(1, steps - 2), 3)), SIGNALS, strict=True):
            processes = next(order)
            step = stop_at(processes, fmt, folder, at, number)
            told.append(f"{processes} to step {step} ({number.name})")
        processes, begun = next(order), time.monotonic()
        ended = finish(processes, fmt, folder)
        different = [name for name in COMPARED if ended[name] != whole[name]]
        assert not different, f"{folder} ended with other bytes in {different}"
        told.append(f"{processes} to step {steps} in {time.monotonic() - begun:.0f} s")
        print(f"{fmt}: processes {', '.join(told)}: the same bytes in {', '.join(COMPARED)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--formats", nargs="*", default=["fp32", "bfp8", "nvfp4"])
    parser.add_argument("--processes", nargs="*", type=int, default=PROCESSES, help="that divide 24")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        for chosen in arguments.formats:
            prove(Path(parent), chosen, tuple(arguments.processes), random.Random(arguments.seed))
