"""Processes that a test starts."""

import os
import time


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
