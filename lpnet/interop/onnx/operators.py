"""What each of lpnet's operations is in ONNX: one writer a Function class, in the order of lpnet.functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...functions import activation, arithmetic, norm, pool, reduction, selection, shape
from ...functions._batch import OfOne
from ...functions._einsum import Einsum
from ...functions._linear import Linear, MatMul
from ...functions.conv import Conv1d, Conv2d, ConvTranspose2d
from ...kernels.geometry import ConvGeometry
from ...tensor import Function
from .graph import Graph, Shape

Writer = Callable[[Graph, Any, list[str], Shape], str]  # of the function, its inputs' names and its result's shape
WRITERS: dict[type[Function], Writer] = {}


def no_counterpart(f: Function) -> ValueError:
    """Return the error that says that ONNX does not have this operation."""
    return ValueError(f"export: {type(f).__name__} has no counterpart in ONNX that gives the same for other inputs")


def writes(*functions: type[Function]) -> Callable[[Writer], Writer]:
    """Return a decorator that makes a function the writer of these classes."""

    def add(writer: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(functions, writer))
        return writer

    return add


SAME = {  # one operator of the same inputs, without attributes
    arithmetic.Add: "Add",
    arithmetic.Sub: "Sub",
    arithmetic.Mul: "Mul",
    arithmetic.Div: "Div",
    arithmetic.Neg: "Neg",
    arithmetic.PowTensor: "Pow",
    arithmetic.Exp: "Exp",
    arithmetic.Log: "Log",
    arithmetic.Sin: "Sin",
    arithmetic.Cos: "Cos",
    arithmetic.Sqrt: "Sqrt",
    arithmetic.Abs: "Abs",
    selection.Maximum: "Max",
    selection.Minimum: "Min",
    reduction.Deviation: "Sqrt",
    activation.ReLU: "Relu",
    activation.Sigmoid: "Sigmoid",
    activation.Tanh: "Tanh",
    activation.GELU: "Gelu",
    MatMul: "MatMul",
}
REDUCE = {
    reduction.Sum: "ReduceSum",
    reduction.Mean: "ReduceMean",
    reduction.Max: "ReduceMax",
    reduction.Min: "ReduceMin",
    reduction.LogSumExp: "ReduceLogSumExp",
    reduction.Prod: "ReduceProd",
}


@writes(*SAME)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node(SAME[type(f)], *inputs)


@writes(*REDUCE)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    axes = None if f.axis is None else [int(axis) for axis in np.atleast_1d(f.axis)]
    return graph.reduce(REDUCE[type(f)], inputs[0], axes, f.keepdims)


@writes(reduction.CumSum)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("CumSum", inputs[0], graph.constant(f.axis, np.int64))


@writes(arithmetic.Pow)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("Pow", inputs[0], graph.constant(f.n))


@writes(activation.TanhGELU)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("Gelu", inputs[0], approximate="tanh")


@writes(activation.LeakyReLU)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("LeakyRelu", inputs[0], alpha=float(f.slope))


@writes(activation.ELU)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("Elu", inputs[0], alpha=float(f.alpha))


@writes(activation.SiLU)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("Mul", inputs[0], graph.node("Sigmoid", inputs[0]))


@writes(activation.Softplus)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    if f.beta == 1:
        return graph.node("Softplus", inputs[0])
    beta = graph.constant(f.beta)
    return graph.node("Div", graph.node("Softplus", graph.node("Mul", inputs[0], beta)), beta)


@writes(activation.Softmax, activation.LogSoftmax)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node(type(f).__name__, inputs[0], axis=f.axis)


@writes(Linear)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    product = graph.node("MatMul", inputs[0], graph.node("Transpose", inputs[1]))
    return graph.node("Add", product, inputs[2]) if len(inputs) == 3 else product


@writes(Einsum)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("Einsum", *inputs, equation=f"{','.join(f.letters)}->{f.output}")


@writes(Conv2d)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    behind = [p + n - m for p, n, m in zip(f.geometry.padding, f.geometry.size, f.size, strict=True)]
    return graph.node("Conv", *inputs, **_windows(f.geometry) | {"pads": [*f.geometry.padding, *behind]})


@writes(Conv1d)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    row = graph.constant([2], np.int64)
    wide = [graph.node("Unsqueeze", name, row) for name in inputs[:2]]
    result = WRITERS[Conv2d](graph, f, [*wide, *inputs[2:]], (*shape[:2], 1, *shape[2:]))
    return graph.node("Squeeze", result, row)


@writes(ConvTranspose2d)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("ConvTranspose", *inputs, output_padding=f.extra, **_windows(f.geometry))


def _windows(g: ConvGeometry) -> dict[str, Any]:
    return {"strides": g.stride, "pads": g.padding * 2, "dilations": g.dilation, "group": g.groups}


@writes(OfOne)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    first = graph.constant([0], np.int64)
    batch = [graph.node("Unsqueeze", inputs[0], first), *inputs[1:]]
    writer = WRITERS.get(type(f.operation))
    if writer is None:
        raise no_counterpart(f.operation)
    return graph.node("Squeeze", writer(graph, f.operation, batch, (1, *shape)), first)


@writes(selection.Embedding)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    weight, *given = inputs
    index = graph.cast(given[0], "INT64") if given else graph.constant(f.key, np.int64)
    return graph.node("Gather", weight, index)


@writes(norm.BatchNorm)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    if not f.given:
        raise ValueError("export: BatchNorm takes its statistics from the batch; only given ones are a constant")
    # As lpnet computes it: a factor and a term a channel. BatchNormalization would round otherwise.
    scale = f.weight * f.inverse
    shift = f.bias - f.mean * scale
    factor, term = (graph.constant(v.reshape(-1, *[1] * (len(shape) - 2))) for v in (scale, shift))  # (C,) -> (C, 1, 1)
    return graph.node("Add", graph.node("Mul", inputs[0], factor), term)


@writes(norm.LayerNorm)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("LayerNormalization", *inputs, axis=-len(f.over), epsilon=f.eps)


@writes(norm.GroupNorm)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("GroupNormalization", *inputs, num_groups=f.groups, epsilon=f.eps)


@writes(pool.MaxPool2d)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("MaxPool", *inputs, dilations=f.dilation, **_pooled(f))


@writes(pool.AvgPool2d)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("AveragePool", *inputs, count_include_pad=int(f.count_include_pad), **_pooled(f))


@writes(pool.AdaptiveAvgPool2d)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    given, out = f.shape[2:], shape[2:]
    if any(n % m for n, m in zip(given, out, strict=True)):
        raise ValueError(f"export: ONNX pools images of {given} to whole parts of them only, not to {out}")
    window = [n // m for n, m in zip(given, out, strict=True)]
    return graph.node("AveragePool", *inputs, kernel_shape=window, strides=window)


def _pooled(f: Any) -> dict[str, Any]:
    return {"kernel_shape": f.window, "strides": f.stride, "pads": f.padding * 2, "ceil_mode": int(f.ceil_mode)}


@writes(shape.Identity)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return inputs[0]


@writes(shape.Reshape)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("Reshape", inputs[0], graph.lengths(f.shape, f.x_shape))


@writes(shape.Transpose)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    axes = range(len(shape))[::-1] if f.axes is None else [axis % len(shape) for axis in f.axes]
    return graph.node("Transpose", inputs[0], perm=list(axes))


@writes(shape.Concatenate)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    return graph.node("Concat", *inputs, axis=f.axis)


@writes(shape.Stack)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    new = graph.constant([f.axis], np.int64)
    return graph.node("Concat", *(graph.node("Unsqueeze", x, new) for x in inputs), axis=f.axis)


@writes(shape.BroadcastTo)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    given = (1,) * (len(shape) - len(f.inputs[0].shape)) + f.inputs[0].shape
    if graph.batch is not None and shape[:1] == (graph.batch,) != given[:1]:
        raise ValueError(f"export: a broadcast to {shape} knows the batch's length: give N in input_shape, not None")
    kept = [1 if n == m else n for n, m in zip(shape, given, strict=True)]  # 1 stretches nothing
    return graph.node("Expand", inputs[0], graph.constant(kept, np.int64))


@writes(shape.Pad)
def _(graph: Graph, f: Any, inputs: list[str], shape: Shape) -> str:
    before_and_after = np.broadcast_to(f.width, (len(shape), 2)).T  # of each axis -> all before, all after
    return graph.node("Pad", inputs[0], graph.constant(before_and_after.ravel(), np.int64), graph.constant(f.value))
