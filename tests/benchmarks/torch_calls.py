"""What lpnet takes of PyTorch's arguments, operator by operator, by the names of PyTorch's database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lpnet as lp
import lpnet.functions as F

NUMPY = "NumPy's rule: "


class NotHere(Exception):
    """A way to call an operator that lpnet does not have, or has with another meaning; says which."""


def refuse(**given: Any) -> None:
    """Raise NotHere for an argument that is not as PyTorch has it by default."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise NotHere(f"no argument {name}")


def axes(dim: Any) -> Any:
    """Return NumPy's axis."""
    if dim == ():
        raise NotHere(NUMPY + "no axes are none of them, PyTorch takes all")
    return dim


def reduced(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reduction with PyTorch's arguments."""
    return lambda x, dim=None, keepdim=False, dtype=None: f(x, axes(dim), keepdim)


def one_axis(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return what goes along one axis with PyTorch's arguments."""
    return lambda x, dim, dtype=None: f(x, dim)


def extreme(f: Callable[..., Any], pairwise: Callable[..., Any]) -> Callable[..., Any]:
    """Return max or min: of all, along an axis (of which PyTorch gives the places, too), or of two tensors."""

    def call(x: Any, other: Any = None, keepdim: bool = False) -> Any:
        return pairwise(x, other) if isinstance(other, lp.Tensor) else f(x, other, keepdim)

    return call


def spread(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return var or std, which divide by the number of elements less `correction`."""

    def call(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, **more: Any) -> Any:
        if isinstance(dim, bool):  # the database's short form
            dim, unbiased = None, dim
        correction = more.get("correction", 0 if unbiased is False else 1)
        return f(x, axes(dim), keepdim, correction=1 if correction is None else correction)

    return call


def added(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return add or sub."""

    def call(a: Any, b: Any, alpha: Any = None) -> Any:
        refuse(alpha=alpha)
        return f(a, b)

    return call


def divided(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    """Return a / b, or that rounded down."""
    if rounding_mode == "trunc":
        raise NotHere("no rounding towards 0")
    return F.div(a, b) if rounding_mode is None else F.floor_divide(a, b)


def joined(xs: Any, dim: int = 0) -> Any:
    """Return tensors joined."""
    if len({x.ndim for x in xs}) > 1:
        raise NotHere(NUMPY + "all tensors have as many axes, an empty one, too")
    return F.concatenate(xs, dim)


def einsum(xs: Any, subscripts: str) -> Any:
    """Return einsum."""
    operands = subscripts.partition("->")[0].replace(" ", "").split(",")
    if "..." in subscripts or any(len(set(name)) < len(name) for name in operands):
        raise NotHere("einsum of letters, each once an operand")
    return F.einsum(subscripts, *xs)


def squeezed(x: Any, dim: Any = None) -> Any:
    """Return x without axes of length 1."""
    given = () if dim is None else dim if isinstance(dim, tuple) else (dim,)
    if any(x.shape[i] != 1 for i in given if x.ndim) or (not x.ndim and isinstance(dim, tuple)):
        raise NotHere(NUMPY + "an axis to squeeze out has length 1")
    return F.squeeze(x, dim)


def swapped(x: Any, i: int, j: int) -> Any:
    """Return x with two axes exchanged."""
    if not x.ndim:
        raise NotHere(NUMPY + "one number has no axes to exchange")
    return x.swapaxes(i, j)


def clamped(x: Any, low: Any = None, high: Any = None) -> Any:
    """Return x between two bounds, or within one."""
    if high is None:
        return F.maximum(x, low)
    return F.minimum(x, high) if low is None else x.clip(low, high)


def flattened(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Return all axes as one, or by `nn.Flatten` all but the first."""
    return x.flatten() if start_dim == 0 else lp.nn.Flatten()(x)


def padded(x: Any, width: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> Any:
    """Return F.pad's result for PyTorch's widths, which begin with the last axis."""
    if mode != "constant":
        raise NotHere("no padding but by a constant")
    if min(width) < 0:
        raise NotHere(NUMPY + "no width below 0, which cuts off in PyTorch")
    pairs = [*zip(width[::2], width[1::2], strict=True)]
    return F.pad(x, [*[(0, 0)] * (x.ndim - len(pairs)), *pairs[::-1]], value or 0.0)


def dropped(x: Any, p: float = 0.5, training: bool = True) -> Any:
    """Return dropout where it is no matter of chance."""
    if training and p > 0:
        raise NotHere("a matter of chance" if p < 1 else "p is below 1")
    return F.dropout(x, p) if training else lp.nn.Dropout().eval()(x)


def batch_norm(x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, training: bool = False, **more: Any):
    """Return batch_norm; the layer moves the running statistics."""
    if x.ndim < 2 or x.size == 0:
        raise NotHere("batch_norm of x (N, C, ...) with numbers in it")
    used = {} if training else {"mean": mean.data, "var": var.data}
    return F.batch_norm(x, weight, bias, **used, eps=more.get("eps", 1e-5))


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Return group_norm."""
    _check_eps(eps)
    return F.group_norm(x, groups, weight, bias, eps)


def layer_norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Return layer_norm, whose weight has the shape."""
    _check_eps(eps)
    weight, bias = (a if a is not None else f(shape) for a, f in ((weight, np.ones), (bias, np.zeros)))
    return F.layer_norm(x, weight, bias, eps)


def _check_eps(eps: float) -> None:
    if eps < 0:
        raise NotHere("eps of at least 0")


def avg_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0, *more: Any) -> Any:
    """Return avg_pool2d."""
    ceil_mode, include, divisor = (*more, *[False, True, None][len(more) :])
    refuse(divisor_override=divisor)
    return F.avg_pool2d(x, size, stride, padding, ceil_mode, include)


def conv_transpose2d(*args: Any, stride: Any = 1, output_padding: Any = 0, **options: Any) -> Any:
    """Return conv_transpose2d."""
    if np.any(np.asarray(output_padding) >= np.asarray(stride)):
        raise NotHere("output_padding below the stride")
    return F.conv_transpose2d(*args, stride=stride, output_padding=output_padding, **options)


def max_pool2d(x: Any, kernel_size: Any, return_indices: bool = False, **options: Any) -> Any:
    """Return max_pool2d."""
    refuse(return_indices=return_indices)
    return F.max_pool2d(x, kernel_size, **options)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """Return softplus, which needs no threshold above which it would be x."""
    if threshold < 20:
        raise NotHere("no threshold: softplus is exact everywhere")
    return F.softplus(x, beta)


CALLS: dict[str, Callable[..., Any]] = {  # by PyTorch's name
    **{name: getattr(F, name) for name in ("cos", "exp", "expm1", "log", "log1p", "neg", "sigmoid", "sin", "sqrt")},
    **{name: getattr(F, name) for name in ("tanh", "mul", "remainder", "floor_divide", "matmul", "maximum", "minimum")},
    **{name: getattr(F, name) for name in ("broadcast_to",)},
    **{f"nn.functional.{name}": getattr(F, name) for name in ("relu", "silu", "elu", "leaky_relu", "gelu", "linear")},
    **{f"nn.functional.{name}": getattr(F, name) for name in ("conv1d", "conv2d", "mse_loss")},
    **{f"nn.functional.{name}": getattr(F, name) for name in ("l1_loss", "adaptive_avg_pool2d", "cross_entropy")},
    **{name: getattr(lp.Tensor, name) for name in ("__getitem__", "__radd__", "__rmul__", "__rsub__", "__rpow__")},
    **{name: getattr(lp.Tensor, name) for name in ("__rmod__", "__rmatmul__", "item", "dot", "ravel", "reshape")},
    **{name: getattr(lp.Tensor, f"__{name}__") for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **dict.fromkeys(("mm", "bmm", "mv"), F.matmul),
    **{f.__name__: reduced(f) for f in (F.sum, F.mean, F.prod, F.logsumexp)},
    **{f.__name__: one_axis(f) for f in (F.softmax, F.log_softmax, F.cumsum)},
    "abs": F.absolute,
    "add": added(F.add),
    "amax": reduced(F.max),
    "amin": reduced(F.min),
    "argmax": reduced(F.argmax),
    "cat": joined,
    "clamp": clamped,
    "clone": F.identity,
    "div": divided,
    "einsum": einsum,
    "flatten": flattened,
    "max": extreme(F.max, F.maximum),
    "min": extreme(F.min, F.minimum),
    "nn.functional.avg_pool2d": avg_pool2d,
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.conv_transpose2d": conv_transpose2d,
    "nn.functional.dropout": dropped,
    "nn.functional.embedding": lambda W, index: F.embedding(index, W),
    "nn.functional.group_norm": group_norm,
    "nn.functional.layer_norm": layer_norm,
    "nn.functional.max_pool2d": max_pool2d,
    "nn.functional.pad": padded,
    "nn.functional.softplus": softplus,
    "permute": F.transpose,
    "pow": F.power,
    "rsub": added(lambda a, b: b - a),
    "split": F.split,
    "split_with_sizes": F.split,
    "stack": F.stack,
    "std": spread(F.std),
    "sub": added(F.sub),
    "t": lambda x: x.T,
    "T": lambda x: x.T,
    "squeeze": squeezed,
    "transpose": swapped,
    "true_divide": F.div,
    "unsqueeze": F.expand_dims,
    "var": spread(F.var),
    "view": lp.Tensor.reshape,
    "where": lambda a, condition, b: F.where(condition, a, b),
}
