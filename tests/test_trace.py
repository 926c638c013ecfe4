"""`trace` against the same sums taken by hand."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, optim
from lpnet._trace import RoundingStats
from lpnet.training import TraceRounding

X = np.float32([[0.3, -5.0, 0.01, 0.0, 1.5], [-0.26, 7.99, 2.0, -0.1, 0.12]])
FIXED = lp.FixedPoint(6, 2)  # quarters in [-8, 7.75]


def clipped(x):
    return np.clip(np.round(x * 4) / 4, -8, 7.75)


def test_noise_saturation_and_underflow_of_activations_and_errors():
    """Each figure against NumPy's, by its definition."""
    layer = nn.Tanh()
    q = lp.Quantizer(FIXED, "nearest")
    nn.lower(layer, lp.Precision(activation=q, error=q))
    error = np.float32([[9.0, 0.1, -0.12, 0.5, -9.0], [0, 0, 1, 2, 0.13]])
    x = lp.Tensor(X, requires_grad=True)
    with lp.trace(layer) as trace:
        layer(x).backward(error)
    for role, values in (("activation", np.tanh(X)), ("error", error)):
        site, rounded = trace.stats["", role], clipped(values.astype(np.float64))
        assert site.count == 10
        noise = 100 * np.sqrt(((rounded - values) ** 2).sum() / (values.astype(np.float64) ** 2).sum())
        assert site.noise == pytest.approx(noise, rel=1e-6)
        assert site.underflowed == np.sum((values != 0) & (rounded == 0))
        assert site.saturated == np.sum((values > 7.75 + 0.25) | (values < -8 - 0.25))
    assert (trace.stats["", "error"].saturated, trace.stats["", "error"].underflowed) == (2, 2)


def test_the_optimizer_is_one_place_with_its_roles():
    """Every number rounded is counted once in its role."""
    model = nn.Linear(3, 2)
    q = lp.Quantizer(lp.FixedPoint(4, 2), "nearest")
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9, precision=lp.Precision(weight=q, gradient=q, momentum=q))
    with lp.trace(model, optimizer) as trace:
        for _ in range(2):
            optimizer.zero_grad()
            model(np.ones((1, 3), np.float32)).sum().backward()
            optimizer.step()
    assert {key: site.count for key, site in trace.stats.items()} == {
        ("optimizer", role): 2 * 8 for role in ("gradient", "momentum", "weight")
    }
    assert trace.stats["optimizer", "gradient"].noise == 0  # all are 1


def test_tracing_changes_no_number_and_leaves_no_mark():
    """With and without it, loss, weights and precisions are the same."""

    def train(traced):
        lp.manual_seed(1)
        model = lp.models.small_cnn(width=2)
        nn.lower(model, "bfp8")
        optimizer = optim.SGD(model.parameters(), 0.1, 0.9, precision="bfp8")
        marks = [m.precision for m in model.modules()], optimizer.precision
        trace = lp.trace(model, optimizer)
        if traced:
            text = trace.__enter__()
        loss = lp.functions.cross_entropy(model(np.ones((4, 1, 8, 8), np.float32)), np.arange(4))
        loss.backward()
        optimizer.step()
        if traced:
            trace.__exit__(None, None, None)
            assert "0.0" not in str(text) or len(str(text).splitlines()) > 3
        assert ([m.precision for m in model.modules()], optimizer.precision) == marks
        return model.state_dict()

    plain, traced = train(False), train(True)
    assert all(np.array_equal(plain[k], traced[k]) for k in plain)


def test_the_marks_come_back_after_an_exception():
    """A failed step does not leave a traced model behind."""
    layer = nn.ReLU()
    nn.lower(layer, "bfp8")
    mark = layer.precision
    with pytest.raises(ZeroDivisionError), lp.trace(layer):
        1 / 0  # noqa: B018
    assert layer.precision is mark


def test_the_table_has_a_line_a_site_and_fits_a_terminal():
    """In the order in which the places were first rounded at."""
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()))
    nn.lower(model, "bfp4")
    with lp.trace(model) as trace:
        model(np.random.default_rng(0).standard_normal((2, 1, 5, 5)).astype(np.float32)).sum().backward()
    lines = str(trace).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [[p, r] for p, r in trace.stats]
    assert set(trace.stats) == {("0.0", "activation"), ("0.2", "activation"), ("0.2", "error"), ("0.0", "error")}
    assert max(map(len, lines)) <= 80


def test_a_plain_function_has_noise_but_no_grid_to_be_clipped_by():
    """Without a format, nothing is called saturated."""
    layer = nn.ReLU()
    nn.lower(layer, lp.Precision(activation=lambda x: 0.5 * x))
    with lp.trace(layer) as trace:
        layer(X)
    site = trace.stats["", "activation"]
    assert site.noise == pytest.approx(50) and site.saturated == 0


def test_a_site_of_zeros_has_no_noise():
    """There is no signal to divide by."""
    assert RoundingStats().noise == 0


def test_parameters_with_a_precision_of_their_own_have_a_place_of_their_own():
    """Apart from the optimizer's, which comes back afterwards."""
    model = nn.Sequential(nn.Linear(2, 2))
    optimizer = lp.optim.SGD(model.named_parameters(), 0.1, precision={"*": "bfp8", "0.bias": "bfp4"})
    own = optimizer.overrides
    with lp.trace(model, optimizer) as seen:
        model(np.ones((1, 2), np.float32)).sum().backward()
        optimizer.step()
    assert optimizer.overrides is own
    assert seen.stats["optimizer", "weight"].count == 4 and seen.stats["optimizer, parameter 1", "weight"].count == 2


def test_operands_are_recorded_as_they_are_rounded():
    """Six operands by name, rotated ones rotated; gaps are those of blocks along the axis of the product."""
    layer = nn.Linear(32, 3)
    turned = lp.Operand("mxfp4_e2m1", rotate=16)
    nn.lower(layer, lp.Precision(products=lp.Products(turned, turned, gy_weight="fixed6.2")), nn.Linear)
    x, gy = np.random.default_rng(0).standard_normal((2, 5, 32)).astype(np.float32)
    x[:, 0] = 7
    with lp.trace(layer) as trace:
        layer(x).backward(4 * gy[:, :3])
    assert set(trace.stats) == {("", "x"), ("", "W"), ("", "gy_weight")}
    for name, value, axis in (("x", x, 1), ("W", layer.weight.data, 1)):
        before, after = turned.rotated(value, axis), turned(value, axis)
        stats, largest = trace.stats["", name], abs(before).max(axis=1, keepdims=True)
        assert stats.sqnr == pytest.approx(10 * np.log10((before**2).sum() / ((after - before) ** 2).sum()), rel=1e-4)
        assert stats.underflowed == ((before != 0) & (after == 0)).sum() > 0
        gap = 2 ** np.floor(np.log2(largest)) / 2  # of the largest elements of a block, from 4 to 6
        assert stats.saturated == (abs(after - before) >= gap).sum()
    assert trace.stats["", "gy_weight"].saturated == (abs(4 * gy[:, :3] - clipped(4 * gy[:, :3])) >= 0.25).sum()


def test_sums_are_recorded_beside_exact_ones():
    """Of each product with an accumulator: the error against float64, the sums beyond the format's end, those lost."""
    layer = nn.Conv2d(2, 4, 3, bias=False)
    layer.weight.data[0], layer.weight.data[1] = 1e-6, 60
    nn.lower(layer, lp.Precision(products=lp.Products(accumulate=lp.Accumulator(add="e4m3"))))
    x = lp.Tensor(np.ones((3, 2, 5, 5), np.float32), requires_grad=True)
    with lp.trace(layer) as trace:
        y = layer(x)
        y.backward(np.ones(y.shape, np.float32))
    assert list(trace.stats) == [("", "sum y"), ("", "sum gx"), ("", "sum gW")]
    stats, exact = trace.stats["", "sum y"], lp.functions.conv2d(x, layer.weight).numpy().astype(np.float64)
    assert stats.count == y.size
    assert stats.sqnr == pytest.approx(10 * np.log10((exact**2).sum() / ((y.numpy() - exact) ** 2).sum()), rel=1e-3)
    assert stats.underflowed == stats.saturated == y.size // 4
    assert trace.stats["", "sum gW"].exact == 0  # of 27 ones: 16 and 1 are 16 in e4m3


def test_tracing_products_changes_no_number_and_is_seen_in_trainings():
    """The step's weights are the same, TraceRounding has a row a product, and the table fits a terminal."""
    products = lp.Products.uniform("mxfp8_e4m3", "stochastic", accumulate=lp.Accumulator(add="e8m13", every=16))

    def train(callbacks):
        lp.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4))
        nn.lower(model, lp.Precision(products=products), [nn.Conv2d, nn.Linear])
        loader = lp.data.DataLoader((np.ones((4, 1, 8, 8), np.float32), np.arange(4)), 4)
        lp.fit(
            model, loader, epochs=1, optimizer=optim.SGD(model.parameters(), 0.1), callbacks=callbacks, progress=False
        )
        return model

    traced = TraceRounding(1)
    plain, seen = train([]).state_dict(), train([traced]).state_dict()
    assert all(np.array_equal(plain[name], seen[name]) for name in plain)
    ((_, stats),) = traced.history
    assert {role for _, role in stats} == {*lp.products.OPERANDS, "sum y", "sum gx", "sum gW"}
    assert {place for place, _ in stats} == {"0", "3"}
    table = lp._trace.Trace()
    table.stats = stats
    assert max(map(len, str(table).splitlines())) <= 80
