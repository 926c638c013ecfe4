"""Trainings under the real mpiexec: the same bytes for any number of processes, and an end that all come to together.

The long proof: python -m tests.distributed
"""

import json
import signal
import time

import numpy as np
import pytest

import lpnet as lp

from ..processes import gone
from .programs import COMPARED, KINDS, MPIEXEC, STEPS, start

pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec: pip install 'lpnet[mpi]'")
PATIENCE = 60  # seconds: whoever waits for ever is ended


def files(folder):
    """Return the bytes that a training left."""
    return {name: (folder / name).read_bytes() for name in COMPARED}


def run(processes, *arguments):
    """Return what a program prints to each stream, and its exit code."""
    process = start(processes, *arguments)
    try:
        return *process.communicate(timeout=PATIENCE), process.returncode
    finally:
        process.kill()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the trainings of all kinds, made by one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert run(1, "trainings", folder)[2] == 0
    return folder


@pytest.mark.parametrize("processes", [2, 4])
def test_any_number_of_processes_leaves_the_same_bytes(alone, tmp_path, processes):
    """Checkpoint, log, weights, average: float, blocks, scales of a whole tensor, BatchNorm of all and of a shard."""
    printed, _, code = run(processes, "trainings", tmp_path)
    assert code == 0 and printed == "trained\n"
    assert {kind: files(tmp_path / kind) for kind in KINDS} == {kind: files(alone / kind) for kind in KINDS}


def test_more_processes_than_processors_leave_the_same_bytes(alone, tmp_path):
    """Eight, a shard each, with BatchNorm's moments of a shard of two or three samples."""
    assert run(8, "trainings", tmp_path, "local")[2] == 0
    assert files(tmp_path / "local") == files(alone / "local")


def test_memory_can_be_saved_in_several_processes(alone, tmp_path):
    """Activations in codes, a block with synchronised BatchNorm and dropout computed twice: the weights of neither."""
    assert run(2, "trainings", tmp_path, "saving")[2] == 0
    found, want = (lp.load(folder / "model.npz")["model"] for folder in (tmp_path / "saving", alone / "bfp8"))
    assert found.keys() == want.keys() and all(np.array_equal(found[name], want[name]) for name in want)


def test_the_kinds_of_training_differ(alone):
    """What the test above compares is not the same for all: formats and BatchNorm's moments have an effect."""
    assert len({(alone / kind / "model.npz").read_bytes() for kind in KINDS}) == len(KINDS)


def test_an_interrupt_ends_all_with_a_checkpoint_from_which_any_number_goes_on(alone, tmp_path):
    """Ctrl-C of two processes, SIGTERM of four, the rest by one: the same bytes as never stopped."""
    for processes, number in (2, signal.SIGINT), (4, signal.SIGTERM):
        process = start(processes, "slowly", tmp_path, "bfp8", 0.2, *["resume"] * (processes == 4))
        begun, until = step(tmp_path), time.monotonic() + PATIENCE
        while step(tmp_path) < begun + 3 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        printed, told = process.communicate(timeout=PATIENCE)
        assert process.returncode != 0 and printed.count("begun") == 1
        assert told.count("KeyboardInterrupt") == (number == signal.SIGINT)  # by the first process only
        assert begun < step(tmp_path) < STEPS
    assert run(1, "slowly", tmp_path, "bfp8", 0, "resume")[2] == 0
    assert files(tmp_path / "bfp8") == files(alone / "bfp8")


def step(folder):
    """Return the step of the last checkpoint."""
    checkpoint = folder / "bfp8" / "checkpoint.npz"
    return lp.load(checkpoint)["run"]["step"] if checkpoint.exists() else 0


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_process_ends_all_with_its_sentence(alone, tmp_path, rank):
    """It is told once, and the training goes on from there."""
    printed, told, code = run(2, "failing", tmp_path, rank)
    assert code != 0 and printed == ""
    assert told.count("ValueError: ") == told.count(f"ValueError: a mistake of process {rank}\n") == 1
    assert step(tmp_path) == (4 if rank == 0 else 5)  # for process 0 it was whole before it heard of the error
    assert run(1, "slowly", tmp_path, "bfp8", 0, "resume")[2] == 0
    assert files(tmp_path / "bfp8") == files(alone / "bfp8")


@pytest.mark.parametrize(
    ("program", "arguments", "sentence"),
    [
        ("failing_outside", [1], "ValueError: a mistake of process 1"),
        (
            "leaving",
            [1],
            "the same: process 0 at the end of this work, process 1 at the end of its program",
        ),
        ("unlike", [], "RuntimeError: fit: process 1 has other weights than process 0: seed all alike before "),
        ("parts", [3], "ValueError: init: shards must be a multiple of the number of processes, 2, got 3"),
        ("parts", [0], "ValueError: init: shards must be an integer of at least 1, got 0"),
        ("killed", [1], "Killed (signal 9)"),
    ],
)
def test_nobody_waits_for_what_will_not_come(tmp_path, program, arguments, sentence):
    """Whatever ends one process ends the others, and says why; nothing is left in the folder."""
    printed, told, code = run(2, program, tmp_path, *arguments)
    assert code != 0 and (printed + told).count(sentence) == 1
    assert not list(tmp_path.iterdir())


def results(folder):
    """Return what the file of a sweep holds, in some order."""
    records = map(json.loads, (folder / "out.jsonl").read_text().splitlines())
    return sorted((r["function"], r["point"]["x"], r["seed"], r["result"]) for r in records)


def test_processes_share_the_points_of_a_grid(tmp_path):
    """One goes on with what two began: each point is computed once, the file and what is told are those of one."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    shared.mkdir(), own.mkdir()
    for processes, most in (2, 4), (1, 6):
        printed, told, code = run(processes, "sweep", shared, most)
        assert code == 0 and told.count("sweep: x=2, seed=0: ValueError: no such point\n") == 1, told
    assert run(1, "sweep", own, 6)[0] == printed and "x=2, seed=1: ValueError: no such point" in printed
    assert results(shared) == results(own) and len(results(own)) == 8


def test_an_interrupt_ends_a_shared_sweep_and_loses_nothing(tmp_path):
    """What was there is in the file; no worker is left."""
    process, out = start(2, "sweep", tmp_path, 11, start_new_session=True), tmp_path / "out.jsonl"
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not (out.exists() and len(results(tmp_path)) == 14):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and told.count("KeyboardInterrupt") == 1 and "| runs" not in printed
    assert gone(process.pid, within=5) and len(results(tmp_path)) == 14
