"""The product point: every product of a layer gets its operands here, and here its terms are added up."""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_array_module
from ..kernels import kernel, windows
from ..kernels.geometry import ConvGeometry
from ..tensor import Function, grad_enabled


class Product(Function):
    """An operation of matrix products or convolutions, whose operands and sums are as `Precision.products` says."""

    def operand(self, name: str, x: Array, axis: int, groups: int = 1) -> Array:
        """Return the operand of this name, made from x, for a product that sums over `axis`, in `groups` apart."""
        products = self.precision.products
        return x if products is None else products.operand(name, x, axis, groups, self._memory)

    @property
    def _memory(self) -> dict[Any, Any]:
        return vars(self).setdefault("memory", {"learn": grad_enabled()})

    def kept(self, x: Array, W: Array, made: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return what the backward products are made from: x and W, or the operands that were `made` of them."""
        products = self.precision.products
        return made if products is not None and products.reuse else (x, W)

    def back(self, name: str, g: Array, axis: int, groups: int = 1) -> Array:
        """Return the gradient g of a forward operand as that of what it was made from."""
        products = self.precision.products
        return g if products is None else products.back(name, g, axis, groups, self._memory)

    def matmul(self, a: Array, b: Array) -> Array:
        """Return a @ b."""
        return self._matmul(a)(a, b)

    def _matmul(self, like: Array) -> Any:
        accumulate = self._accumulate
        return kernel("matmul", get_array_module(like)) if accumulate is None else accumulate.matmul

    @property
    def _accumulate(self) -> Any:
        products = self.precision.products
        return None if products is None else products.accumulate

    def conv2d(self, geometry: ConvGeometry, x: Array, W: Array, *b: Array) -> Array:
        """Return the cross-correlation of x and W, plus b."""
        if self._accumulate is None:
            return kernel("conv2d", get_array_module(x))(geometry, x, W, *b)
        y = windows.conv2d(self._accumulate.matmul, geometry, x, W)
        return y + b[0][:, None, None] if b else y

    def conv2d_input(self, geometry: ConvGeometry, gy: Array, W: Array) -> Array:
        """Return what a convolution gives back to its input for errors gy."""
        if self._accumulate is None:
            return kernel("conv2d_backward", get_array_module(gy))(geometry, gy, W=W)[0]
        return windows.conv2d_input(self._accumulate.matmul, geometry, gy, W)

    def conv2d_weight(self, geometry: ConvGeometry, gy: Array, x: Array) -> Array:
        """Return the gradient of a convolution's weight for errors gy of inputs x."""
        if self._accumulate is None:
            return kernel("conv2d_backward", get_array_module(gy))(geometry, gy, x=x)[1]
        return windows.conv2d_weight(self._accumulate.matmul, geometry, gy, x)
