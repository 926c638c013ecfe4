"""Run the stages one after the other, each in a process of its own, and write down each as it ends: tests/GPU.md.

Needs a GPU on which CuPy works, and MNIST where `lpnet.data.load` finds it (LPNET_DATA). PyTorch and QPyTorch are
compared with where they are installed; what could not be measured is written down with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lpnet import backend

from . import STAGES

FILE = Path(__file__).parents[2] / "GPU.md"
ROOT = FILE.parents[1]


def main() -> int:
    """Run the stages asked for; returns 1, and leaves the file alone, where there is no GPU."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)}; none: all, in this order")
    parser.add_argument("--out", type=Path, default=FILE, help="file for the figures (default: tests/GPU.md)")
    parser.add_argument("--seconds", type=float, default=120, help="longest time of a stage (default: 120)")
    parser.add_argument("--commit", help="of the files, where git cannot tell")
    parser.add_argument("--print", choices=STAGES, dest="only", help="print this stage here and now")
    arguments = parser.parse_args()
    if unknown := set(arguments.stages) - set(STAGES):
        parser.error(f"unknown stage {min(unknown)!r}; the stages are {', '.join(STAGES)}")
    if (problem := backend.cuda_problem()) is not None:
        print(f"NOTHING WAS MEASURED, there is no GPU: {problem}", file=sys.stderr)
        return 1
    if arguments.only:
        for line in STAGES[arguments.only]():
            print(line, flush=True)
        return 0
    text = head(arguments.commit or commit())
    for name in arguments.stages or STAGES:
        text += section(name, arguments.seconds)
        arguments.out.write_text(text, encoding="utf-8")
    return 0


def head(commit: str) -> str:
    """Return the file's first lines: when, of what, on what."""
    return f"# On a real GPU\n\nRun by `make bench-gpu` on {datetime.date.today()} at commit {commit}.\n\n{where()}.\n"


def section(name: str, seconds: float) -> str:
    """Return what a stage printed, in a process of its own: an error of CUDA's ends that of the others' none."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--print", name]
    start, ended = time.perf_counter(), ""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:  # holds what there is when the time is over
        try:
            run = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, timeout=seconds)
            if run.returncode:
                ended = f"\nENDED BY AN ERROR: {' '.join(run.stderr.strip().splitlines()[-1:])}"
                print(run.stderr, file=sys.stderr)
        except subprocess.TimeoutExpired:
            ended = f"\nNOT FINISHED within {seconds:.0f} s"
        out.seek(0)
        found = out.read()
    title = (STAGES[name].__doc__ or name).splitlines()[0].rstrip(".")
    text = f"\n## {title}\n\n{found}{ended}\n({name}: {time.perf_counter() - start:.0f} s)\n"
    print(text, flush=True)
    return text


def commit() -> str:
    """Return the commit, with a mark if there are changes that are not in it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    with contextlib.suppress(OSError):  # a bare machine may have no git
        run = subprocess.run(command, cwd=FILE.parent, capture_output=True, text=True)
        return run.stdout.strip() or "unknown"
    return "unknown"


def where() -> str:
    """Return the device and the versions."""
    cupy = sys.modules["cupy"]
    device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    versions = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    return (
        f"{device}; CUDA driver {versions[0]}, runtime {versions[1]}; CuPy {cupy.__version__}, "
        f"NumPy {np.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
