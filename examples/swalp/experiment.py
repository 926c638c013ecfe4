"""What an experiment is: a claim, the settings that it is tested with, and the runs that test it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from .report import Report

Result = dict[str, Any]  # of one run, as JSON holds it; {"diverged": reason} where numbers were not finite
Results = Mapping[str, Result]  # by the task's name


@dataclass(frozen=True)
class Task:
    """One run of an experiment: all that its result depends on."""

    name: str
    settings: Any  # a frozen dataclass
    seed: int

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Context:
    """Where a run is made, which its result does not depend on."""

    folder: Path  # for checkpoints; made by a run that wants them
    data_dir: Path | None = None  # where data sets are
    device: str = "cpu"  # where networks are trained

    def of(self, task: Task) -> Context:
        """Return the same with the folder of one task."""
        return replace(self, folder=self.folder / task.name)


def task_name(*parts: object) -> str:
    """Return a name for a task: words and numbers, with hyphens between them."""
    return "-".join(re.sub("[ ,:/]+", "-", str(part)) for part in parts)


class Experiment(Protocol):
    """A frozen dataclass whose fields are the settings, with those of the full size as defaults.

    A new one fulfils this protocol, and stands in `EXPERIMENTS`.
    """

    name: ClassVar[str]  # on the command line
    question: ClassVar[str]  # in a line
    source: ClassVar[str]  # of the claim

    @classmethod
    def quick(cls) -> Experiment:
        """Return the experiment with settings that take a minute, on data of the package."""

    def data_sets(self) -> set[str]:
        """Return the names of the data sets that it needs."""

    def tasks(self) -> list[Task]:
        """Return all runs, the long ones first, so that none is alone at the end."""

    def run(self, task: Task, context: Context) -> Result:
        """Return what a run measures; raises FloatingPointError if it diverges."""

    def report(self, results: Results) -> Report:
        """Return the tables, and a verdict on every claim by its band."""

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the results on a figure of matplotlib."""
