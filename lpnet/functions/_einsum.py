"""Products and sums in Einstein's notation."""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_array_module
from ..tensor import Function, Tensor


class Einsum(Function):
    # y = sum over the letters not in the output; the gradient of an operand is the einsum of gy and the others
    def __init__(self, letters: list[str], output: str) -> None:
        self.letters, self.output = letters, output

    def forward(self, *xs: Array) -> Array:
        self.xs = xs
        return get_array_module(xs[0]).einsum(f"{','.join(self.letters)}->{self.output}", *xs)

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        return tuple(self._gradient(i, gy) if needed else None for i, needed in enumerate(self.needs))

    def _gradient(self, i: int, gy: Array) -> Array:
        xp, mine = get_array_module(gy), self.letters[i]
        others = [name for k, name in enumerate(self.letters) if k != i]
        known = "".join(c for c in mine if c in self.output + "".join(others))
        xs = [x for k, x in enumerate(self.xs) if k != i]
        g = xp.einsum(f"{','.join([self.output, *others])}->{known}", gy, *xs)
        lost = tuple(a for a, c in enumerate(mine) if c not in known)  # summed up alone: every element counts once
        return xp.broadcast_to(xp.expand_dims(g, lost), self.xs[i].shape)


def einsum(subscripts: str, *xs: Any) -> Tensor:
    """Return the sum of products that `subscripts` names, such as "nik,nkj->nij"; letters left out come in order.

    Raises ValueError for an ellipsis, a letter twice in one operand, or subscripts that do not fit the tensors.
    """
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow:
        output = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    shapes = [getattr(x, "ndim", None) for x in xs]
    wrong = [name for name in inputs if len(set(name)) < len(name) or not (name.isalpha() or not name)]
    fits = len(inputs) == len(xs) and all(n in (None, len(m)) for n, m in zip(shapes, inputs, strict=True))
    if wrong or not fits:
        raise ValueError(f"einsum: {subscripts!r} does not fit tensors of {shapes} axes; letters, each once an operand")
    return Einsum(inputs, output)(*xs)
