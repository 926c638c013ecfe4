"""A grid of independent runs: on all processors, one file each, so that an interrupted grid goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import workers
from ..files import atomic_write
from ..progress import Bar
from ..workers import Tick

Results = dict[str, dict[str, Any]]  # by task; {"diverged": reason} of one whose numbers were not finite


@dataclass(frozen=True)
class Here:
    """What a task is given beside its settings, and what its result does not depend on."""

    folder: Path  # for checkpoints; made by the task if it wants them
    data_dir: Path | None  # where data sets are
    tick: Tick
    device: str = "cpu"  # where networks are trained


Work = Callable[[dict[str, Any], Here], dict[str, Any]]  # (settings, here) -> result


@dataclass(frozen=True)
class Task:
    """One run of a grid."""

    name: str  # of its file
    settings: dict[str, Any]  # all that its result depends on; what JSON can hold
    steps: int  # how long it is, for the progress bar


def run(work: Work, tasks: list[Task], folder: Path, data_dir: Path | None = None, jobs: int = 1,
        progress: bool = True, device: str = "cpu") -> Results:  # fmt: skip
    """Return the result of every task, by name: read from `folder` where it is there, computed and written where not.

    Parameters: work, a function at the top of a module; jobs, how many processes compute, 1: this one. A task that
    raises FloatingPointError has diverged: its result says why, and the others go on. Any other error ends the grid
    and is raised. Raises ValueError for a damaged file, or one of other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = {task.name: r for task in tasks if (r := _read(folder / f"{task.name}.json", task)) is not None}
    left = sorted((t for t in tasks if t.name not in results), key=lambda t: -t.steps)  # no long one alone at the end
    here = Here(folder, data_dir, workers.count, device)  # a task's own folder is in this one
    done = sum(t.steps for t in tasks if t.name in results)
    with Bar(sum(t.steps for t in tasks), done, wanted=progress) as bar:
        if jobs > 1 and len(left) > 1:
            found = workers.run(_compute, [(work, task, here) for task in left], jobs, bar.advance)
        else:
            found = [_compute(work, task, replace(here, tick=bar.advance)) for task in left]
    results |= {task.name: result for task, result in zip(left, found, strict=True)}
    return {task.name: results[task.name] for task in tasks}


def _compute(work: Work, task: Task, here: Here) -> dict[str, Any]:
    started = time.monotonic()
    try:
        result = work(task.settings, replace(here, folder=here.folder / task.name))
    except FloatingPointError as error:
        result = {"diverged": str(error)}
    record = {"settings": task.settings, "seconds": round(time.monotonic() - started, 1), "result": result}
    with atomic_write(here.folder / f"{task.name}.json", "w") as file:
        json.dump(record, file, allow_nan=False)
    return json.loads(json.dumps(result))  # as it will be read again


def _read(file: Path, task: Task) -> dict[str, Any] | None:
    """Return the result in a task's file, if there is one."""
    if not file.exists():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        result, settings = record["result"], record["settings"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: damaged ({error}); delete it, and it will be computed again") from error
    check(file, settings, json.loads(json.dumps(task.settings)))
    return result


def check(where: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise ValueError, naming the first difference, unless both settings are the same."""
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            raise ValueError(f"{where} was made with {key}={old.get(key)!r}, not {new.get(key)!r}: choose another "
                             "folder with --out")  # fmt: skip
