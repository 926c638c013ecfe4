"""What only a GPU can show, stage by stage: `make bench-gpu`, or `python -m tests.benchmarks.gpu [STAGE ...]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import right, speed

Stage = Callable[[], Iterator[str]]

# The most telling first: each is written down when it ends, so what is cut short has lost the least.
STAGES: dict[str, Stage] = {
    f.__name__: f
    for f in (
        right.kernels,
        right.cublas,
        right.tests,
        speed.steps,
        speed.launches,
        right.sums,
        speed.bandwidth,
        right.bits,
        right.epoch,
    )
}
