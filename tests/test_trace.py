"""`trace` against the same sums taken by hand."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, optim
from lpnet._trace import RoundingStats

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
