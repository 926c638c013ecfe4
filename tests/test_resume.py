"""A run killed with SIGKILL at any moment and resumed ends with the same bytes as one that was not.

The test kills one run three times. The long proof: python tests/test_resume.py --kills 20
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import lpnet as lp

RUN = ("train", "--data", "digits", "--model", "small_cnn", "--precision", "bfp8", "--augment", "--epochs", "12",
       "--batch-size", "256", "--swa-start", "6", "--swa-cycle", "2", "--swa-format", "bfp16", "--quiet")  # fmt: skip
COMPARED = ("model.npz", "averaged.npz", "checkpoint.npz", "log.jsonl", "config.json")


def start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the run, or go on with it, in a process of its own."""
    command = [sys.executable, "-m", "lpnet", *RUN, "--out", str(folder), "--checkpoint-every", "0",
               *(["--resume"] if (folder / "config.json").exists() else [])]  # fmt: skip
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with log.open("ab") as output:
        return subprocess.Popen(command, cwd=log.parent, stdout=output, stderr=output, env={**os.environ, **one_thread})


def finish(folder: Path, log: Path) -> dict[str, bytes]:
    """Let the run come to its end; return its files."""
    if code := start(folder, log).wait():
        raise RuntimeError(f"exit code {code}: {log.read_text()}")
    return {name: (folder / name).read_bytes() for name in COMPARED}


def kill_after(folder: Path, log: Path, seconds: float) -> bool:
    """Kill the run some time after its folder has changed for the first time; return whether it was still alive."""
    process, before = start(folder, log), _state(folder)
    while process.poll() is None and _state(folder) == before:
        time.sleep(0.005)
    time.sleep(seconds)
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def _state(folder: Path) -> list[tuple[str, int]]:
    """Return the names and times of the folder's files; they may vanish while we look."""
    try:
        return sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(folder))
    except FileNotFoundError:
        return []


def prove(folder: Path, kills: int, seed: int = 0, report=lambda line: None) -> None:
    """Raise AssertionError unless runs killed `kills` times in all end like one that was not."""
    began = time.monotonic()
    whole, rng, runs, killed = finish(folder / "whole", folder / "whole.txt"), random.Random(seed), 0, 0
    length = time.monotonic() - began
    while killed < kills:
        runs += 1
        run, log = folder / f"run{runs}", folder / f"run{runs}.txt"
        for _ in range(min(5, kills - killed)):
            alive = kill_after(run, log, length / 4 * rng.random())  # five of these go some way through a run
            killed += alive
            report(f"run {runs}: {'killed' if alive else 'had ended'} after step {_step(run)}, {killed} kills so far")
            if not alive:
                break
        ended = finish(run, log)
        different = [name for name in COMPARED if ended[name] != whole[name]]
        assert not different, f"run {runs} ended with other bytes in {different}"
        assert not list(run.glob(".*")), f"run {runs} left {list(run.glob('.*'))}"
        report(f"run {runs}: the same bytes in {', '.join(COMPARED)}")


def _step(folder: Path) -> int:
    """Return the step of the checkpoint, which must be whole whenever the kill came."""
    checkpoint = folder / "checkpoint.npz"
    return lp.load(checkpoint)["run"]["step"] if checkpoint.exists() else 0


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_three_kills_change_no_byte(tmp_path):
    prove(tmp_path, kills=3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="kills in all, over as many runs as it takes")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        prove(Path(place), arguments.kills, arguments.seed, report=lambda line: print(line, flush=True))
