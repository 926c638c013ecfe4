"""The SWALP paper's claims as experiments: each by one command, with a stated band for every figure.

Installed as `lpnet.reproduce`. Files: `experiment` (what one is), `report` (tables and verdicts), `sgd` and two
problems (rounded SGD on convex functions), `images` (trainings), then one an experiment; `demo`.
"""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from .. import picture
from ..backend import processors
from ..files import atomic_write
from ..registry import Registry
from ..sweeps import sweep
from .accumulators import Accumulators
from .averaging import Averaging
from .classification import PAPER, Classification
from .experiment import Context, Experiment, Result, Results, Task
from .formats import Formats
from .four_bits import FourBits
from .images import read
from .langevin import Langevin
from .linear_regression import LinearRegression
from .logistic_regression import LogisticRegression
from .recipes import Recipes
from .report import Report
from .stall import Stall

_ALL: tuple[type[Experiment], ...] = (
    LinearRegression,
    LogisticRegression,
    Classification,
    Averaging,
    Formats,
    Accumulators,
    Langevin,
    Stall,
    Recipes,
    FourBits,
)
EXPERIMENTS: Registry[type[Experiment]] = Registry("experiment", {kind.name: kind for kind in _ALL})


def listing() -> str:
    """Return the experiments, a line each."""
    return "\n".join(f"{name:20} {experiment.question}" for name, experiment in EXPERIMENTS.items())


def choose(name: str, quick: bool = False, paper: str | None = None) -> Experiment:
    """Return an experiment with its settings; raises ValueError for what there is not."""
    kind = EXPERIMENTS[name]
    if paper is None:
        return kind.quick() if quick else kind()
    if kind is not Classification or quick or paper not in PAPER:
        raise ValueError(f"paper={paper!r} is for classification without quick, and one of {', '.join(PAPER)}")
    return Classification.paper(paper)


def run(
    name: str,
    out: str | os.PathLike[str],
    *,
    quick: bool = False,
    paper: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    progress: bool = True,
    device: str = "cpu",
) -> Report:
    """Run an experiment, or go on with it, and write results.json, table.md and picture.png to `out`.

    Parameters
    ----------
    name : one of EXPERIMENTS.
    quick : a minute's version.
    paper : the data set of the paper's own recipe, for classification only.
    data_dir : the folder with MNIST and the like, or ImageNet's with train/ and val/.
    jobs : how many processes compute; None: one a processor, or one in all on a GPU.
    device : where networks are trained, "cpu" or "cuda".

    Raises ValueError for an unknown name, and if `out` holds another experiment; FileNotFoundError for a data set that
    is not there.
    """
    experiment, out, started = choose(name, quick, paper), Path(out), time.monotonic()
    data_dir = None if data_dir is None else Path(data_dir)
    for data in sorted(experiment.data_sets()):
        read(data, data_dir)  # before anything is written; and no two processes download it
    _check_own(out, name)
    jobs = jobs or (processors() if device == "cpu" else 1)
    results = compute(experiment, Context(out / "runs", data_dir, device), jobs, out / f"{name}.jsonl", progress)
    report = experiment.report(results)
    _write(out, experiment, results, report, time.monotonic() - started)
    picture.try_save(out / "picture.png", (10, 4.5), lambda figure: experiment.draw(figure, results))
    return report


def _check_own(out: Path, name: str) -> None:
    if others := [file for file in out.glob("*.jsonl") if file.stem != name]:
        raise ValueError(f"{out} holds {others[0].stem}, not {name}: choose another folder with --out")


def compute(
    experiment: Experiment, context: Context, jobs: int = 1, file: Path | None = None, progress: bool = False
) -> Results:
    """Return the results of all tasks, those that `file` does not hold computed."""
    tasks = [{"task": task, "seed": task.seed} for task in experiment.tasks()]
    found = sweep(partial(run_task, experiment, context), tasks, jobs=jobs, out=file, progress=progress)
    found.raise_first_error()
    return {run.point["task"].name: run.result for run in found.runs}


def run_task(experiment: Experiment, context: Context, task: Task, seed: int) -> Result:
    """Return the result of a task, {"diverged": reason} where its numbers are not finite; the seed is its own."""
    try:
        return experiment.run(task, context.of(task))
    except FloatingPointError as error:
        return {"diverged": str(error)}


def _write(out: Path, experiment: Experiment, results: Results, report: Report, seconds: float) -> None:
    with atomic_write(out / "table.md", "w") as file:
        file.write(str(report))
    content: dict[str, Any] = {
        "experiment": experiment.name,
        "settings": vars(experiment),
        "verdicts": report.state(),
        "passed": report.passed,
        "seconds": round(seconds, 1),
        "results": results,
    }
    with atomic_write(out / "results.json", "w") as file:
        json.dump(content, file, indent=1, default=repr)
