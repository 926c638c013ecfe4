"""The fast way to round gives the bits of the one that explains: every format, mode, shape, order, thread count."""

import itertools

import numpy as np
import pytest

import lpnet as lp
from lpnet.formats.base import ruled
from lpnet.kernels.cuda import rounding as cuda
from lpnet.kernels.numpy import rounding as fast
from lpnet.random import Stream, Window
from lpnet.rounding import MODES

from .formats.cases import FORMATS

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
        expected = lp.format(name).rule(x, rounding, stream)
        assert lp.format(name).quantize(x, rounding, other).tobytes() == expected.tobytes()
        assert stream.state_dict() == other.state_dict()


def hostile(shape, dtype, seed=0):
    """Return numbers of every size that the dtype has, some blocks of one kind, and zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    x = np.ldexp(rng.uniform(-2, 2, shape), rng.integers(info.minexp - info.nmant, info.maxexp, shape))
    flat = x.reshape(-1)
    flat[::7], flat[3::11] = rng.standard_normal(flat[::7].shape), 0.0
    flat[5::97] = rng.choice([np.nan, np.inf, -np.inf, -0.0], flat[5::97].shape)
    rows = x.reshape(len(x), -1)
    rows[1], rows[2], rows[3], rows[4] = -0.0, 2.0**info.minexp * rng.uniform(-1, 1, rows[2].shape), 1.984375, 0.3
    return x.astype(dtype)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_every_format_in_small_pieces(fmt, monkeypatch):
    """Every format and option, mode, dtype and number of threads, also for what is no number: bit for bit the same."""
    monkeypatch.setattr(fast, "SMALL", 64)
    monkeypatch.setattr(fast, "LARGE", 64)
    monkeypatch.setattr(fast, "CACHED", 32)
    modes = [*MODES, lp.Stochastic(3)]
    for rounding, dtype, shape in itertools.product(modes, (np.float32, np.float64), ((9, 30), (7, 3, 4, 5), (301,))):
        for x in (hostile(shape, dtype), np.nan_to_num(hostile(shape, dtype), posinf=2.0, neginf=-3.0)):
            try:
                expected = fmt.rule(x, rounding, Stream(5))
            except ValueError:  # a format that has no NaN or wants more axes
                assert np.isnan(x).any() or x.ndim == 1
                continue
            for threads in (1, 3):
                lp.set_num_threads(threads)
                got = lp.quantize(x, fmt, rounding, Stream(5))
                assert bits(got) == bits(expected), (rounding, dtype, shape, threads)


def bits(x):
    """Return the bytes of an array, one NaN as good as another."""
    return np.where(np.isnan(x), np.nan, x).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_memory_order_changes_no_number(name):
    """A transposed or strided array is rounded as its C-ordered copy, with the same random bits."""
    x = numbers((640, 482))
    for view in (x.T, x[:, ::2], x[::-1], np.asfortranarray(x)):
        got = lp.quantize(view, name, "stochastic", Stream(1))
        expected = lp.format(name).rule(np.ascontiguousarray(view), "stochastic", Stream(1))
        np.testing.assert_array_equal(got, expected)


def test_threads_change_no_bit_of_a_training_step():
    """Convolution, its gradients and rounding give the same weights on one, two and three threads."""
    ends = []
    for threads in (1, 2, 3):
        lp.set_num_threads(threads)
        lp.manual_seed(0)
        nn = lp.nn
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 8, 3, stride=2),
            nn.Flatten(),
            nn.Linear(8 * 49, 10),
        )
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


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_what_is_no_number_stays_in_its_block(fmt, monkeypatch):
    """A row of infinities or NaN, beside zeros and subnormal numbers, gives the readable rule's bits on any threads."""
    monkeypatch.setattr(fast, "SMALL", 16)
    monkeypatch.setattr(fast, "LARGE", 16)
    monkeypatch.setattr(fast, "CACHED", 8)
    for dtype, poison, row in itertools.product((np.float32, np.float64), (np.nan, np.inf, -np.inf), (0, 3, 7)):
        x = np.zeros((8, 6), dtype)
        x[1::3], x[2::3, ::2] = np.finfo(dtype).smallest_subnormal * 5, 0.75
        x[row, 2] = poison
        for rounding in (*MODES, lp.Stochastic(3)):
            try:
                expected = fmt.rule(x, rounding, Stream(5))
            except ValueError:  # a format without NaN
                assert np.isnan(poison)
                continue
            for threads in (1, 3):
                lp.set_num_threads(threads)
                got = lp.quantize(x, fmt, rounding, Stream(5))
                assert bits(got) == bits(expected), (rounding, dtype, poison, row, threads)


def test_zeros_beside_an_infinity_stay_zeros():
    """In bfp8 only the row with the infinity becomes NaN, whatever the threads."""
    x = np.zeros((512, 1024), np.float32)
    x[0, 0] = np.inf
    for threads in (1, 2, 4):
        lp.set_num_threads(threads)
        assert np.isnan(lp.quantize(x, "bfp8")).any(1).sum() == 1


def changed(kind, method):
    """Return a subclass whose numbers are other ones than the parent's, by one overridden method."""
    rules = {
        "clip": lambda self, y, s: np.clip(y, -0.25, 0.25),
        "spacing": lambda self, x: np.full_like(x, 0.5),
        "quantize": lambda self, x, r="nearest", s=None: np.sort(
            np.round(kind.quantize(self, x, r, s), 1), axis=None
        ).reshape(x.shape),
    }
    return type("Changed", (kind,), {method: rules[method]})


PARENTS = [(lp.FixedPoint, (8, 6)), (lp.FloatingPoint, (4, 3)), (lp.BlockFloatingPoint, (8,))]


@pytest.mark.parametrize("size", [30, 200_000])
@pytest.mark.parametrize("method", ["clip", "spacing", "quantize"])
@pytest.mark.parametrize(("kind", "arguments"), PARENTS)
def test_a_subclass_is_rounded_by_its_own_rules(kind, arguments, method, size):
    """No kernel of the parent, nor the parent's word on rows, serves a class that overrides a part of it."""
    fmt, x = changed(kind, method)(*arguments), np.random.default_rng(0).standard_normal((2, size)).astype(np.float32)
    for rounding in ("nearest", "stochastic", "floor"):
        expected = ruled(fmt)(x.copy(), rounding, Stream(1))
        np.testing.assert_array_equal(lp.quantize(x, fmt, rounding, Stream(1)), expected)
        np.testing.assert_array_equal(fmt.quantize(x, rounding, Stream(1)), expected)
        assert not np.array_equal(expected, kind(*arguments).quantize(x, rounding, Stream(1)))


@pytest.mark.parametrize(("kind", "arguments"), PARENTS)
def test_no_subclass_has_a_plan_on_the_gpu(kind, arguments):
    """A user's class, also as the element of a scaled one, is rounded by `Format.rule` and claims no digits."""
    fmt, x = changed(kind, "clip")(*arguments), np.ones((2, 3), np.float32)
    assert cuda.planned(fmt, x) is None and cuda.significant(fmt) is None
    if kind is not lp.BlockFloatingPoint:
        scaled = lp.BlockScaled(fmt, lp.formats.Exponent(8), 3)
        assert cuda.planned(scaled, x) is None and cuda.significant(scaled) is None
        with pytest.raises(NotImplementedError):
            cuda.grid(fmt, x)
    assert cuda.significant(kind(*arguments)) is not None


class Twice(lp.Format):
    """The mean of two stochastic roundings to integers."""

    def rows_independent(self, x):
        return True

    def quantize(self, x, rounding="nearest", stream=None):
        return (lp.rounding.round(x, rounding, stream) + lp.rounding.round(x, rounding, stream)) / 2


class Always(lp.Stochastic):
    """A rounding that always goes up."""

    def __call__(self, n, stream=None):
        return np.ceil(n)


def test_a_format_may_draw_twice_and_a_rounding_may_be_a_users():
    """Above the size of a piece both are what they are below it, and the stream ends at the same site."""
    x = np.random.default_rng(0).standard_normal(300_000).astype(np.float32)
    stream, other = Stream(2), Stream(2)
    expected = Twice().quantize(x, "stochastic", stream)
    np.testing.assert_array_equal(lp.quantize(x, Twice(), "stochastic", other), expected)
    assert stream.state_dict() == other.state_dict() and (expected % 1 != 0).any()
    for size in (30, 300_000):
        np.testing.assert_array_equal(lp.quantize(x[:size], "fixed8.2", Always()), np.ceil(x[:size] * 4) / 4)


class Halves(lp.FixedPoint):
    """A user's format whose `rule` is its own."""

    def rule(self, x, rounding="nearest", stream=None):
        return lp.rounding.round(x * 2, rounding, stream) / 2


def test_quantize_is_the_kernel_and_the_rule_may_be_a_users(monkeypatch):
    """`fmt.quantize` needs no `fmt.rule` where there is a kernel, and a class with another rule is rounded by that."""
    x = np.random.default_rng(0).standard_normal(300_000).astype(np.float32)
    for size in (30, 300_000):
        assert (Halves(8, 6).quantize(x[:size]) == np.rint(x[:size] * 2) / 2).all()
    for name in ("bfp8", "e4m3", "fixed8.6"):
        fmt = lp.format(name)
        expected = [fmt.rule(x, rounding, Stream(1)).tobytes() for rounding in ("nearest", "stochastic")]
        with monkeypatch.context() as patch:
            patch.setattr(type(fmt), "rule", None)
            got = [fmt.quantize(x, rounding, Stream(1)).tobytes() for rounding in ("nearest", "stochastic")]
        assert got == expected


class Lanes(Stream):
    """A stream whose numbers are all the same."""

    def draw(self, n):
        self.take()
        return np.full(n, 0xFFFF, np.uint16)


@pytest.mark.parametrize("name", NAMES)
def test_a_users_stream_draws_as_it_says(name):
    """No kernel takes the bits of Philox in place of those of a stream with another `draw`; windows keep theirs."""
    x = numbers((3, 100_003))
    for rounding in ("stochastic", lp.Stochastic(4)):
        expected = lp.format(name).rule(x, rounding, Lanes())
        assert lp.quantize(x, name, rounding, Lanes()).tobytes() == expected.tobytes()
        assert lp.quantize(x, name, rounding, Stream()).tobytes() != expected.tobytes()
        window = lp.format(name).rule(x, rounding, Window(3, 5, 7))
        assert lp.quantize(x, name, rounding, Window(3, 5, 7)).tobytes() == window.tobytes()
