"""Formats by name: what `format` reads, what `str` prints, and what an unknown name is told."""

import importlib

import pytest

from lpnet import formats
from lpnet.formats import BlockFloatingPoint, BlockScaled, Exponent, FixedPoint, FloatingPoint

NAMED = {
    "e5m7": FloatingPoint(5, 7),
    "fixed8.6": FixedPoint(8, 6),
    "fixed4.-2": FixedPoint(4, -2),
    "bfp8": BlockFloatingPoint(8),
    "bfp4:tensor": BlockFloatingPoint(4, axis=None),
    "bfp6:16": BlockFloatingPoint(6, axis="product", block=16),
    "bfp6:8x16": BlockFloatingPoint(6, axis="product", block=(8, 16)),
    "p3109_k6p3se": FloatingPoint(3, 2, 4, None, "extended"),
    "nvfp4:16x16:4/6": BlockScaled(
        formats.format("e2m1"), formats.format("e4m3"), (16, 16), tensor=True, scaling="four_over_six"
    ),
    "mxfp4_e2m1:4/3": BlockScaled(formats.format("e2m1"), Exponent(8), 32, factor=4 / 3),
    "mxfp8_e4m3:ceil": BlockScaled(formats.format("e4m3"), Exponent(8), 32, scaling="ceil"),
    "e4m3:128x128": BlockScaled(formats.format("e4m3"), formats.format("fp32"), (128, 128)),
    "dynamic8:256": BlockScaled(formats.format("dynamic8"), formats.format("fp32"), 256),
    "mxint8": BlockScaled(FixedPoint(8, 6, symmetric=True), Exponent(8), 32),
    "nvfp4": BlockScaled(FloatingPoint(2, 1, specials="none"), FloatingPoint(4, 3, specials="nan"), 16, tensor=True),
}


@pytest.mark.parametrize("name", NAMED)
def test_names_are_read_and_printed(name):
    """A name gives a format whose `str` is that name; equal formats are equal as dictionary keys."""
    fmt = formats.format(name)
    assert str(fmt) == name
    assert fmt == NAMED.get(name, fmt) and {fmt: 1}[formats.format(name)] == 1
    assert formats.format(fmt) is fmt


def test_the_names_of_the_contract():
    """All presets of the contract are there."""
    assert {
        "fp32",
        "fp16",
        "bf16",
        "tf32",
        "e4m3",
        "e5m2",
        "e3m2",
        "e2m3",
        "e2m1",
        "mxfp8_e4m3",
        "mxfp8_e5m2",
        "mxfp6_e3m2",
        "mxfp6_e2m3",
        "mxfp4_e2m1",
        "mxint8",
        "nvfp4",
    } <= set(formats.names())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("bfp", "bfp8"),
        ("e4m", "e4m3"),
        ("mxfp4_", "mxfp4_e2m1"),
        ("fixed8", "fixed8.6"),
        ("zzz", "bf16"),
        ("bfp8:4:4", "bfp8:16"),
        ("", "fp32"),
        ("FixedPoint[8]", "fp32"),
    ],
)
def test_unknown_names(name, near):
    """An unknown name is an error that tells the nearest ones, or all."""
    with pytest.raises(ValueError, match=f"unknown format {name!r}".replace("[", r"\[")) as error:
        formats.format(name)
    assert near in str(error.value)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("e0m3", "exp"),
        ("e4m60", "man"),
        ("fixed64.2", "wl"),
        ("bfp1", "wl"),
        ("bfp8:0", "block"),
        ("fixed8.200", "fl"),
        ("FixedPoint(0, 3)", "wl"),
    ],
)
def test_names_with_numbers_out_of_range(name, argument):
    """A number in a name that makes no format is an error that names the argument."""
    with pytest.raises(ValueError, match=f": {argument} must be"):
        formats.format(name)


@pytest.mark.parametrize("name", [8, None, 1.5, ["bfp8"]])
def test_no_name_at_all(name):
    """What is neither name nor format is a TypeError."""
    with pytest.raises(TypeError, match="expected a Format or the name of one"):
        formats.format(name)


def test_calls_evaluate_nothing_else():
    """Text that looks like a call of a format runs no code."""
    for text in ("FixedPoint(int(8), 3)", "FixedPoint(8, 6).clip", "FixedPoint(8", "FixedPoint(2*4, 0)"):
        with pytest.raises(ValueError):
            formats.format(text)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("E4M3", "e4m3"),
        ("float16", "fp16"),
        ("half", "fp16"),
        ("bfloat16", "bf16"),
        ("float32", "fp32"),
        ("int8", "fixed8.0"),
        ("mxfp4", "mxfp4_e2m1"),
        ("float8_e4m3fn", "e4m3"),
        ("float8_e5m2", "e5m2"),
        ("BFP8:16", "bfp8:16"),
        ("MXFP8_E4M3", "mxfp8_e4m3"),
    ],
)
def test_usual_names_are_understood(alias, name):
    """Other libraries' names, and capitals, mean the format of the contract's name."""
    assert str(formats.format(alias)) == name


@pytest.mark.parametrize(("name", "which"), [("fp8", "e4m3 or e5m2"), ("MXFP6", "mxfp6_e3m2 or mxfp6_e2m3")])
def test_a_name_of_two_formats_asks_which(name, which):
    """What may be two formats is refused with both."""
    with pytest.raises(ValueError, match=f"{name!r} may be {which}: say which"):
        formats.format(name)


class Halves(formats.Format):
    """A user's format without a text of its own."""

    def __init__(self, step=0.5):
        self.step = step


@pytest.fixture
def _registry(monkeypatch):
    module = importlib.import_module("lpnet.formats._names")
    monkeypatch.setattr(module, "_CLASSES", dict(module._CLASSES))
    before = dict(module.REGISTERED)
    yield
    module.REGISTERED.clear()
    module.REGISTERED.update(before)


@pytest.mark.usefixtures("_registry")
def test_a_registered_format_is_read_back():
    """By its name, by its text, and a class by any call; `names` lists it."""
    assert formats.register(Halves, "halves") is Halves
    assert "halves" in formats.names() and str(Halves()) == "halves" and formats.format("halves") == Halves()
    assert str(Halves(0.25)) == "Halves(step=0.25)" and formats.format(str(Halves(0.25))) == Halves(0.25)
    table = formats.register(formats.Table((-1, 0, 2), "odd"))
    assert str(table) == "odd" and formats.format("odd") == table
    formats.register(FixedPoint(8, 6, symmetric=True), "q6")
    assert formats.format("q6") == FixedPoint(8, 6, symmetric=True)
    formats.register(Halves(), "halves")  # a second time is no error


@pytest.mark.usefixtures("_registry")
@pytest.mark.parametrize("name", ["bfp8", "E4M3", "fp8", "half", "", "two words", 3])
def test_names_that_cannot_be_registered(name):
    """A name that means something already, or cannot be one, is refused."""
    with pytest.raises(ValueError, match="register: "):
        formats.register(Halves(), name)
    formats.register(Halves(), "mine")
    with pytest.raises(ValueError, match="register: 'mine' is the name of Halves"):
        formats.register(FixedPoint(8, 6), "mine")
    with pytest.raises(ValueError, match="register: 'mine' is the name of Halves"):
        formats.register(Halves(0.25), "mine")
    with pytest.raises(TypeError, match="expected a Format"):
        formats.register("bfp8", "mine")
