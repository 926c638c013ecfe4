"""What every test sees: the same drawn examples on every run, and the default random stream at its start."""

import pytest
from hypothesis import settings

import lpnet as lp

settings.register_profile("lpnet", derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile("lpnet")


@pytest.fixture(autouse=True)
def seed():
    """Start the default stream again, so that no test depends on those before it."""
    lp.manual_seed(0)
