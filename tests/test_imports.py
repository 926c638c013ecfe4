"""The order of the package, read from its syntax trees: imports go one way, and few packages are needed."""

import ast
import graphlib
import importlib
import sys
import types
from pathlib import Path

import pytest

import lpnet
from lpnet import models, reproduce

# Each may import from those before it only. `lpnet` itself gathers the public names from all.
ORDER = [
    "version",
    "registry",
    "validate",
    "files",
    "progress",
    "picture",
    "backend",
    "replay",
    "distributed",
    "random",
    "tables",
    "sweeps",
    "rounding",
    "formats",
    "_explain",
    "kernels",
    "accumulator",
    "pertensor",
    "products",
    "precision",
    "operators",
    "_sweep",
    "tensor",
    "_twice",
    "recipes",
    "functions",
    "_gradcheck",
    "checkpoint",
    "nn",
    "optim",
    "data",
    "_trace",
    "_watch",
    "_summary",
    "training",
    "models",
    "interop",
    "classifier",
    "plots",
    "reproduce",
    "lab",
    "cli",
    "__main__",
]
NEEDED = {"numpy", "threadpoolctl"}  # all else is imported where it is used, and may be missing
LAB = {"lpnet.lab.": {"lpnet"}, "lpnet.lab.page.": {"nicegui", "fastapi", "uvicorn"}}  # a program, not the library
FOLDERS = {
    "lpnet": Path(lpnet.__file__).parent,
    "lpnet.models": Path(models.__file__).parent,
    "lpnet.reproduce": Path(reproduce.__file__).parent,
}


def modules():
    """Return {dotted name: syntax tree} of the package."""
    found = {}
    for name, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            dotted = ".".join([name, *(p for p in parts if p != "__init__")])
            found[dotted] = ast.parse(file.read_text(encoding="utf-8"))
            found[dotted].is_package = file.name == "__init__.py"
    return found


TREES = modules()


def imported(name, nodes=None):
    """Yield the modules of the package that module `name` imports, anywhere in it or among `nodes`, but for types."""
    only_types = {
        id(node)
        for block in ast.walk(TREES[name])
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(TREES[name]) if nodes is None else nodes:
        if id(node) in only_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            package = name.split(".") if TREES[name].is_package else name.split(".")[:-1]
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in TREES else base


def layer(name):
    """Return the place of a module in ORDER, by its first name inside the package."""
    return ORDER.index(name.split(".")[1])


INNER = [name for name in TREES if name != "lpnet"]


def test_every_module_has_a_place():
    """A new module is given its place in the order."""
    assert {name.split(".")[1] for name in INNER} <= set(ORDER)


@pytest.mark.parametrize("name", INNER)
def test_imports_go_one_way(name):
    """A module imports only from its own package and from those before it in the order."""
    for other in imported(name):
        assert other != "lpnet" and layer(other) <= layer(name), f"{name} imports {other}"


def test_no_cycles_within_a_package():
    """Files can be loaded in some order in which each needs only those before it."""
    graph = {name: {other for other in imported(name, TREES[name].body) if other != name} for name in INNER}
    for package in {name for name in INNER if TREES[name].is_package}:  # its __init__ gathers its files' names
        for name in graph:
            if name.startswith(f"{package}."):
                graph[name].discard(package)
    assert list(graphlib.TopologicalSorter(graph).static_order())


def absolute(nodes):
    """Yield the top-level names of absolute imports among `nodes`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("name", TREES)
def test_numpy_is_enough(name):
    """What is imported at the top of a file is Python's, NumPy or threadpoolctl; the lab asks for lpnet by its name."""
    also = set().union(*(names for inside, names in LAB.items() if name.startswith(inside)))
    assert set(absolute(TREES[name].body)) <= sys.stdlib_module_names | NEEDED | also


@pytest.mark.parametrize("name", [name for name in TREES if name != "lpnet.backend.cuda"])
def test_only_one_file_imports_cupy(name):
    """No other file imports cupy, by statement or by name."""
    calls = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]
    by_name = [
        arg.value
        for call in calls
        for arg in call.args[:1]
        if isinstance(arg, ast.Constant) and ast.unparse(call.func).endswith(("import_module", "__import__"))
    ]
    assert "cupy" not in {*absolute(ast.walk(TREES[name])), *by_name}


OUTSIDE = [name for name in TREES if not name.startswith(("lpnet.backend", "lpnet.kernels", "lpnet.tensor"))]


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_device_is_asked_for_in_one_place(name):
    """Which module an array is of, NumPy or CuPy, is asked by `kernels.kernel` and backend alone.

    Besides them by tensor, where data of any kind become arrays.
    """
    compared = [ast.unparse(node) for node in ast.walk(TREES[name]) if isinstance(node, ast.Compare)]
    assert not [test for test in compared if test.endswith((" is np", " is not np", " == np", " != np"))]
    assert not name.endswith("_cuda")


def test_all_lists_what_there_is():
    """Every public name exists, and is listed once."""
    for package in (lpnet, lpnet.functions, lpnet.nn, lpnet.optim, lpnet.data, lpnet.formats, lpnet.models):
        assert len(set(package.__all__)) == len(package.__all__)
        assert all(hasattr(package, name) for name in package.__all__)


@pytest.mark.parametrize("name", [name for name in TREES if TREES[name].is_package])
def test_no_name_hides_a_module(name):
    """What `lpnet.x` gives is the module x wherever there is one: a function of that name would hide it."""
    package = importlib.import_module(name)
    for inner in TREES:
        parent, _, short = inner.rpartition(".")
        if parent == name and hasattr(package, short):
            assert isinstance(getattr(package, short), types.ModuleType), f"{inner} is hidden"
