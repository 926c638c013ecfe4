"""lpnet's formats inside PyTorch: rounding that autograd passes through, and optimizers that round as they go.

Tensors on the CPU are rounded without a copy of the input, those on a GPU by way of CuPy; half and bfloat16 in float32.
Random bits come from lpnet's streams: `lpnet.manual_seed` seeds them, `torch.manual_seed` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

try:
    import torch
except ImportError as _error:
    raise ImportError(f"lpnet.interop.torch needs PyTorch, which lpnet does not install ({_error})") from _error

from .. import random
from ..backend import through
from ..precision import Precision, PrecisionLike, as_precision

Rule = Any  # what a role of `Precision` takes: a Quantizer, a Format or its name, a function on arrays, or None
_MEAN_SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum")  # of Adam, RMSprop, Adagrad: by name


def _rounded(precision: Precision, role: str, x: torch.Tensor) -> torch.Tensor:
    """Return x as `precision` rounds it in its role, in x's dtype; x itself where that is exact."""
    if getattr(precision, role) is None:
        return x
    wide = x.detach().float() if x.dtype in (torch.float16, torch.bfloat16) else x.detach()
    result: torch.Tensor = through(wide, lambda array: precision.round(role, array), "lpnet.interop.torch")
    return result.to(x.dtype)


class _Straight(torch.autograd.Function):
    # y = x rounded as an activation,  gx = gy rounded as an error
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, precision: Precision) -> torch.Tensor:
        ctx.back = Precision(activation=precision.error)
        y = _rounded(precision, "activation", x)
        return x.view_as(x) if y is x else y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _Straight.apply(gradients[0], ctx.back), None


@torch.compiler.disable  # NumPy computes: a compiled model leaves its graph here and enters it again
def quantize(x: torch.Tensor, forward: Rule = None, backward: Rule = None) -> torch.Tensor:
    """Return x rounded to `forward`; its gradient passes straight through, rounded to `backward`.

    Both take a Quantizer, a Format or its name (which round stochastically), a function on arrays, or None for exact.
    """
    result: torch.Tensor = _Straight.apply(x, Precision(activation=forward, error=backward))
    return result


class Rounding(torch.nn.Module):
    """A layer that rounds what passes it forward, and the gradient that comes back. Parameters as for `quantize`."""

    def __init__(self, forward: Rule = None, backward: Rule = None) -> None:
        super().__init__()
        precision = Precision(activation=forward, error=backward)
        self.rules = precision.activation, precision.error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x rounded."""
        return quantize(x, *self.rules)

    def extra_repr(self) -> str:
        """Return both rules."""
        return "forward={!r}, backward={!r}".format(*self.rules)


class RoundedOptimizer(torch.optim.Optimizer):
    """An optimizer of PyTorch whose gradients, state and weights are rounded, as lpnet's own do it.

    Parameters: optimizer, one that steps without a closure, such as SGD or AdamW; precision, whose roles gradient,
    momentum, second_moment, accumulator and weight apply (a format, its name or a function stands for
    `Precision.uniform`). Making it rounds the weights, in the model. With an accumulator the weights between two steps
    are roundings of it; where other weights were put in their place meanwhile, these count.

    `state_dict()` is the optimizer's own, with an entry "lpnet": the accumulators, the default stream and those of the
    quantizers. Schedulers and GradScaler take it like any other optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, precision: PrecisionLike) -> None:
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.optimizer, self.precision = optimizer, as_precision(precision)
        self._share()
        self.accumulators: dict[torch.Tensor, torch.Tensor] = {}
        self._stored: dict[torch.Tensor, torch.Tensor] = {}  # the weights made of them; none where both were loaded
        with torch.no_grad():
            for p in self._parameters():
                self._store(p)

    def _share(self) -> None:
        """Have the groups and the state be those of the optimizer, which replaces them where it loads others."""
        self.param_groups, self.state = self.optimizer.param_groups, self.optimizer.state

    def _parameters(self) -> Iterator[torch.Tensor]:
        return (p for group in self.param_groups for p in group["params"])

    def _round_(self, role: str, x: torch.Tensor | None) -> None:
        """Round a tensor where it is: others may refer to it."""
        if x is not None and getattr(self.precision, role) is not None:
            x.copy_(_rounded(self.precision, role, x))

    def _store(self, p: torch.Tensor) -> None:
        """Round the weights, by way of the accumulator if there is one."""
        if self.precision.accumulator is not None:
            self._round_("accumulator", p)
            self.accumulators[p] = p.detach().clone()
        self._round_("weight", p)
        if self.precision.accumulator is not None:
            self._stored[p] = p.detach().clone()

    def _take_accumulator(self, p: torch.Tensor) -> None:
        """Put the accumulator in the place of the weights that were made of it."""
        if p in self.accumulators:
            same = p == self._stored[p] if p in self._stored else torch.ones_like(p, dtype=torch.bool)
            p.copy_(torch.where(same, self.accumulators[p], p))

    def _round_state(self, p: torch.Tensor) -> None:
        for name, value in self.state[p].items():
            if name != "step" and isinstance(value, torch.Tensor) and value.shape == p.shape:
                self._round_("second_moment" if name in _MEAN_SQUARES else "momentum", value)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return what the closure returned, which is called once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        trained = [p for p in self._parameters() if p.grad is not None]
        for p in trained:
            self._round_("gradient", p.grad)
            self._take_accumulator(p)
        self.optimizer.step()
        for p in trained:
            self._round_state(p)
            self._store(p)
        return loss

    def _streams(self) -> dict[str, random.Stream]:
        return {"default": random.thread_stream(), **self.precision.streams()}

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, and in "lpnet" the accumulators, by number, and the streams."""
        accumulators = {i: self.accumulators[p] for i, p in enumerate(self._parameters()) if p in self.accumulators}
        streams = {name: stream.state_dict() for name, stream in self._streams().items()}
        return {**self.optimizer.state_dict(), "lpnet": {"accumulators": accumulators, "streams": streams}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError if it is of another optimizer."""
        own, parameters = state_dict.get("lpnet"), list(self._parameters())
        if own is None:
            raise ValueError("RoundedOptimizer: the state has no entry 'lpnet'; load it into the inner optimizer")
        shapes = {i: p.shape for i, p in enumerate(parameters) if p in self.accumulators}
        if {i: a.shape for i, a in own["accumulators"].items()} != shapes:
            raise ValueError("RoundedOptimizer: the state's accumulators are not those of these parameters")
        if own["streams"].keys() != self._streams().keys():
            raise ValueError("RoundedOptimizer: the state is of quantizers that draw from other streams")
        self.optimizer.load_state_dict({name: value for name, value in state_dict.items() if name != "lpnet"})
        self._share()
        self._stored.clear()
        for i, accumulator in own["accumulators"].items():
            self.accumulators[parameters[i]] = accumulator.detach().clone().to(parameters[i].device)
        for name, stream in self._streams().items():
            stream.load_state_dict(own["streams"][name])
