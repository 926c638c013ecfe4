"""A graph of ONNX while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..libraries import library

Shape = tuple[int, ...]


class Graph:
    """Nodes and constants, and the lowest opset that has all of them. Values go by name.

    Parameters: batch, the length of the first axis where any will do for the model that is written, else None.
    """

    def __init__(self, batch: int | None) -> None:
        self.onnx, self.batch = library("onnx"), batch
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.opset = 21  # of the first with blocks and 16 bits

    def kind(self, name: str) -> int:
        """Return the number of a type of ONNX."""
        number: int = self.onnx.TensorProto.DataType.Value(name)
        return number

    def node(self, op: str, *inputs: str, opset: int = 0, **attributes: Any) -> str:
        """Write a node; return the name of its result."""
        self.opset = max(self.opset, opset)
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32, name: str = "") -> str:
        """Write an array; return its name."""
        array = np.asarray(value, dtype)
        return self.stored(name, self.onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.tobytes())

    def stored(self, name: str, kind: int, shape: Shape, content: bytes) -> str:
        """Write an array of a type by the bytes of its numbers; return its name."""
        name = name or f"constant_{len(self.constants)}"
        self.constants[name] = self.onnx.helper.make_tensor(name, kind, shape, content, raw=True)
        return name

    def cast(self, x: str, kind: str, opset: int = 0, **attributes: Any) -> str:
        """Write a conversion to a type; return the name of its result."""
        return self.node("Cast", x, opset=opset, to=self.kind(kind), **attributes)

    def reduce(self, op: str, x: str, axes: Sequence[int] | None = None, keepdims: bool = False) -> str:
        """Write a sum or an extreme along axes (None: all); return the name of its result."""
        over = () if axes is None else (self.constant(axes, np.int64),)
        return self.node(op, x, *over, keepdims=int(keepdims))

    def lengths(self, shape: Sequence[int], given: Shape) -> str:
        """Write the shape that an array of shape `given` is brought into; one length may be -1.

        Where any batch will do, the first length is that of whatever comes. Raises ValueError where that is mixed with
        others.
        """
        new = list(shape)
        if self.batch is not None and given[:1] == (self.batch,):
            if new[:1] == [self.batch]:
                new[0] = 0  # as it is
            elif -1 not in new:
                raise ValueError(
                    f"export: a reshape to {tuple(shape)} mixes the batch with other axes: write -1 for "
                    "the length that it is in, or give N in input_shape, not None"
                )
        return self.constant(new, np.int64)
