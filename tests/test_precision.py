"""Which number gets which format: quantizers, roles, names, contexts, and formats that are not in the package."""

from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet.precision import EXACT, ROLES, active, as_precision
from lpnet.random import Stream

X = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)


@dataclass(frozen=True)
class Logarithmic(lp.Format):
    """A user's own format: the powers of two from 2^low to 2^high, their negatives, and 0."""

    low: int = -8
    high: int = 4

    def quantize(self, x, rounding="nearest", stream=None):
        power = lp.rounding.round(np.log2(np.maximum(abs(x), 2.0**self.low)), rounding, stream)
        y = np.copysign(np.exp2(np.minimum(power, self.high)), x)
        return np.where(abs(x) < 2.0 ** (self.low - 1), 0, y).astype(x.dtype)


def sixteenths(x):
    """A user's own plain function: round to multiples of 1/16."""
    return np.rint(x * 16) / 16


OWN = {  # what is plugged in, and whether numbers are of the format
    "format": (Logarithmic(), lambda a: (np.frexp(a)[0] % 0.5 == 0).all()),
    "function": (sixteenths, lambda a: (a * 16 % 1 == 0).all()),
    "built-in": (lp.FixedPoint(8, 4), lambda a: (a * 16 % 1 == 0).all()),
}
own = pytest.mark.parametrize(("q", "fits"), OWN.values(), ids=OWN)


# One's own format in the place of a built-in one


def test_the_logarithmic_format_rounds_as_its_definition():
    """Each number goes to the power of two whose logarithm is nearest; stochastically to a neighbouring one."""
    table = 2.0 ** np.arange(-8, 5)
    y = lp.quantize(X, Logarithmic())
    for x, rounded in zip(X.ravel().tolist(), y.ravel().tolist(), strict=True):
        nearest = table[np.argmin(abs(np.log2(table) - np.log2(abs(x))))]
        assert rounded == np.sign(x) * nearest
    z = lp.quantize(X, Logarithmic(), "stochastic", Stream(1))
    assert (abs(np.log2(abs(z)) - np.log2(abs(X))) < 1).all() and not np.array_equal(y, z)


def test_in_a_quantizer():
    """A Quantizer takes the format, with a rounding mode and a stream."""
    for rounding in ("nearest", "stochastic"):
        a, b = (lp.Quantizer(Logarithmic(), rounding, Stream(3))(X) for _ in range(2))
        np.testing.assert_array_equal(a, lp.quantize(X, Logarithmic(), rounding, Stream(3)))
        np.testing.assert_array_equal(a, b)


@own
@pytest.mark.parametrize("role", ROLES)
def test_in_a_role(role, q, fits):
    """Every role of a Precision takes it."""
    assert not fits(X) and fits(lp.Precision(**{role: q}).round(role, X))


@own
@pytest.mark.parametrize(
    "wrap",
    [lambda q: q, lp.Precision.uniform, lambda q: lp.Precision(activation=q, error=q)],
    ids=["bare", "uniform", "roles"],
)
def test_in_use(q, fits, wrap):
    """`use` takes it, bare or in a Precision: results and errors are of the format."""
    x = lp.Tensor(X, requires_grad=True)
    with lp.use(wrap(q)):
        y = F.tanh(x)
    y.backward(np.full(y.shape, 0.3))
    assert fits(y.data) and fits(x.grad) and not fits(np.tanh(X))


@own
def test_in_lower(q, fits):
    """`nn.lower` takes it: a marked layer's output and the error it passes on come from rounded numbers."""
    net = lp.nn.Sequential(lp.nn.Linear(6, 4), lp.nn.Tanh())
    assert lp.nn.lower(net, q) == {"1": "Tanh"}
    y = net(lp.Tensor(X))
    assert fits(y.data) and net[1].precision.error is not None


@own
def test_in_optimizers(q, fits):
    """An optimizer takes it: weights and momentum are of the format from the first step on."""
    net = lp.nn.Linear(6, 4)
    optimizer = lp.optim.SGD(net.parameters(), lr=0.25, momentum=0.9, precision=q)
    assert all(fits(p.data) for p in net.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(net(lp.Tensor(X)), np.ones((8, 4), np.float32)).backward()
        optimizer.step()
    assert all(
        fits(p.data) and fits(state["momentum"]) for p, state in zip(optimizer.params, optimizer.state, strict=True)
    )


@own
def test_in_the_average(q, fits):
    """SWALP's average takes it."""
    net = lp.nn.Linear(6, 4)
    swalp = lp.optim.SWALP(net, lp.optim.SGD(net.parameters(), lr=0.1), start=0, cycle=1, average=q)
    for _ in range(2):
        net.weight.data = net.weight.data * 1.3
        swalp.step()
    assert all(fits(p.data) for p in swalp.averaged.parameters())


def test_the_average_is_a_role():
    """SWALP rounds by the role `average` of the optimizer's Precision, unless it is given its own; the dtype stays."""

    def mean(role, **own):
        lp.manual_seed(0)
        net = lp.nn.Linear(6, 4)
        optimizer = lp.optim.SGD(net.parameters(), lr=0.1, precision=lp.Precision(average=role))
        swalp = lp.optim.SWALP(net, optimizer, 0, 1, **own)
        swalp.step()
        return swalp.averaged.weight.data

    np.testing.assert_array_equal(mean(sixteenths), sixteenths(mean(None)), strict=True)
    np.testing.assert_array_equal(mean(None, average=sixteenths), mean(sixteenths), strict=True)
    np.testing.assert_array_equal(mean("bfp4", average=sixteenths), mean(sixteenths), strict=True)
    assert mean(lambda w: w.astype(np.float64)).dtype == np.float32


def test_training_in_ones_own_format():
    """A network whose every number is a power of two learns to tell two clouds apart."""
    rng = np.random.default_rng(1)
    labels = np.arange(64) % 2
    x = (rng.standard_normal((64, 2)) + 3 * labels[:, None]).astype(np.float32)
    net = lp.models.mlp(2, 2, hidden=(8,))
    optimizer = lp.optim.SGD(net.parameters(), lr=0.1, precision=Logarithmic())
    for _ in range(60):
        optimizer.zero_grad()
        with lp.use(Logarithmic()):
            loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
    assert (net(x).data.argmax(axis=1) == labels).mean() > 0.9


# Quantizer and Precision


@pytest.mark.parametrize("rounding", ["nearest", "floor", "stochastic"])
def test_a_quantizer_is_its_format(rounding):
    """A Quantizer gives what its format gives, by name or by value, and keeps the dtype."""
    for dtype in (np.float32, np.float64):
        x = X.astype(dtype)
        expected = lp.quantize(x, lp.BlockFloatingPoint(4), rounding, Stream(2))
        for fmt in ("bfp4", lp.BlockFloatingPoint(4)):
            np.testing.assert_array_equal(lp.Quantizer(fmt, rounding, Stream(2))(x), expected, strict=True)


def test_a_quantizer_without_a_stream_draws_from_the_default_one():
    """It takes one site of the default stream a call, and none if it does not round stochastically."""
    for rounding, sites in (("stochastic", 2), ("nearest", 0)):
        lp.manual_seed(0)
        q = lp.Quantizer("bfp8", rounding)
        q(q(X))
        assert lp.random.default.site == sites


def test_unknown_names_get_the_nearest():
    """A misspelt format is a ValueError that lists what was probably meant."""
    for make in (lp.Quantizer, lp.Precision.uniform, lp.Precision.parse, as_precision, lambda n: lp.Precision(error=n)):
        with pytest.raises(ValueError, match="bfp"):
            make("bpf8")


def test_exact_is_the_default():
    """A Precision of nothing changes nothing, and returns the array itself."""
    for role in ROLES:
        assert lp.Precision().round(role, X) is X
    assert str(lp.Precision()) == "exact" and active() == EXACT == lp.Precision()


def test_each_role_has_its_own():
    """`round` asks the function of that role and no other."""
    precision = lp.Precision(**{role: lambda x, i=i: x * 0 + i for i, role in enumerate(ROLES)})
    assert [precision.round(role, X).flat[0] for role in ROLES] == list(range(len(ROLES)))


def test_uniform_leaves_the_accumulator_out():
    """One quantizer serves five roles; there is no accumulator, and Adam's divisor and SWALP's average are exact."""
    precision = lp.Precision.uniform("bfp8", "nearest")
    assert len({id(getattr(precision, role)) for role in ROLES[:5]}) == 1
    assert precision.accumulator is precision.second_moment is precision.average is None
    assert precision.weight.rounding == "nearest"


def test_equal_parts_are_equal_values():
    """Quantizers and Precisions of the same parts are equal, hash alike, cannot be changed, and differ otherwise."""
    for make in (lp.Quantizer, lp.Precision.uniform, lambda *a: lp.Precision(error=lp.Quantizer(*a))):
        stream = Stream(1)
        for arguments in (("bfp8",), ("bfp8", "nearest"), ("e4m3", "stochastic", stream)):
            assert make(*arguments) == make(*arguments) and hash(make(*arguments)) == hash(make(*arguments))
        different = {make("bfp8"), make("bfp4"), make("bfp8", "nearest"), make("bfp8", "stochastic", stream)}
        assert len(different) == 4
    assert lp.Quantizer("bfp8") == lp.Quantizer(lp.format("bfp8"))
    with pytest.raises(FrozenInstanceError):
        lp.Quantizer("bfp8").rounding = "nearest"


@pytest.mark.parametrize("function", [lambda x: x.astype(np.float64), lambda x: x.tolist(), lambda x: x.astype(int)])
def test_a_function_cannot_change_the_dtype(function):
    """Whatever dtype a user's function returns, numbers go on in the dtype they came in."""
    result = lp.Precision(activation=function).round("activation", X)
    assert isinstance(result, np.ndarray) and result.dtype == X.dtype


@pytest.mark.parametrize("value", [8, 3.5, ["bfp8"]])
def test_what_is_no_format_is_refused(value):
    """The error names the role and what came."""
    with pytest.raises(TypeError, match=r"Precision: error must be a format, .* a function or None, got"):
        lp.Precision(error=value)
    with pytest.raises(TypeError, match="must be a format"):
        as_precision(value)


def test_as_precision():
    """A Precision stays itself, None is exact, all else is uniform."""
    precision = lp.Precision(error="e5m2")
    assert as_precision(precision) is precision and as_precision(None) == EXACT
    assert as_precision(sixteenths).weight is as_precision(sixteenths).error is sixteenths


# Names of whole precisions


@pytest.mark.parametrize("name", ["bfp8", "e4m3", "fixed8.6"])
def test_parse_one_name(name):
    """A format's name stands for that format in every role."""
    precision = lp.Precision.parse(name, "nearest")
    np.testing.assert_array_equal(precision.round("weight", X), lp.quantize(X, name))
    assert precision.error is precision.weight


@pytest.mark.parametrize("comma", [",", ", ", " ,"])
def test_parse_roles(comma):
    """Roles are given one by one, with or without spaces; the others are exact."""
    precision = lp.Precision.parse(comma.join(["weight=bfp8", "activation=e4m3", "error = e5m2"]), "nearest")
    for role, name in (("weight", "bfp8"), ("activation", "e4m3"), ("error", "e5m2")):
        np.testing.assert_array_equal(precision.round(role, X), lp.quantize(X, name))
    assert precision.gradient is precision.momentum is precision.accumulator is None


def test_parse_fp32_is_exact():
    """fp32 by itself rounds nothing."""
    assert lp.Precision.parse("fp32") == EXACT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wieght=bfp8", "unknown role 'wieght', did you mean weight"),
        ("weight=bfp8,e4m3", "unknown role 'e4m3'"),
        ("weight=bfp8,weight=bfp4", "a role is given twice"),
        ("weight=bpf8", "bfp"),
    ],
)
def test_parse_refuses(text, words):
    """Unknown roles and formats, and roles given twice, are one clear sentence."""
    with pytest.raises(ValueError, match=words):
        lp.Precision.parse(text)


# Streams


def test_streams_are_listed_once():
    """Each stream that a quantizer holds appears under the first role it serves; the default one does not."""
    shared, own_stream = Stream(1), Stream(2)
    precision = lp.Precision(
        weight=lp.Quantizer("bfp8", stream=shared),
        activation=lp.Quantizer("bfp8"),
        error=lp.Quantizer("bfp4", stream=shared),
        momentum=sixteenths,
        gradient=lp.Quantizer("bfp8", stream=own_stream),
    )
    assert precision.streams() == {"weight": shared, "gradient": own_stream}


def test_use_gives_and_restores():
    """The context yields its Precision; what was active before is active after."""
    with lp.use("bfp8") as outer:
        assert active() is outer and outer.weight.format == lp.format("bfp8")
        with lp.use(None) as inner:
            assert active() is inner is EXACT
        assert active() is outer
    assert active() is EXACT


def test_reprs_say_what_rounds():
    """A Quantizer and a Precision print format and mode."""
    assert repr(lp.Quantizer("bfp8", "nearest")) == "Quantizer('bfp8', 'nearest')"
    assert str(lp.Precision(error=lp.Quantizer("bfp8", "nearest"))) == "error=Quantizer('bfp8', 'nearest')"
