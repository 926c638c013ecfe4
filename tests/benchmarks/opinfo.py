"""PyTorch's own database of operators, against lpnet: `python -m tests.benchmarks.opinfo [OPERATOR ...]`.

For every operator of the database that lpnet has, and every sample input: the result and the gradients of all inputs,
for random weights of the result's numbers, in float64. Prints a table; the exit code is 1 if anything differs, or if an
operator of lpnet's names is not told of in `torch_calls`. Needs torch and expecttest.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db

import lpnet as lp
import lpnet.functions as F

from .torch_calls import CALLS, NotHere

OTHERS = {"to": "lpnet moves tensors by `to(device)` and has no `to(dtype)`"}  # of lpnet's names, but other operators


@dataclass
class Found:
    """What came of the samples of an operator."""

    passed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    not_here: Counter[str] = field(default_factory=Counter)

    def add(self, call: Callable[..., Any], op: Any, sample: Any) -> None:
        """Compare one sample."""
        try:
            compare(call, op, sample)
            self.passed += 1
        except NotHere as reason:
            self.not_here[str(reason)] += 1
        except Exception as error:
            self.failed[f"{type(error).__name__}: {error}".partition("\n")[0]] += 1


def ours(value: Any) -> Any:
    """Return what lpnet takes for an argument of PyTorch's."""
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy()
        return lp.Tensor(array, value.requires_grad) if value.is_floating_point() else array
    return type(value)(map(ours, value)) if type(value) in (list, tuple) else value


def leaves(value: Any) -> list[Any]:
    """Return the tensors in an argument or a result."""
    if isinstance(value, torch.Tensor | lp.Tensor | np.ndarray | float):
        return [value]
    return [t for part in value for t in leaves(part)] if isinstance(value, list | tuple) else []


def compare(call: Callable[..., Any], op: Any, sample: Any) -> None:
    """Raise AssertionError where results or gradients differ, NotHere where lpnet has no such call."""
    given = [sample.input, *sample.args, *sample.kwargs.values()]
    mine, options = [ours(a) for a in (sample.input, *sample.args)], {k: ours(v) for k, v in sample.kwargs.items()}
    y = leaves(call(*mine, **options))
    t = leaves(op(sample.input, *sample.args, **sample.kwargs))[: len(y)]  # a maximum's places are not compared
    assert len(y) == len(t), f"{len(y)} results, PyTorch has {len(t)}"
    for a, b in zip(y, t, strict=True):
        same(a, b, "result")
    flowing = [(a, b) for a, b in zip(y, t, strict=True) if getattr(b, "requires_grad", False)]
    wanted = [
        (a, b)
        for a, b in zip(leaves([*mine, *options.values()]), leaves(given), strict=True)
        if getattr(b, "requires_grad", False)
    ]
    if not flowing or not wanted:
        return
    weights = [np.random.default_rng(0).standard_normal(a.shape) for a, _ in flowing]
    theirs = torch.autograd.grad(
        [b for _, b in flowing], [b for _, b in wanted], [*map(torch.tensor, weights)], allow_unused=True
    )
    sum((a * w).sum() for (a, _), w in zip(flowing, weights, strict=True)).backward()
    for (a, _), b in zip(wanted, theirs, strict=True):
        same(np.zeros(a.shape) if a.grad is None else a.grad, torch.zeros(a.shape) if b is None else b, "gradient")


def same(a: Any, b: Any, what: str) -> None:
    """Raise AssertionError unless two arrays are the same up to rounding."""
    x, y = (np.asarray(v.detach() if isinstance(v, torch.Tensor) else v) for v in (a, b))
    assert x.shape == y.shape, f"{what} of shape {x.shape}, PyTorch's has {y.shape}"
    assert np.allclose(x, y, rtol=1e-9, atol=1e-11, equal_nan=True), f"{what} differs by {np.nanmax(abs(x - y)):.3g}"


def operators(names: Iterable[str]) -> dict[str, list[Any]]:
    """Return the operators that lpnet has, by name, in all its variants; raises SystemExit for what is not told."""
    found: dict[str, list[Any]] = {}
    for op in op_db:
        if not op.name.startswith("masked.") and torch.float64 in (op.dtypes or ()):
            found.setdefault(op.name, []).append(op)
    here = {*F.__all__, *(name for name in vars(lp.Tensor) if not name.startswith("__"))}
    here |= {name for name in vars(lp.operators.Operators) if name[:3] == "__r"}
    untold = [name for name in found if name.rpartition(".")[2] in here and name not in {*CALLS, *OTHERS}]
    if missing := [name for name in [*names, *CALLS] if name not in found] + untold:
        sys.exit(f"opinfo: no such operator, or none told of: {', '.join(missing)}")
    return {name: ops for name, ops in found.items() if name in (list(names) or CALLS) and name in CALLS}


def main(names: list[str]) -> int:
    """Print the table; return 1 if anything failed."""
    print("| operator | passed | failed | not applicable | why not |\n|---|---:|---:|---:|---|")
    totals, wrong = Counter[str](), []
    for name, ops in sorted(operators(names).items()):
        found = Found()
        for op in ops:
            for sample in op.sample_inputs("cpu", torch.float64, requires_grad=op.supports_autograd):
                found.add(CALLS[name], op, sample)
        failed, not_here = found.failed.total(), found.not_here.total()
        totals += Counter(passed=found.passed, failed=failed, not_here=not_here, operators=1)
        why = "; ".join(f"{reason} ({count})" for reason, count in found.not_here.items())
        print(f"| {name} | {found.passed} | {failed} | {not_here} | {why} |", flush=True)
        wrong += [f"{name}, {count} times: {what}" for what, count in found.failed.items()]
    print("| all {operators} | {passed} | {failed} | {not_here} | |".format_map(totals))
    print("".join(f"\n{line}" for line in wrong), end="")
    return int(bool(wrong))


if __name__ == "__main__":
    np.seterr(all="ignore")
    sys.exit(main(sys.argv[1:]))
