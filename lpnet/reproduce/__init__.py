"""The SWALP paper's claims as experiments: each by one command, with a stated band for every figure.

Files: `grid` (independent runs that resume), `report` (tables and verdicts), `sgd` (rounded SGD on convex problems),
then one an experiment. An experiment is a module with SUMMARY, `settings(quick)`, `tasks(settings)`, `run(task's
settings, here)`, `report(settings, results)` and `draw(figure, settings, results)`.
"""

from __future__ import annotations

import difflib
import json
import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import picture
from ..backend import processors
from ..data import load
from ..files import atomic_write
from . import averaging, classification, formats, grid, linear_regression, logistic_regression
from .report import Report

EXPERIMENTS: dict[str, ModuleType] = {
    "linear-regression": linear_regression,
    "logistic-regression": logistic_regression,
    "classification": classification,
    "averaging": averaging,
    "formats": formats,
}


PAPER = ("cifar10", "cifar100")  # data sets of the paper's own recipe


def listing() -> str:
    """Return the experiments, a line each."""
    return "\n".join(f"{name:20} {experiment.SUMMARY}" for name, experiment in EXPERIMENTS.items())


def run(name: str, out: str | os.PathLike[str], *, quick: bool = False, paper: str | None = None,
        data_dir: str | os.PathLike[str] | None = None, jobs: int | None = None, progress: bool = True,
        device: str = "cpu") -> Report:  # fmt: skip
    """Run an experiment, or go on with it, and write results.json, table.md and picture.png to `out`.

    Parameters: name, one of EXPERIMENTS; quick, a minute's version; paper, the data set of the paper's own recipe, for
    classification only; data_dir, the folder with MNIST and the like; jobs, how many processes compute (None: one a
    processor, or one in all on a GPU); device, where networks are trained, "cpu" or "cuda". Raises ValueError for an
    unknown name, and if `out` holds an experiment with other settings, FileNotFoundError for a data set that is not
    there.
    """
    settings, out, data_dir = _settings(name, quick, paper), Path(out), None if data_dir is None else Path(data_dir)
    for data in _data_sets(settings):
        load(data, data_dir)  # before anything is written; and no two processes download it
    _claim(out, settings)
    started, experiment = time.monotonic(), EXPERIMENTS[name]
    results = grid.run(experiment.run, experiment.tasks(settings), out / "runs", data_dir,
                       jobs or (processors() if device == "cpu" else 1), progress, device)  # fmt: skip
    report = experiment.report(settings, results)
    _write(out, settings, results, report, time.monotonic() - started)
    picture.try_save(out / "picture.png", (10, 4.5), lambda figure: experiment.draw(figure, settings, results))
    return report


def _settings(name: str, quick: bool, paper: str | None) -> dict[str, Any]:
    if name not in EXPERIMENTS:
        near = ", ".join(difflib.get_close_matches(name, EXPERIMENTS)) or ", ".join(EXPERIMENTS)
        raise ValueError(f"unknown experiment {name!r}; the nearest are {near}")
    if paper is not None and (name != "classification" or quick or paper not in PAPER):
        raise ValueError(f"paper={paper!r} is for classification without quick, and one of {', '.join(PAPER)}")
    more = {} if paper is None else {"paper": paper}
    return json.loads(json.dumps({"experiment": name, **EXPERIMENTS[name].settings(quick, **more)}))


def _data_sets(settings: dict[str, Any]) -> list[str]:
    recipes = [settings, *settings.get("networks", {}).values()]
    return sorted({recipe["data"] for recipe in recipes if "data" in recipe})


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder this experiment's, or raise ValueError if it is another's."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "settings.json"
    if file.exists():
        try:
            old = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: damaged ({error})") from error
        grid.check(out, old, settings)
    with atomic_write(file, "w") as stream:
        json.dump(settings, stream, indent=2)


def _write(out: Path, settings: dict[str, Any], results: grid.Results, report: Report, seconds: float) -> None:
    with atomic_write(out / "table.md", "w") as file:
        file.write(str(report))
    with atomic_write(out / "results.json", "w") as file:
        json.dump({"settings": settings, "verdicts": report.state(), "passed": report.passed,
                   "seconds": round(seconds, 1), "results": results}, file, indent=1)  # fmt: skip
