"""What a network is made of: layer by layer its output, its parameters, what is rounded to what, and what it costs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import random, tables
from .backend import to_device
from .formats import Format
from .nn import Conv1d, Conv2d, ConvTranspose2d, Linear, Module
from .nn.module import forward_hooks
from .optim import Optimizer
from .optim.optimizer import stored_bytes
from .tensor import Parameter, Tensor, no_grad
from .validate import integer

HEAD = ["layer", "output", "parameters", "weights", "output in", "bytes", "products"]


@dataclasses.dataclass
class Row:
    """One layer: `multiplications` and `shape` are for one input."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    weights: str  # the format of its parameters, "float" where none rounds them
    activation: str  # the format of its output, empty where it is not rounded
    nbytes: int  # of its parameters as they would be stored
    multiplications: int

    def cells(self, kind: bool = True) -> list[str]:
        """Return the row of the table, the layer's kind behind its name or not."""
        count = f"{self.parameters:,}" if self.parameters else "-"
        return [
            f"{self.name} {self.kind}".strip() if kind or not self.name else self.name,
            "x".join(map(str, self.shape)) or "1",
            count,
            self.weights if self.parameters else "-",
            self.activation or "float",
            f"{self.nbytes:,}" if self.parameters else "-",
            _short(self.multiplications),
        ]


@dataclasses.dataclass(repr=False)
class Summary:
    """The layers of a network; `print` it for a table."""

    rows: list[Row]

    @property
    def parameters(self) -> int:
        """Trainable numbers in all."""
        return sum(row.parameters for row in self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all parameters as stored."""
        return sum(row.nbytes for row in self.rows)

    @property
    def multiplications(self) -> int:
        """Multiplications of a forward pass of one input."""
        return sum(row.multiplications for row in self.rows)

    def __str__(self) -> str:
        whole = tables.text(HEAD, [row.cells() for row in self.rows], 1000)
        if max(map(len, whole.splitlines())) > tables.columns():
            whole = tables.folded(HEAD, [row.cells(kind=False) for row in self.rows])
        return f"{whole}\n{tables.fill(self._total())}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return tables.html(HEAD, [row.cells() for row in self.rows], self._total())

    def _total(self) -> str:
        stored, exact = f"{self.nbytes:,} bytes", f"{4 * self.parameters:,} in float"
        stored = stored if self.nbytes == 4 * self.parameters else f"{stored} ({exact})"
        return f"{self.parameters:,} parameters, {stored}, {_short(self.multiplications)} products an input"


def summary(model: Module, input_shape: Sequence[int], optimizer: Optimizer | None = None) -> Summary:
    """Return the layers of a model in the order in which an input of `input_shape` passes them.

    Parameters: input_shape, that of one input, (C, H, W) for images; optimizer, whose precision says how parameters are
    stored (None: in float). An evaluation of zeros tells the shapes: no number of the model changes. Raises ValueError
    for a shape that is none, or that the model does not take.
    """
    shape = tuple(integer("summary", "input_shape", n, 1) for n in input_shape)
    stored = _stored(model, optimizer)
    names = {id(module): name for name, module in model.named_modules()}
    rows: list[Row] = []
    shown: set[int] = set()  # parameters of layers that are used twice count once

    def observe(module: Module, y: Tensor) -> None:
        if id(module) in names and _shows(module):
            own = [p for p in vars(module).values() if isinstance(p, Parameter) and id(p) not in shown]
            shown.update(map(id, own))
            rows.append(_row(names[id(module)], module, y.shape[1:], [(p, stored.get(id(p))) for p in own]))

    with _evaluating(model), no_grad(), random.fork_rng():
        forward_hooks.append(observe)
        try:
            model(
                np.zeros((1, *shape), np.float32)
                if model.device == "cpu"
                else Tensor(to_device(np.zeros((1, *shape), np.float32), model.device))
            )
        finally:
            forward_hooks.remove(observe)
    return Summary(rows)


def _shows(module: Module) -> bool:
    """Return whether a module has a row: those that hold others do not, unless their own output is rounded."""
    return module.precision is not None or next((False for m in module.modules() if m is not module), True)


def _stored(model: Module, optimizer: Optimizer | None) -> dict[int, Any]:
    """Return the quantizer of each parameter, by its id."""
    if optimizer is None:
        return {}
    return {id(p): optimizer.precision_of(i).weight for i, p in enumerate(optimizer.params)}


def _row(name: str, module: Module, shape: tuple[int, ...], own: list[tuple[Parameter, Any]]) -> Row:
    used = {_format_name(quantizer) for _, quantizer in own}
    rounded = module.precision and module.precision.activation
    return Row(
        name,
        type(module).__name__,
        shape,
        sum(p.size for p, _ in own),
        "mixed" if len(used) > 1 else "".join(used),
        _format_name(rounded) if rounded else "",
        sum(stored_bytes(p.data, q) for p, q in own),
        _multiplications(module, shape),
    )


def _multiplications(module: Module, shape: tuple[int, ...]) -> int:
    """Return the products of weights of a layer whose result has this shape; scales of normalization do not count."""
    if isinstance(module, ConvTranspose2d):  # every number of the input meets all weights of its channel
        stride, padding, dilation, _ = (np.asarray(option) for option in module.geometry)
        window, more = np.array(module.weight.shape[2:]), np.asarray(module.output_padding)
        places = (np.array(shape[1:]) + 2 * padding - dilation * (window - 1) - 1 - more) // stride + 1
        return module.weight.size * math.prod(places.tolist())
    return math.prod(shape) * math.prod(module.weight.shape[1:]) if isinstance(module, Conv1d | Conv2d | Linear) else 0


def _format_name(quantizer: Any) -> str:
    if quantizer is None:
        return "float"
    return str(quantizer.format) if isinstance(getattr(quantizer, "format", None), Format) else "function"


@contextlib.contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Evaluate within this block; each module goes back to its own mode after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _short(n: int) -> str:
    """Return a count in at most five characters and its unit: 1.23 M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return str(n) if n else "-"
