"""Print the peak memory, in MB, of some training steps in this process: `memory.py NETWORK lpnet|torch [low|packed]`.

Counted is what the process holds at most beyond what it held once everything was imported.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import lpnet as lp

from . import ours

STEPS = 3


def status(field: str) -> float:
    """Return a figure of this process as Linux has it, in MB: VmRSS is what it holds now, VmHWM the most so far."""
    line = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line[1]) * 1024 / 1e6


def main(name: str, side: str, low: bool, packed: bool) -> float:
    """Return the peak of some steps, in MB."""
    if side == "torch":
        from . import peers  # lpnet's own figure is without PyTorch
    before = status("VmRSS")
    model, data = ours.network(name, low), ours.batch(ours.NETWORKS[name])
    if packed:
        lp.nn.lower(model, "bfp8", packed=True)
    if side == "torch":
        model = peers.twin(model)
    train = (peers if side == "torch" else ours).trainer(model, low, *data)
    for _ in range(STEPS):
        train()
    return status("VmHWM") - before


if __name__ == "__main__":
    print(main(*sys.argv[1:3], low=len(sys.argv) > 3, packed="packed" in sys.argv[3:]))
