"""Peak memory of some training steps, in MB: each network by batch and by what backward keeps, beside PyTorch.

`python -m tests.benchmarks memory` prints the table; `python -m tests.benchmarks.memory NETWORK WAY BATCH` one figure.
Counted is what a process holds at most beyond what it held once everything was imported.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lpnet import nn
from lpnet.models.preresnet import Block
from lpnet.models.vgg import VGG

from . import ours

STEPS = 3
WAYS = ("float", "bfp8", "packed", "recomputed", "both", "PyTorch", "QPyTorch")


def status(field: str) -> float:
    """Return a figure of this process as Linux has it, in MB: VmRSS is what it holds now, VmHWM the most so far."""
    line = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line[1]) * 1024 / 1e6


def network(name: str, way: str) -> nn.Module:
    """Return a network whose backward keeps what `way` says."""
    low = way not in ("float", "PyTorch")
    model = ours.network(name, low)
    if way in ("packed", "both"):
        nn.lower(model, "bfp8", packed=True)
    if way in ("recomputed", "both"):
        if isinstance(model, VGG):
            model.features = by_stage(model.features)
        nn.checkpointed(model, (Block, Stage))
    return model


class Stage(nn.Sequential):
    """Layers that are computed again together."""


def by_stage(layers: nn.Sequential) -> nn.Sequential:
    """Return the layers of a VGG in stages, each with its pooling."""
    stages, stage = [], []
    for layer in layers:
        stage.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            stages.append(Stage(*stage))
            stage = []
    return nn.Sequential(*stages, *stage)


def main(name: str, way: str, batch: int) -> float:
    """Return the peak of some steps, in MB."""
    torch, low = way in ("PyTorch", "QPyTorch"), way not in ("float", "PyTorch")
    if torch:
        from . import peers  # lpnet's own figure is without PyTorch
    before = status("VmRSS")
    model, data = network(name, way), ours.batch(ours.NETWORKS[name], batch)
    if torch:
        train = peers.trainer(peers.twin(model), low, *data)
    else:
        train = ours.trainer(model, "bfp8" if low else None, *data)
    for _ in range(STEPS):
        train()
    return status("VmHWM") - before


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
