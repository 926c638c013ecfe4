"""An interrupt of the command line ends the demonstration, and an experiment, at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lpnet
from tests.processes import gone


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    "command",
    [
        ["demo", "--epochs", "300", "--out", "out"],
        ["reproduce", "classification", "--quick", "--jobs", "2", "--out", "out"],
    ],
)
@pytest.mark.parametrize("whom", [os.kill, os.killpg])
def test_an_interrupt_ends_all_at_once(tmp_path, command, whom):
    """Exit code 130, one line, no process left: from the terminal (all get the signal) and to the parent alone."""
    environment = {**os.environ, "PYTHONPATH": str(Path(lpnet.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "lpnet", *command],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (tmp_path / "out").exists():
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    started = time.monotonic()
    whom(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - started < 10
    assert "Traceback" not in error and "lpnet: interrupted" in error
    assert gone(process.pid, within=5)  # the resource tracker of multiprocessing goes a little later
