"""What only a real GPU can show; all else under tests/gpu runs there, too: `pytest -m gpu`."""

import sys

import numpy as np
import pytest

import lpnet as lp
from lpnet import backend
from lpnet.kernels.cuda.cublas import cublas
from lpnet.random import Stream

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
