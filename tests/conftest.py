"""What every test sees: the same drawn examples on every run, one BLAS thread, the default stream at its start."""

import os

import pytest
import threadpoolctl
from hypothesis import settings

import lpnet as lp

settings.register_profile("lpnet", derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile("lpnet")
# On busy cores BLAS threads wait for each other, and small products take fifty times as long. The variables are for
# processes that tests start.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
threadpoolctl.threadpool_limits(1)


@pytest.fixture(autouse=True)
def seed():
    """Start the default stream again, so that no test depends on those before it."""
    lp.manual_seed(0)
