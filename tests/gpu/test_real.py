"""What only a real GPU can show; all else under tests/gpu runs there, too: `pytest -m gpu`."""

import json
import sys
import warnings

import numpy as np
import pytest

import lpnet as lp
from lpnet import backend
from lpnet.kernels.cuda.cublas import cublas
from lpnet.random import Stream

from ..distributed.programs import MPIEXEC
from ..distributed.test_processes import run
from ..loud import skip_loudly
from .test_quantize import FORMATS, numbers, same

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpu():
    """Return CuPy; skip where there is no GPU."""
    if (problem := backend.cuda_problem()) is not None:
        skip_loudly(f"NOTHING RAN ON A GPU: {problem}")
    return sys.modules["cupy"]


def test_large_arrays_are_rounded_to_the_same_bits(gpu):
    """Races and threads that take several groups show only here."""
    x = numbers((1000, 4099), np.float32)
    for name in FORMATS:
        for rounding in ("nearest", "stochastic"):
            got = lp.quantize(gpu.asarray(x), name, rounding, Stream(3))
            same(got.get(), lp.quantize(x, name, rounding, Stream(3)))


def test_tensor_cores_lose_nothing(gpu):
    """The real cuBLAS takes the arguments of the emulated one, and products of 8-bit integers are exact."""
    rng = np.random.default_rng(0)
    for shape in ((64, 300, 48), (5, 7, 3)):
        m, k, n = shape
        a, b = (rng.integers(-127, 128, size).astype(np.float32) for size in ((m, k), (k, n)))
        ours = [lp.quantize(gpu.asarray(x), "bfp8:tensor") for x in (a, b)]
        exact = lp.quantize(a, "bfp8:tensor") @ lp.quantize(b, "bfp8:tensor")
        assert cublas() is not None
        np.testing.assert_array_equal(lp.functions.matmul(*ours).numpy(), exact)


def test_a_batch_that_does_not_fit(gpu):
    """CuPy's own error is explained as the stand-in's is."""
    with pytest.raises(MemoryError, match=r"no room for .*Out of memory allocating"), backend.enough_memory("a test"):
        gpu.empty(1 << 50, np.uint8)


def test_nccl_leaves_the_bytes_of_one_process(gpu, tmp_path):
    """Of two processes with a GPU each no gradient comes to the host; the real NCCL takes what the stand-in took."""
    if gpu.cuda.runtime.getDeviceCount() < 2 or MPIEXEC is None:
        skip_loudly("NCCL WAS NOT TRIED: it takes two GPUs and lpnet[mpi]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's own, with the package that is missing
        if backend.nccl_address() is None:
            skip_loudly("NCCL WAS NOT TRIED: CuPy does not find it, pip install nvidia-nccl-cu13 or nvidia-nccl-cu12")
    for kind in ("float", "bfp8"):
        left = {}
        for processes in (1, 2):
            folder = tmp_path / f"{kind}-{processes}"
            folder.mkdir()
            printed, told, code = run(processes, "on_gpus", folder, kind, "real")
            assert code == 0, told
            assert json.loads(printed) == [[[], [], 0]] * processes
            left[processes] = {file.name: file.read_bytes() for file in (folder / kind).iterdir()}
        assert left[1] == left[2]
