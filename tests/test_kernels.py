"""The fast way to round gives the bits of the one that explains: every format, mode, shape, order, thread count."""

import numpy as np
import pytest

import lpnet as lp
from lpnet.random import Stream
from lpnet.rounding import MODES

NAMES = ["fp16", "e4m3", "e2m1", "fixed8.4", "bfp8", "bfp4:tensor", "bfp8:16", "mxfp4_e2m1", "nvfp4"]
SHAPES = [(300_000,), (3, 100_003), (129, 16, 9, 9), (700, 431)]


@pytest.fixture(autouse=True)
def _threads():
    n = lp.get_num_threads()
    yield
    lp.set_num_threads(n)


def numbers(shape, seed=0):
    """Return numbers over many orders of magnitude."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * np.exp(rng.uniform(-9, 9, shape))).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rounding", [*MODES, lp.Stochastic(4)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_pieces_and_threads_change_no_bit(name, rounding, threads):
    """A large array rounded in pieces on some threads equals the same array rounded at once."""
    lp.set_num_threads(threads)
    for shape in SHAPES:
        x = numbers(shape)
        stream, other = Stream(3), Stream(3)
        expected = lp.format(name).quantize(x, rounding, stream)
        assert lp.quantize(x, name, rounding, other).tobytes() == expected.tobytes()
        assert stream.state_dict() == other.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_memory_order_changes_no_number(name):
    """A transposed or strided array is rounded as its C-ordered copy, with the same random bits."""
    x = numbers((640, 482))
    for view in (x.T, x[:, ::2], x[::-1], np.asfortranarray(x)):
        got = lp.quantize(view, name, "stochastic", Stream(1))
        expected = lp.format(name).quantize(np.ascontiguousarray(view), "stochastic", Stream(1))
        np.testing.assert_array_equal(got, expected)


def test_threads_change_no_bit_of_a_training_step():
    """Convolution, its gradients and rounding give the same weights on one, two and three threads."""
    ends = []
    for threads in (1, 2, 3):
        lp.set_num_threads(threads)
        lp.manual_seed(0)
        nn = lp.nn
        model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
                              nn.Conv2d(16, 8, 3, stride=2), nn.Flatten(), nn.Linear(8 * 49, 10))  # fmt: skip
        lp.nn.lower(model, "bfp8")
        optimizer = lp.optim.SGD(model.parameters(), 0.1, 0.9, precision="bfp8")
        x = np.random.default_rng(0).standard_normal((40, 3, 16, 16)).astype(np.float32)
        lp.functions.cross_entropy(model(x), np.arange(40) % 10).backward()
        optimizer.step()
        ends.append(b"".join(w.tobytes() for w in model.state_dict().values()))
    assert ends[0] == ends[1] == ends[2]


def test_the_number_of_threads_is_at_least_one():
    """A number of threads below one is refused."""
    with pytest.raises(ValueError, match="at least 1, got 0"):
        lp.set_num_threads(0)
