"""The guides' code runs and prints what they say; the reference has every public name."""

import importlib
import inspect
import os
import pathlib
import re
import subprocess
import sys
import types

import pytest

import lpnet as lp

DOCS = pathlib.Path(__file__).parent.parent / "docs"
ELSEWHERE = {"qpytorch.md", "files.md"}  # need names from a test of their own: tests/interop
GUIDES = [path for path in sorted(DOCS.glob("guides/*.md")) if path.name not in ELSEWHERE]
BLOCK = re.compile(
    r"^```(?:python|\{plot\})\n(?:^:.*\n)*(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
HEAD = "import numpy as np\nimport matplotlib.pyplot as plt\n"  # what docs/conf.py gives pictures, too
MARK = "\x1e"  # between the outputs of blocks
PACKAGES = [
    lp.recipes,
    lp.formats,
    lp.functions,
    lp.nn,
    lp.optim,
    lp.data,
    lp.models,
    lp.training,
    lp.sweeps,
    lp.distributed,
]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_a_guide_prints_what_it_says(path, tmp_path):
    """The blocks of code run in order, as one program in an empty folder, and print the text below each."""
    codes, texts = zip(*BLOCK.findall(path.read_text()), strict=True) if "```python" in path.read_text() else ((), ())
    for name in re.findall(r"^(?:import|from) (\w+)", "".join(codes), re.MULTILINE):
        pytest.importorskip(name)
    program = tmp_path / "guide.py"
    program.write_text(HEAD + "".join(f"{code}\nprint({MARK!r})\n" for code in codes))
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(DOCS.parent), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for printed, text in zip(done.stdout.split(f"{MARK}\n"), [*texts, ""], strict=True):
        assert len(printed.splitlines()) == len(text.splitlines()), printed
        for line, told in zip(printed.splitlines(), text.splitlines(), strict=True):
            assert line == told or ("%" in told and near(line, told)), printed


def near(line, told):
    """Whether a line of statistics says the same: the last bit of a sum differs from processor to processor."""
    shares, others = (re.findall(r"([\d.]+) %", text) for text in (line, told))
    return line.split()[0] == told.split()[0] and [float(x) for x in shares] == pytest.approx(
        [float(x) for x in others], abs=0.5
    )


def names_of(module):
    """Return {dotted name: object} of what a module says is public."""
    return {f"{module.__name__}.{name}": getattr(module, name) for name in module.__all__ if name[0] != "_"}


def listed():
    """Return the dotted names that the pages of the reference have."""
    pages = "".join(path.read_text() for path in DOCS.glob("reference/*.rst"))
    entries = re.findall(r"^(?:   |.. py:data:: lpnet\.)([\w.]+)$", pages, re.MULTILINE)
    return {f"lpnet.{name}" for name in entries}, set(re.findall(r"automodule:: ([\w.]+)", pages))


def find(name):
    """Return the object of a dotted name."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def test_the_reference_has_every_public_name():
    """Each public object has one entry, by a name that its users write; a package has a heading."""
    entries, headings = listed()
    public = {name: value for module in (lp, *PACKAGES) for name, value in names_of(module).items()}
    modules = {value.__name__ for value in public.values() if isinstance(value, types.ModuleType)}
    assert headings >= modules
    documented = [find(name) for name in entries]
    assert [n for n, v in public.items() if v not in documented and not isinstance(v, types.ModuleType)] == []
    assert all(documented.count(value) == 1 for value in documented)
    packages = {getattr(lp, name) for name in lp.__all__ if hasattr(getattr(lp, name), "__all__")}
    assert packages <= {*PACKAGES, lp.backend, lp.kernels}  # these two have what `lp` itself makes public


def test_every_public_name_says_what_it_is():
    """Functions, classes and their methods have docstrings, which the reference shows."""
    for name in listed()[0]:
        value = find(name)
        members = inspect.getmembers(value, inspect.isfunction) if isinstance(value, type) else []
        assert value.__doc__ and [n for n, member in members if n[0] != "_" and not inspect.getdoc(member)] == [], name


def test_the_solutions_page_has_all():
    """A page of the site shows the solution of each chapter."""
    shown = re.findall(r"literalinclude:: (\S+)\n.*\n   :name: solution-(\d\d)", (DOCS / "solutions.rst").read_text())
    paths = sorted(DOCS.parent.glob("examples/solutions/[0-9]*.py"))
    assert [(DOCS / path).resolve() for path, _ in shown] == [path.resolve() for path in paths]
    assert [number for _, number in shown] == [path.name[:2] for path in paths]
