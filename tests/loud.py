"""What is not tried is said where nobody can overlook it."""

import sys

import pytest


def skip_loudly(reason):
    """Skip a test, and say so where nobody can overlook it."""
    sys.__stderr__.write(f"\nSKIPPED: {reason}\n")
    pytest.skip(reason)
