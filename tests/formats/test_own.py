"""A user's format from end to end: rounding, check, explain, trace, pictures, training, packing, the command line."""

import importlib
import json

import numpy as np
import pytest

import lpnet as lp
from lpnet import cli, formats, nn, optim
from lpnet.formats import show
from lpnet.random import Stream


class Powers(lp.Format):
    """Zero and signed powers of two from 2^-14 to 1, by a gap and an end."""

    bits, signed_zero = 5, True

    def spacing(self, x):
        return np.ldexp(np.ones_like(x), np.frexp(np.maximum(abs(x), 2.0**-14))[1] - 1)

    def clip(self, y, s):
        return np.clip(y, -1, 1)

    def to_codes(self, y):
        if np.isnan(y).any():
            raise ValueError("Powers: NaN has no code")
        return (np.where(y == 0, 0, np.frexp(y)[1] + 14) | np.signbit(y) << 4).astype(np.uint64)

    def from_codes(self, codes, dtype):
        magnitude = np.where(codes & 15, np.ldexp(1.0, (codes & 15).astype(int) - 15), 0.0)
        return np.where(codes >> 4, -magnitude, magnitude).astype(dtype)


class Eighths(lp.Format):
    """Multiples of 1/8 from -4 to 3.875, by a `quantize` of its own."""

    bits = 6

    def quantize(self, x, rounding="nearest", stream=None):
        n = lp.rounding.round(formats.base.float_array(x, self) * 8, rounding, stream)
        return np.asarray(np.clip(n, -32, 31) / 8 + x.dtype.type(0))

    def to_codes(self, y):
        if np.isnan(y).any():
            raise ValueError("Eighths: NaN has no code")
        return (y * 8 + 32).astype(np.uint64)

    def from_codes(self, codes, dtype):
        return ((codes.astype(int) - 32) / 8).astype(dtype)


LEVELS = lp.Table(tuple(np.round(np.sinh(np.linspace(-3, 3, 63)) / 10, 5)), "levels")
OWN = {"powers": Powers(), "eighths": Eighths(), "levels": LEVELS}
own = pytest.mark.parametrize("name", OWN)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    module = importlib.import_module("lpnet.formats._names")
    monkeypatch.setattr(module, "_CLASSES", dict(module._CLASSES))
    before = dict(module.REGISTERED)
    for name, fmt in OWN.items():
        formats.register(fmt, name)
    yield
    module.REGISTERED.clear()
    module.REGISTERED.update(before)


@own
def test_it_rounds_by_its_own_rule(name):
    """By name, by value and by `fmt.quantize` the same bits, at any size; every property holds."""
    fmt = OWN[name]
    assert "all properties hold" in str(formats.check(fmt)) and str(fmt) == name and formats.format(name) is fmt
    for size in (30, 200_000):
        x = np.random.default_rng(0).standard_normal((2, size)).astype(np.float32)
        for rounding in lp.rounding.MODES:
            expected = fmt.quantize(x, rounding, Stream(1))
            assert lp.quantize(x, name, rounding, Stream(1)).tobytes() == expected.tobytes()
        assert fmt.encode(x).decode().tobytes() == fmt.quantize(x).tobytes()


@own
def test_it_is_explained_described_and_drawn(name, tmp_path):
    """Its neighbours are told, its numbers listed, its picture is there."""
    told = lp.explain(0.3, name)
    assert told.below <= 0.3 <= told.above and told.result in (told.below, told.above) and str(told).startswith(" ")
    assert show.describe(name).startswith(f"{name}\n") and name in show.table()
    pytest.importorskip("matplotlib")
    show.plot(name, tmp_path / "numbers.svg")
    assert (tmp_path / "numbers.svg").stat().st_size > 1000


@own
def test_it_trains_and_is_traced_packed_and_loaded(name, tmp_path):
    """A model trained in it is better than chance, has only its numbers, and comes back from its codes to the bit."""
    lp.manual_seed(0)
    fmt, (train, test) = OWN[name], lp.data.load("digits")
    model = lp.models.mlp(64, hidden=(32,))
    nn.lower(model, name)
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9, precision=lp.Precision(weight=fmt, gradient=fmt))
    with lp.trace(model, optimizer) as trace:
        lp.fit(model, lp.data.DataLoader(train, 64, shuffle=True), optimizer=optimizer, epochs=2, progress=False)
    assert trace.stats["optimizer", "weight"].count > 0 and "optimizer" in str(trace)
    assert lp.evaluate(model, lp.data.DataLoader(test, 100))["error"] < 60
    for weight in model.parameters():
        assert (fmt.quantize(weight.data) == weight.data).all()
    lp.save(tmp_path / "packed.npz", packed=fmt, model=model)
    lp.save(tmp_path / "plain.npz", model=model)
    loaded = lp.load(tmp_path / "packed.npz")["model"]
    assert all(loaded[key].tobytes() == value.tobytes() for key, value in model.state_dict().items())
    assert (tmp_path / "packed.npz").stat().st_size < 0.5 * (tmp_path / "plain.npz").stat().st_size


@pytest.mark.parametrize("precision", [*OWN, "weight=powers,activation=eighths", "Powers()", "call"])
def test_the_command_line_takes_it(precision, tmp_path, capsys, monkeypatch):
    """By its registered name, role by role, and a table as its call, unregistered."""
    monkeypatch.setattr("lpnet.picture.try_save", lambda *_: True)
    formats.register(Powers)
    call = repr(lp.Table((-2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0), "unregistered"))
    chosen = call if precision == "call" else precision
    arguments = ("train", "--model", "logistic_regression", "--epochs", "1", "--quiet", "--device", "cpu")
    assert cli.main([*arguments, "--precision", chosen, "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "config.json").read_text())["precision"] == chosen
    assert cli.main(["eval", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert cli.main(["formats", "powers"]) == 0 and "powers" in capsys.readouterr().out
