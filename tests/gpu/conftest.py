"""CuPy for the tests: its stand-in everywhere, and the real one, marked `gpu`, where there is a GPU."""

import contextlib
import sys

import pytest

import lpnet as lp
from lpnet import backend
from lpnet.kernels.cuda import cublas

from ..loud import skip_loudly
from . import blas, host, standin


class Real:
    """The real CuPy, with what the tests ask of the stand-in besides."""

    waits = ()

    @staticmethod
    def no_waiting():
        """Return a block in which nothing is looked for: only the stand-in can tell."""
        return contextlib.nullcontext()

    def __getattr__(self, name):
        return getattr(sys.modules["cupy"], name)


def pytest_generate_tests(metafunc):
    """Run what takes `cupy` with the stand-in and, where a GPU works, with CuPy itself."""
    if "cupy" in metafunc.fixturenames:
        real = [pytest.param("real", marks=pytest.mark.gpu)] if lp.cuda_available() else []
        metafunc.parametrize("cupy", ["standin", *real], indirect=True)


@pytest.fixture
def cupy(request):
    """Return the stand-in, put in CuPy's place, or CuPy."""
    return Real() if request.param == "real" else request.getfixturevalue("fake")


@pytest.fixture
def fake(monkeypatch):
    """Put the stand-in in CuPy's place."""
    if host.COMPILER is None:
        skip_loudly("there is no g++: the kernels were NOT compared with NumPy, nothing was tried on the stand-in")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(host.CACHE))
    monkeypatch.setitem(sys.modules, "cupy", standin)
    monkeypatch.setattr(cublas, "CuBLAS", blas.CuBLAS)
    backend.forget_cuda()
    assert lp.cuda_available()
    standin.waits.clear()
    blas.calls.clear()
    yield standin
    backend.forget_cuda()
