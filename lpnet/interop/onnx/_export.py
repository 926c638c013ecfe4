"""A model in evaluation as an ONNX file: run once, and what it ran written down."""

from __future__ import annotations

import contextlib
import graphlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import random
from ..._sweep import Place
from ...checkpoint import encode_exactly, readable_format
from ...files import atomic_write
from ...formats import Format
from ...nn import Module
from ...precision import Precision, Quantizer
from ...tensor import Function, Tensor
from ...version import __version__
from . import formats
from .graph import Graph, Shape
from .operators import WRITERS, no_counterpart

_TRACED = 2  # samples that a model of any batch is run with


def export(
    model: Module, path: str | os.PathLike[str], input_shape: tuple[int | None, ...], packed: Format | str | None = None
) -> None:
    """Write what `model` computes in evaluation, its rounding included, to an ONNX file with one input and one output.

    Parameters: input_shape, that of a batch, (N, C, H, W); None as N stands for any. packed, a format or its name:
    parameters whose numbers all are numbers of it are stored in its codes, behind a DequantizeLinear.

    The file computes what the model does to the bit, sums aside, whose order is up to who runs it. Raises ValueError
    for what ONNX cannot say: a format without a type there (`lpnet.interop.onnx.formats` lists them), rounding other
    than to nearest, an operation without a counterpart; ImportError where onnx is missing.
    """
    batch = _TRACED if input_shape[:1] == (None,) else None
    graph, fmt = Graph(batch), None if packed is None else readable_format(packed)
    if fmt is not None:
        formats.stored(Graph(None), "", fmt.encode(np.zeros((2, 2), np.float32)))  # raises where there is no type
    x, y = _traced(model, tuple(n or _TRACED for n in input_shape))
    names, parameters = {id(x): "input"}, {id(p): name for name, p in model.named_parameters()}
    root = y.node or y
    for place in _in_order(root):
        if id(place) in names:
            continue
        if isinstance(place, Tensor):
            names[id(place)] = _constant(graph, parameters.get(id(place), ""), place, fmt)
        else:
            inputs = [names[id(x)] for x in _inputs(place)]
            names[id(place)] = _written(graph, place.creator, inputs, place.shape)
    graph.node("Identity", names[id(root)])
    _save(graph, path, x, y)


@contextlib.contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Have the model in evaluation mode, drawing from no training stream; the modes come back."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with random.fork_rng():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _traced(model: Module, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return an input and the output, which remembers what made it."""
    if wrong := [name for name, p in model.named_parameters() if p.dtype != np.float32]:
        raise ValueError(f"export: {wrong[0]!r} is not float32; convert a copy with model.astype")
    x = Tensor(np.ones(shape, np.float32), requires_grad=True)
    with _evaluating(model), np.errstate(all="ignore"):
        return x, model(x)


def _in_order(root: Place) -> Iterator[Place]:
    """Yield the places in the graph that `root` is made of, each after those it was made from, and `root` itself."""
    places, sorter, waiting = {id(root): root}, graphlib.TopologicalSorter[int](), [root]
    while waiting:
        place = waiting.pop()
        inputs = _inputs(place)
        waiting += [x for x in inputs if id(x) not in places]
        places.update((id(x), x) for x in inputs)
        sorter.add(id(place), *map(id, inputs))
    return (places[i] for i in sorter.static_order())


def _inputs(place: Place) -> tuple[Place, ...]:
    """Return what a place was made from: tensors that a gradient could go to, and an embedding's indices."""
    creator = place.creator
    index = getattr(creator, "index", None)
    return () if creator is None else (*creator.inputs, *([] if index is None else [index]))


def _constant(graph: Graph, name: str, tensor: Tensor, fmt: Format | None) -> str:
    array = tensor.numpy()
    encoded = encode_exactly(array, fmt) if name else None
    return graph.constant(array, name=name) if encoded is None else formats.stored(graph, name, encoded)


def _written(graph: Graph, function: Function, inputs: list[str], shape: Shape) -> str:
    """Write an operation and the rounding of its result; return its name."""
    kind = type(function)
    if kind not in WRITERS:
        raise no_counterpart(function)
    name = WRITERS[kind](graph, function, inputs, shape)
    quantizer = _quantizer(function.precision, kind.__name__)
    if quantizer is None or function.rounds is not True:
        return name
    return formats.rounded(graph, quantizer, name, shape)


def _quantizer(precision: Precision, where: str) -> Format | None:
    """Return the format that results are rounded to, None for exact."""
    quantizer = precision.activation
    if getattr(precision, "products", None) is not None:
        raise ValueError(f"export: {where} rounds the operands of its products, which is not written yet")
    if quantizer is None:
        return None
    if not isinstance(quantizer, Quantizer) or quantizer.rounding != "nearest":
        raise ValueError(
            f"export: the result of {where} is rounded by {quantizer!r}, and ONNX rounds to nearest; mark "
            "the model with lower(model, Precision.uniform(format, 'nearest')) first"
        )
    fmt: Format = quantizer.format
    return fmt


def _save(graph: Graph, path: str | os.PathLike[str], x: Tensor, y: Tensor) -> None:
    helper = graph.onnx.helper
    graph.nodes[-1].output[0] = "output"
    ends = [
        helper.make_tensor_value_info(name, graph.kind("FLOAT"), _lengths(graph, tensor))
        for name, tensor in (("input", x), ("output", y))
    ]
    written = helper.make_graph(graph.nodes, "model", ends[:1], ends[1:], list(graph.constants.values()))
    opset = helper.make_opsetid("", graph.opset)
    ir = helper.find_min_ir_version_for([opset])
    made = helper.make_model(
        written, producer_name="lpnet", producer_version=__version__, opset_imports=[opset], ir_version=ir
    )
    graph.onnx.checker.check_model(made)
    with atomic_write(path) as file:
        file.write(made.SerializeToString())


def _lengths(graph: Graph, tensor: Tensor) -> list[Any]:
    return ["N", *tensor.shape[1:]] if graph.batch is not None else list(tensor.shape)
