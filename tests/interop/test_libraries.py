"""Libraries that are missing: a sentence says which and how to get it, before anything is written."""

import importlib
import sys

import pytest

import lpnet as lp

CALLS = {
    "safetensors": lambda path: module("safetensors").save(path / "f", lp.nn.Linear(2, 2)),
    "onnx": lambda path: module("onnx").export(lp.nn.Linear(2, 2), path / "f", (1, 2)),
    "tensorboardX": lambda path: module("tensorboard").Writer(path / "f"),
}


def module(name):
    return importlib.import_module(f"lpnet.interop.{name}")


@pytest.mark.parametrize("name", CALLS)
def test_the_extra_is_named(name, tmp_path, monkeypatch):
    """The library is imported where it is used, and its absence is a sentence."""
    for loaded in [m for m in sys.modules if m.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{name} is needed here: pip install 'lpnet\[interop\]'"):
        CALLS[name](tmp_path)
    assert not list(tmp_path.iterdir())


def test_torch_is_named(monkeypatch):
    """The module about PyTorch says that it needs it."""
    monkeypatch.delitem(sys.modules, "lpnet.interop.torch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="needs PyTorch"):
        module("torch")
