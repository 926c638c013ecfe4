"""lpnet demo, lpnet reproduce: the experiments, imported when they are asked for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..backend import DEVICES, choose_device
from .parsing import command, number, path


def add_demo(commands: Any) -> None:
    p = command(
        commands,
        "demo",
        _demo,
        "train in float, 8 and 4 bits, and show what SWALP gains",
        "Needs no network and no data beside the package; takes two minutes on two processors.",
    )
    p.fill = _fill_demo


def _fill_demo(p: argparse.ArgumentParser) -> None:
    from ..reproduce import demo

    p.add_argument("--seeds", type=number(int, 2), default=6, help="runs of each method")
    p.add_argument("--epochs", type=number(int, 3), default=demo.EPOCHS, help="epochs of each run")
    p.add_argument("--out", type=path, default=Path("demo"), help="folder for table.md and curves.png")
    p.add_argument("--device", default="cpu", choices=DEVICES, help="where to compute: cpu or cuda")


def _demo(arguments: argparse.Namespace) -> None:
    from ..reproduce import demo

    demo.run(arguments.out, arguments.seeds, arguments.epochs, device=arguments.device)


def add_reproduce(commands: Any) -> None:
    p = command(
        commands,
        "reproduce",
        _reproduce,
        "run one of the SWALP paper's experiments, or list them",
        "Writes results.json, table.md and picture.png. Started again, it goes on where it was. The exit code "
        "is 1 if a figure lies outside of its band.",
    )
    p.fill = _fill_reproduce


def _fill_reproduce(p: argparse.ArgumentParser) -> None:
    from .. import reproduce

    p.add_argument("name", metavar="NAME", nargs="?", help=f"one of {', '.join(reproduce.EXPERIMENTS)}")
    p.add_argument("--quick", action="store_true", help="a version of about a minute, on data of the package")
    p.add_argument(
        "--paper",
        metavar="DATA",
        choices=reproduce.PAPER,
        help="classification with the paper's own "
        f"networks, data and epochs: {' or '.join(reproduce.PAPER)}; takes weeks. imagenet: ResNet-18 on the folder "
        "of --data-dir, which has train/ and val/ with a folder of pictures for each class",
    )
    p.add_argument("--data-dir", type=path, help="folder with the data files")
    p.add_argument("--out", type=path, help="folder for the results; none: runs/NAME, with what was chosen added")
    p.add_argument(
        "--jobs", type=number(int, 1), help="processes that compute; none: one a processor, or one in all on a GPU"
    )
    p.add_argument("--device", default="cpu", choices=DEVICES, help="where networks are trained: cpu or cuda")


def _reproduce(arguments: argparse.Namespace) -> int:
    from .. import reproduce

    if arguments.name is None:
        if given := [name for name in ("quick", "paper", "data_dir", "out", "jobs") if getattr(arguments, name)]:
            raise ValueError(f"reproduce: --{given[0].replace('_', '-')} needs the NAME of an experiment")
        print(reproduce.listing())
        return 0
    name = "-".join(filter(None, (arguments.name, "quick" if arguments.quick else None, arguments.paper)))
    out = arguments.out or Path("runs") / name
    report = reproduce.run(
        arguments.name,
        out,
        quick=arguments.quick,
        paper=arguments.paper,
        data_dir=arguments.data_dir,
        jobs=arguments.jobs,
        device=choose_device(arguments.device),
    )
    print(report)
    print(f"results: {out}")
    return 0 if report.passed else 1
