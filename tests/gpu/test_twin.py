"""The GPU's convolution and normalization against their readable twins, on the stand-in and on a GPU."""

import numpy as np
import pytest

from ..test_twin import CASES, both, integers


@pytest.mark.parametrize("name", CASES)
def test_integers_are_exact(cupy, name):
    """Where nothing is rounded, the order of the sums cannot show: kernel and twin are equal."""
    for case in CASES[name]:
        for got, expected in both(name, integers(), case, cupy):
            np.testing.assert_array_equal(got, expected, err_msg=str(case), strict=True)
