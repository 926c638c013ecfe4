"""The stand-in for CuPy in CuPy's place, and what a machine may lack."""

import sys

import pytest

from lpnet import backend

from . import host, standin


@pytest.fixture
def cupy(monkeypatch):
    """Put the stand-in in CuPy's place."""
    if host.COMPILER is None:
        skip_loudly("there is no g++: the kernels were NOT compared with NumPy, nothing was tried on the stand-in")
    monkeypatch.setitem(sys.modules, "cupy", standin)
    backend.forget_cuda()
    standin.waits.clear()
    yield standin
    backend.forget_cuda()


def skip_loudly(reason):
    """Skip a test, and say so where nobody can overlook it."""
    sys.__stderr__.write(f"\nSKIPPED: {reason}\n")
    pytest.skip(reason)
