"""Trainings under the real mpiexec whose gradients are on GPUs, those of the stand-in: NCCL brings the same bytes."""

import json

import pytest

from ..gpu import host
from ..loud import skip_loudly
from .programs import MPIEXEC
from .test_processes import run

pytestmark = pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec: pip install 'lpnet[mpi]'")
EXCHANGED = 4  # steps of an epoch; the fifth batch is too small to be shared out
GRADIENTS = 6  # arrays


@pytest.fixture(autouse=True)
def compiler():
    """Skip where no kernel can be built."""
    if host.COMPILER is None:
        skip_loudly("there is no g++: NCCL's place in a training was NOT tried on the stand-in")


def trained(folder, processes, devices):
    """Return the bytes that a training left, and what its processes saw."""
    folder.mkdir()
    printed, told, code = run(processes, "on_gpus", folder, "bfp8", devices)
    assert code == 0, told
    files = sorted((folder / "bfp8").iterdir())
    return {file.name: file.read_bytes() for file in files}, json.loads(printed)


def test_gradients_go_from_gpu_to_gpu_and_leave_the_same_bytes(tmp_path):
    """Of two processes with a GPU each none comes to the host; with one for both, as NCCL refuses, all do."""
    alone, seen = trained(tmp_path / "alone", 1, 1)
    assert len(alone) == 4 and seen == [[[], [0], 0]]
    files, seen = trained(tmp_path / "nccl", 2, 2)
    calls = [["all_to_all", "float32"], ["all_gather", "float32"]] * EXCHANGED
    assert seen == [[calls, [0], 0], [calls, [1], 0]] and files == alone
    files, seen = trained(tmp_path / "host", 2, 1)
    assert seen == [[[], [0], GRADIENTS * EXCHANGED]] * 2 and files == alone


@pytest.mark.parametrize(("owner", "name"), [("lpnet", "Allgather"), ("NCCL", "all_gather")])
def test_an_error_between_collectives_ends_all(tmp_path, owner, name):
    """One before NCCL is asked is told, one within it is not: then the others, who wait in it, are ended."""
    _, told, code = run(2, "failing_on_gpus", tmp_path, owner, name)
    assert code != 0 and told.count("RuntimeError: a mistake of process 1\n") == 1
