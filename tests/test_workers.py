"""Processes are as many as there are processors for them, and an interrupt or an error ends them at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lpnet
from lpnet import workers


def work(x):
    """Return the square of x; a negative one is a mistake, a large one takes a minute."""
    if x < 0:
        raise ValueError("negative")
    time.sleep(60 if x > 100 else 0)
    workers.count(x)
    return x * x


def test_results_come_in_the_order_of_the_calls_and_all_steps_are_told():
    steps, seen = [], {}
    assert workers.run(work, [(x,) for x in (3, 1, 2)], 2, steps.append, seen.__setitem__) == [9, 1, 4]
    assert sum(steps) == 6 and seen == {0: 9, 1: 1, 2: 4}


def test_a_mistake_does_not_wait_for_what_still_runs():
    started = time.monotonic()
    with pytest.raises(ValueError, match="negative"):
        workers.run(work, [(101,), (-1,), (102,)], 2)
    assert time.monotonic() - started < 40 and not multiprocessing.active_children()


def gone(group, within):
    """Return whether the last process of a group ends within so many seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("command", [
    ["demo", "--epochs", "300", "--out", "out"],
    ["reproduce", "classification", "--quick", "--jobs", "2", "--out", "out"],
])  # fmt: skip
@pytest.mark.parametrize("whom", [os.kill, os.killpg])
def test_an_interrupt_ends_all_at_once(tmp_path, command, whom):
    """Exit code 130, one line, no process left: from the terminal (all get the signal) and to the parent alone."""
    environment = {**os.environ, "PYTHONPATH": str(Path(lpnet.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-m", "lpnet", *command], cwd=tmp_path, env=environment, text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    time.sleep(5)
    started = time.monotonic()
    whom(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - started < 10
    assert "Traceback" not in error and "lpnet: interrupted" in error
    assert gone(process.pid, within=5)  # the resource tracker of multiprocessing goes a little later
