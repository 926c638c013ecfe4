"""One table of calls of every operation, which the tests in `test_every.py` walk: a row added is a row tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lpnet import functions as F
from lpnet.random import Stream

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A call of the operation `name`: `call` takes one tensor for each of the float64 arrays `inputs`."""

    name: str
    call: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    single: bool = True  # False: made of several Functions, each of which rounds
    sums: bool = False  # an operation that moves values, but whose backward may add several gradients

    def __str__(self) -> str:
        return "-".join([self.name, *(str(x.shape).replace(" ", "") for x in self.inputs)])


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Return normal numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    """Return numbers in [0.5, 2], where log, sqrt and 1/x are smooth."""
    return np.random.default_rng([seed, *shape]).uniform(0.5, 2, shape)


def away(*shape: int, seed: int = 0) -> np.ndarray:
    """Return numbers of both signs at least 0.5 from 0, where relu and abs have their kink."""
    return positive(*shape, seed=seed) * np.sign(normal(*shape, seed=seed + 1))


def distinct(*shape: int, seed: int = 0) -> np.ndarray:
    """Return numbers at least 0.1 from each other, so that a step of the gradient check changes no maximum."""
    n = int(np.prod(shape))
    return np.random.default_rng([seed, *shape]).permutation(n).reshape(shape) * 0.1 - 0.05 * n


UNARY: dict[str, tuple[Any, Any]] = {  # operation, inputs where it is smooth
    "absolute": (F.absolute, away),
    "cos": (F.cos, normal),
    "elu": (F.elu, away),
    "expm1": (F.expm1, normal),
    "leaky_relu": (F.leaky_relu, away),
    "log1p": (F.log1p, positive),
    "silu": (F.silu, normal),
    "sin": (F.sin, normal),
    "softplus": (F.softplus, normal),
    "exp": (F.exp, normal),
    "gelu": (F.gelu, normal),
    "identity": (F.identity, normal),
    "log": (F.log, positive),
    "neg": (F.neg, normal),
    "relu": (F.relu, away),
    "sigmoid": (F.sigmoid, normal),
    "sqrt": (F.sqrt, positive),
    "tanh": (F.tanh, normal),
}
BINARY: dict[str, tuple[Any, Any]] = {
    "add": (F.add, normal),
    "div": (F.div, away),
    "mul": (F.mul, normal),
    "sub": (F.sub, normal),
}
SHAPES: list[Shape] = [(), (1,), (2, 3), (2, 1, 3), (0, 3)]
BROADCASTS: list[tuple[Shape, Shape]] = [
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((), (2, 2)),
    ((1,), (1, 1)),
    ((), ()),
    ((2, 1, 2), (3, 1)),
    ((0, 3), (3,)),
]
AXES: list[tuple[Shape, Any]] = [
    ((), None),
    ((3,), 0),
    ((2, 3), None),
    ((2, 3), -1),
    ((2, 3, 2), (0, 2)),
    ((2, 3, 2), (-1, 1)),
    ((1, 3), 0),
]


def _elementwise() -> list[Case]:
    unary = [Case(name, f, (draw(*s),)) for name, (f, draw) in UNARY.items() for s in SHAPES]
    binary = [Case(name, f, (draw(*a), draw(*b, seed=7))) for name, (f, draw) in BINARY.items() for a, b in BROADCASTS]
    powers = [Case("power", lambda x, n=n: F.power(x, n), (positive(2, 3),)) for n in (2, 3, -1, 0.5, 1, 0)]
    powers.append(Case("power", lambda x: F.power(x, 2), (np.array([0.0, -1.5]),)))
    tanh = [Case("gelu", lambda x: F.gelu(x, "tanh"), (normal(2, 3),))]
    powers += [Case("power", F.power, (positive(*a), normal(*b, seed=7))) for a, b in BROADCASTS]
    options = [
        Case("leaky_relu", lambda x: F.leaky_relu(x, 0.3), (away(2, 3),)),
        Case("elu", lambda x: F.elu(x, 0.5), (away(2, 3),)),
        Case("softplus", lambda x: F.softplus(x, 3), (normal(2, 3),)),
    ]
    between = [
        (np.array([2.3, 4.1, -3.2]), np.array([1.5, -1.7, 2.1])),
        (np.array([[2.3], [5.9]]), np.array([1.5, 2.5])),
        (np.array(2.3), np.array(1.1)),
        (np.zeros((0, 3)), np.ones(3)),
    ]  # of no whole quotient
    whole = [Case(f.__name__, f, pair) for f in (F.remainder, F.floor_divide) for pair in between]
    return unary + binary + powers + tanh + options + whole


def _pair(a: Shape, b: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays no two of whose elements are near each other."""
    both = distinct(int(np.prod(a)) + int(np.prod(b)))
    return both[: int(np.prod(a))].reshape(a), both[int(np.prod(a)) :].reshape(b)


def _selecting() -> list[Case]:
    checks = np.array([[True, False, True], [False, False, True]])
    cases = [Case(f.__name__, f, _pair(a, b)) for f in (F.maximum, F.minimum) for a, b in BROADCASTS]
    cases += [
        Case("where", lambda a, b: F.where(checks, a, b), (normal(*a), normal(*b, seed=3)))
        for a, b in (((2, 3), (2, 3)), ((3,), ()), ((1, 1), (2, 1)))
    ]
    return cases


def _reductions() -> list[Case]:
    table = {
        "sum": F.sum,
        "mean": F.mean,
        "max": F.max,
        "min": F.min,
        "var": F.var,
        "std": F.std,
        "logsumexp": F.logsumexp,
        "prod": F.prod,
    }
    return [
        Case(name, lambda x, f=f, a=axis, k=keep: f(x, a, keepdims=k), (distinct(*shape),), name not in ("var", "std"))
        for name, f in table.items()
        for shape, axis in AXES
        for keep in (False, True)
        if name != "std" or shape not in ((), (1, 3))  # a spread of 0 has no slope
    ]


def _running() -> list[Case]:
    axes = [((3,), 0), ((2, 3), 1), ((2, 3), -2)]
    cases = [Case("cumsum", lambda x, a=a: F.cumsum(x, a), (normal(*s),)) for s, a in axes]
    zeros = np.array([[0.0, 2.0, -1.0], [0.0, 0.0, 3.0]])
    return [*cases, Case("prod", lambda x: F.prod(x, 1), (zeros,))]


def _moving() -> list[Case]:
    rows = np.array([0, 2, 2, 1])
    keys = [
        1,
        -1,
        slice(None, None, -2),
        (slice(1, None), 0),
        (..., None, 1),
        rows,
        (rows, rows % 2),
        [0, 0],
        np.array([True, False, True]),
    ]
    cases = [Case("getitem", lambda x, k=k: F.getitem(x, k), (normal(3, 2),), sums=i >= 5) for i, k in enumerate(keys)]
    cases += [
        Case("split", lambda x, n=n, a=a: F.split(x, n, a)[1], (normal(3, 4),))
        for n, a in ((2, 0), ([1, 3], 1), ([2, 0, 2], -1))
    ]
    cases += [
        Case("embedding", lambda W, p=p: F.embedding(np.array([[2, 1], [1, 1]]), W, p), (normal(3, 2),), sums=True)
        for p in (None, 0)
    ]
    cases += [Case("reshape", lambda x, s=s: F.reshape(x, s), (normal(2, 6),)) for s in ((3, 4), -1, (2, -1, 1, 2), 12)]
    orders = (None, (2, 0, 1), (-1, 0, 1))
    cases += [Case("transpose", lambda x, a=a: F.transpose(x, a), (normal(2, 3, 4),)) for a in orders]
    cases += [
        Case("broadcast_to", lambda x, s=s: F.broadcast_to(x, s), (normal(*x),))
        for x, s in (((), (2,)), ((3, 1), (2, 3, 2)), ((2,), (2,)))
    ]
    cases += [
        Case("concatenate", lambda *xs, a=a: F.concatenate(xs, a), xs)
        for a, xs in (
            (0, (normal(2, 3), normal(1, 3))),
            (-1, (normal(2, 1), normal(2, 3), normal(2, 0))),
            (0, (normal(2),)),
        )
    ]
    cases += [Case("stack", lambda *xs, a=a: F.stack(xs, a), (normal(2, 3), normal(2, 3, seed=1))) for a in (0, 1, -1)]
    cases += [
        Case("pad", lambda x, w=w, v=v: F.pad(x, w, v), (normal(2, 3),))
        for w, v in ((1, 0.0), ((0, 2), 1.5), (((1, 0), (2, 3)), 0.0), (0, 0.0))
    ]
    cases += [Case("squeeze", lambda x, a=a: F.squeeze(x, a), (normal(1, 3, 1),)) for a in (None, 0, (0, -1))]
    cases += [Case("expand_dims", lambda x, a=a: F.expand_dims(x, a), (normal(2, 3),)) for a in (0, -1, (0, 2))]
    return cases


def _products() -> list[Case]:
    shapes = [
        ((2, 3), (3, 4)),
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((2, 1, 2, 3), (4, 3, 2)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
        ((2, 2, 3), (3, 2)),
        ((1, 1), (1, 1)),
        ((0, 3), (3, 2)),
    ]
    cases = [Case("matmul", F.matmul, (normal(*a), normal(*b, seed=5))) for a, b in shapes]
    letters = [
        ("ij,jk->ik", (2, 3), (3, 4)),
        ("nik,nkj", (2, 2, 3), (2, 3, 2)),
        ("ij->ji", (2, 3)),
        ("ij->", (2, 3)),
        ("i,j,k->kj", (2,), (3,), (2,)),
        ("ij,j->i", (2, 3), (3,)),
    ]
    cases += [
        Case("einsum", lambda *xs, e=e: F.einsum(e, *xs), tuple(normal(*s, seed=i) for i, s in enumerate(shapes)))
        for e, *shapes in letters
    ]
    inputs = [((4, 3), (2, 3)), ((3,), (2, 3)), ((2, 2, 3), (1, 3)), ((1, 1), (1, 1))]
    cases += [Case("linear", F.linear, (normal(*x), normal(*w, seed=5))) for x, w in inputs]
    cases += [Case("linear", F.linear, (normal(*x), normal(*w, seed=5), normal(w[0]))) for x, w in inputs]
    return cases


def _windows() -> list[Case]:
    geometries = [
        ((2, 2, 4, 5), (2, 2, 3, 2), {}),
        ((1, 2, 5, 4), (4, 1, 2, 3), {"padding": 1, "groups": 2}),
        ((2, 3, 4, 4), (3, 1, 3, 3), {"stride": 2, "padding": (1, 2), "groups": 3}),
        ((1, 1, 6, 5), (2, 1, 2, 2), {"stride": (2, 1), "dilation": (3, 2)}),
        ((2, 3, 1, 1), (2, 3, 1, 1), {}),
        ((1, 2, 4, 5), (2, 2, 2, 3), {"dilation": (1, 2), "padding": "same"}),
        ((2, 4, 5), (2, 2, 3, 2), {}),
    ]
    cases = [
        Case("conv2d", lambda x, W, b, k=k: F.conv2d(x, W, b, **k), (normal(*x), normal(*w, seed=2), normal(w[0])))
        for x, w, k in geometries
    ]
    cases.append(Case("conv2d", F.conv2d, (normal(1, 1, 3, 3), normal(1, 1, 2, 2))))
    mirrored = [
        ((2, 2, 3, 2), (2, 2, 3, 2), {}),
        ((1, 4, 3, 3), (4, 1, 2, 3), {"padding": 1, "groups": 2}),
        ((2, 3, 2, 3), (3, 2, 3, 3), {"stride": (2, 3), "padding": (1, 2), "output_padding": 1, "groups": 3}),
        ((1, 1, 3, 3), (1, 2, 2, 2), {"dilation": (3, 2)}),
        ((1, 3, 3), (1, 2, 2, 2), {}),
    ]
    cases += [
        Case(
            "conv_transpose2d",
            lambda x, W, b, k=k: F.conv_transpose2d(x, W, b, **k),
            (normal(*x), normal(*w, seed=2), normal(w[1] * k.get("groups", 1))),
        )
        for x, w, k in mirrored
    ]
    cases.append(Case("conv_transpose2d", F.conv_transpose2d, (normal(1, 1, 2, 2), normal(1, 1, 2, 2))))
    pools = [
        ((2, 2, 4, 4), 2, None, 0),
        ((1, 2, 5, 4), (3, 2), (2, 1), (1, 0)),
        ((1, 1, 3, 3), 3, 1, 1),
        ((2, 1, 1, 1), 1, 1, 0),
    ]
    cases += _rows()
    cases += [
        Case("max_pool2d", lambda x: F.max_pool2d(x, 2, 1, 1, 2), (distinct(1, 2, 4, 5),), sums=True),
        Case("max_pool2d", lambda x: F.max_pool2d(x, 2, ceil_mode=True), (distinct(2, 5, 3),)),
        Case("avg_pool2d", lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), (normal(1, 2, 4, 5),)),
        Case("avg_pool2d", lambda x: F.avg_pool2d(x, (3, 2), ceil_mode=True), (normal(2, 4, 5),)),
        Case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (normal(2, 2, 5, 4),)),
        Case("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 1), (normal(2, 3, 4),)),
    ]
    for f, draw in ((F.max_pool2d, distinct), (F.avg_pool2d, normal)):
        cases += [
            Case(f.__name__, lambda x, f=f, g=g: f(x, *g), (draw(*shape),), sums=i in (1, 2))
            for i, (shape, *g) in enumerate(pools)
        ]
    return cases


def _rows() -> list[Case]:
    geometries: list[tuple[Shape, Shape, dict[str, Any]]] = [
        ((2, 2, 5), (3, 2, 2), {"stride": 2, "padding": 1}),
        ((1, 4, 6), (4, 2, 3), {"dilation": 2, "groups": 2, "padding": "same"}),
        ((2, 4), (1, 2, 2), {"padding": "valid"}),
    ]
    cases = [
        Case("conv1d", lambda x, W, b, k=k: F.conv1d(x, W, b, **k), (normal(*x), normal(*w, seed=2), normal(w[0])))
        for x, w, k in geometries
    ]
    cases.append(Case("conv1d", lambda x, W: F.conv1d(x, W, padding="same"), (normal(1, 2, 4), normal(2, 2, 2))))
    return cases


def _norms() -> list[Case]:
    shapes = [(4, 3), (2, 3, 2, 2), (3, 2, 4), (2, 1)]
    cases = [Case("batch_norm", F.batch_norm, (normal(*s), away(s[1]), normal(s[1]))) for s in shapes]
    cases += [
        Case(
            "batch_norm",
            lambda x, w, b: F.batch_norm(x, w, b, np.full(3, 0.5), np.full(3, 2.0)),
            (normal(*s), away(3), normal(3)),
        )
        for s in ((2, 3, 2, 1), (1, 3))
    ]
    cases.append(Case("batch_norm", F.batch_norm, (normal(4, 3),)))
    cases.append(Case("batch_norm", F.batch_norm, (normal(4, 3), away(3))))
    cases += [Case("group_norm", lambda x, *p, g=g: F.group_norm(x, g, *p), (normal(*s), *p)) for s, g, p in _grouped()]
    layer = [((4, 3), (3,)), ((2, 3, 4), (3, 4)), ((5,), (5,)), ((2, 2, 2, 3), (3,))]
    return cases + [Case("layer_norm", F.layer_norm, (normal(*s), away(*w), normal(*w))) for s, w in layer]


def _grouped() -> list[tuple[Shape, int, tuple[np.ndarray, ...]]]:
    return [((2, 4, 3), 2, (away(4), normal(4))), ((2, 3, 2, 2), 1, (away(3), normal(3))), ((1, 6), 3, ())]


def _softmaxes() -> list[Case]:
    axes = [((3,), 0), ((2, 3), -1), ((2, 3, 2), 1), ((2, 1), 1)]
    both = (F.softmax, F.log_softmax)
    return [Case(f.__name__, lambda x, f=f, a=a: f(x, axis=a), (normal(*s),)) for f in both for s, a in axes]


def _losses() -> list[Case]:
    labels = np.array([2, 0, 0, 1])
    cases = [Case("cross_entropy", lambda x, n=n: F.cross_entropy(x, labels[:n]), (normal(n, 3),)) for n in (1, 4)]
    options = [
        {"weight": [0.5, 1, 2]},
        {"ignore_index": 0},
        {"label_smoothing": 0.2},
        {"reduction": "sum"},
        {"weight": np.array([0.5, 1, 2]), "label_smoothing": 0.1, "reduction": "none", "ignore_index": 1},
    ]
    cases += [Case("cross_entropy", lambda x, o=o: F.cross_entropy(x, labels, **o), (normal(4, 3),)) for o in options]
    cases.append(Case("cross_entropy", lambda x: F.cross_entropy(x, labels.reshape(1, 2, 2)), (normal(1, 3, 2, 2),)))
    for o in ({}, {"weight": [0.5, 1, 2], "label_smoothing": 0.1, "reduction": "none"}):
        cases.append(
            Case("cross_entropy", lambda x, t, o=o: F.cross_entropy(x, t, **o), (normal(4, 3), positive(4, 3)))
        )
    pairs = [(normal(*s), normal(*s, seed=1)) for s in ((), (3,), (2, 1, 3))]
    return cases + [
        Case(f.__name__, lambda x, t, f=f, r=r: f(x, t, r), pair)
        for f in (F.mse_loss, F.l1_loss)
        for pair in pairs
        for r in ("mean", "sum", "none")
    ]


def _dropouts() -> list[Case]:
    return [Case("dropout", lambda x, p=p: F.dropout(x, p, Stream(1)), (normal(4, 5),)) for p in (0.0, 0.3, 0.9)]


CASES = [
    *_elementwise(),
    *_selecting(),
    *_reductions(),
    *_running(),
    *_moving(),
    *_products(),
    *_windows(),
    *_norms(),
    *_softmaxes(),
    *_losses(),
    *_dropouts(),
]
