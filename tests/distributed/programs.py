"""What the tests have several processes do: python -m tests.distributed.programs NAME ARGUMENTS, under mpiexec or not.

`start` starts one. The trainings have batches that eight shards do not share evenly, and a last one of four samples.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import lpnet as lp
from lpnet import nn, optim
from lpnet.data import DataLoader, random_crop
from lpnet.distributed import gradients, processes
from lpnet.training import Callback

from ..gpu import nccl, standin

MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
ROOT = Path(__file__).parents[2]
KINDS = ("float", "bfp8", "nvfp4", "local", "compressed")
FORMATS = {"float": None, "bfp8": "bfp8", "nvfp4": "nvfp4", "local": None, "compressed": "bfp8", "saving": "bfp8"}
COMPARED = ("model.npz", "averaged.npz", "checkpoint.npz", "log.jsonl", "config.json")
STEPS = 15  # of a training


def start(processes: int, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """Start a program in several processes, or in one without mpiexec."""
    launcher = [] if processes == 1 else [MPIEXEC, "-n", processes]
    command = [*launcher, sys.executable, "-m", "tests.distributed.programs", *arguments]
    changed = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **changed},
        **options,
    )


class Slowly(Callback):
    """Gives a test the time to end a training; after five steps one process fails if it is told to."""

    seconds, fails = 0.0, -1  # of the class: they are no part of the checkpoint

    def on_step(self, run) -> None:
        time.sleep(self.seconds)
        if run.step == 5 and self.fails == RANK:
            raise ValueError(f"a mistake of process {RANK}")


RANK = int(os.environ.get("PMI_RANK", "0"))


def network() -> nn.Module:
    """Return a small network of every kind of layer that a batch is one thing to."""
    block = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
    )
    return nn.Sequential(block, nn.Flatten(), nn.Linear(64, 3))


def train(folder: Path, kind: str, resume: bool = False, device: str = "cpu", epochs: int = 3) -> None:
    """Train `network` for three epochs of four steps and a short one, with an average, in eight shards."""
    lp.distributed.init(8, sync_batch_norm=kind != "local", compress=kind == "compressed")
    lp.manual_seed(3)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((84, 1, 8, 8), np.float32), rng.integers(0, 3, 84)
    model = network().to(device)
    if FORMATS[kind] is not None:
        nn.lower(model, FORMATS[kind], packed=kind == "saving")
    nn.checkpointed(model, ["0"] * (kind == "saving"))
    precision = lp.Precision(weight=FORMATS[kind] and "bfp8", gradient=FORMATS[kind], momentum=FORMATS[kind])
    groups = [
        {"params": model[0][0].parameters(), "lr": 0.1},
        {"params": [*model[0][1].parameters(), *model[2].parameters()]},
    ]
    optimizer = optim.SGD(groups if kind == "float" else model.parameters(), 0.05, momentum=0.9, precision=precision)
    lp.fit(
        model,
        DataLoader((x, y), 20, shuffle=True, seed=4, transform=random_crop(1)),
        DataLoader((x[:50], y[:50]), 20),
        epochs=epochs,
        optimizer=optimizer,
        swalp=optim.SWALP(model, optimizer, 5, 2, 0.01),
        scaler=optim.LossScaler(2.0**8, growth_interval=4),
        out=folder / kind,
        resume=resume,
        checkpoint_every=0,
        progress=False,
        callbacks=[Slowly()],
    )


def trainings(folder: str, *kinds: str) -> None:
    """Train in some kinds, or in all."""
    for kind in kinds or KINDS:
        train(Path(folder), kind)
    print("trained")


def on_gpus(folder: str, kind: str, devices: str) -> None:
    """Train for an epoch, on so many GPUs of the stand-in or on real ones.

    Say what each process asked of NCCL, which GPUs it used, and how many gradients came to the host.
    """
    if devices != "real":
        nccl.put_in_place(int(devices))
    brought: list[tuple[int, ...]] = []

    def to_device(x: Any, device: str) -> Any:
        brought.extend([x.shape] * (device == "cpu"))
        return lp.to_device(x, device)

    gradients.to_device = to_device
    train(Path(folder), kind, device="cuda", epochs=1)
    print(json.dumps(lp.distributed.share("what it saw", [nccl.calls, sorted(standin.used), len(brought)])))


def failing_on_gpus(folder: str, owner: str, name: str) -> None:
    """Have one process fail where it would call this of lpnet's or NCCL's."""

    def fail(*_: Any) -> None:
        raise RuntimeError("a mistake of process 1")

    if RANK == 1:
        setattr({"lpnet": processes.Gpus, "NCCL": nccl.NCCLBackend}[owner], name, fail)
    on_gpus(folder, "float", "2")


def slowly(folder: str, kind: str, seconds: str, *resume: str) -> None:
    """Train, or go on with it, with a pause after each step."""
    lp.distributed.init(8)
    print("begun")
    Slowly.seconds = float(seconds)
    train(Path(folder), kind, bool(resume))


def failing(folder: str, rank: str) -> None:
    """Train until one process fails."""
    Slowly.fails = int(rank)
    train(Path(folder), "bfp8")


def failing_outside(folder: str, rank: str) -> None:
    """Fail in one process where the others want to talk to it."""
    lp.distributed.init(8)
    if int(rank) == RANK:
        raise ValueError(f"a mistake of process {rank}")
    train(Path(folder), "float")


def leaving(folder: str, rank: str) -> None:
    """End one process without a word."""
    lp.distributed.init(8)
    if int(rank) == RANK:
        sys.exit()
    train(Path(folder), "float")


def killed(folder: str, rank: str) -> None:
    """Have the system end one process."""
    lp.distributed.init(8)
    if int(rank) == RANK:
        os.kill(os.getpid(), signal.SIGKILL)
    train(Path(folder), "float")


def unlike(folder: str) -> None:
    """Begin with other weights in each process."""
    lp.distributed.init(8)
    lp.manual_seed(RANK)
    model = network()
    loader = DataLoader((np.zeros((8, 1, 8, 8), np.float32), np.zeros(8, int)), 8)
    lp.fit(model, loader, epochs=1, optimizer=optim.SGD(model.parameters(), 0.1), out=folder, progress=False)


def figure(x: float, seed: int) -> float:
    """Return a figure with random bits in it, which no process may compute again; one point fails, others take long."""
    if x == 2:
        raise ValueError("no such point")
    (Path(os.environ["MADE"]) / f"{x}-{seed}").touch(exist_ok=False)
    time.sleep(60 if x > 8 else 0)
    return float(lp.quantize(np.full(8, 0.1 * x, np.float32), "bfp4", "stochastic").sum())


def sweep(folder: str, most: str) -> None:
    """Compute a grid."""
    made = Path(folder) / "made"
    made.mkdir(exist_ok=True)
    os.environ["MADE"] = str(made)
    found = lp.sweep(figure, {"x": range(1, int(most))}, 2, jobs=1, out=Path(folder) / "out.jsonl")
    print(found)
    lp.distributed.init(8)  # which has nothing to say in a sweep
    whole = lp.distributed.share("a sweep", [(run.call, run.result, run.error) for run in found.runs])
    assert all(other == whole[0] for other in whole)


def parts(_: str, shards: str) -> None:
    """Cut batches into so many shards."""
    lp.distributed.init(int(shards))


if __name__ == "__main__":
    sys.modules["matplotlib"] = None  # drawing curves takes longer than all the rest
    globals()[sys.argv[1]](*sys.argv[2:])
