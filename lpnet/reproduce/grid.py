"""A grid of independent runs: on all processors, one file each, so that an interrupted grid goes on where it was."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..backend import set_num_threads
from ..checkpoint import atomic

Tick = Callable[[int], None]  # called with the steps done since the last call
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
    here = Here(folder, data_dir, _count, device)  # a task's own folder is in this one
    with _bar(sum(t.steps for t in tasks), sum(t.steps for t in tasks if t.name in results), progress) as tick:
        if jobs > 1 and len(left) > 1:
            results |= _in_processes(work, left, here, min(jobs, len(left)), tick)
        else:
            results |= {task.name: _compute(work, task, replace(here, tick=tick)) for task in left}
    return {task.name: results[task.name] for task in tasks}


def _compute(work: Work, task: Task, here: Here) -> dict[str, Any]:
    started = time.monotonic()
    try:
        result = work(task.settings, replace(here, folder=here.folder / task.name))
    except FloatingPointError as error:
        result = {"diverged": str(error)}
    record = {"settings": task.settings, "seconds": round(time.monotonic() - started, 1), "result": result}
    with atomic(here.folder / f"{task.name}.json", "w") as file:
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


_steps_done: Any = None  # in a worker: the count it shares with the others


def _start_worker(counter: Any) -> None:
    global _steps_done
    _steps_done = counter
    set_num_threads(1)  # one process a processor


def _count(steps: int) -> None:
    with _steps_done.get_lock():
        _steps_done.value += steps


def _in_processes(work: Work, tasks: list[Task], here: Here, jobs: int, tick: Tick) -> Results:
    context = multiprocessing.get_context("spawn")
    counter, seen = context.Value("q", 0), 0
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (counter,))
    try:
        futures = {task.name: pool.submit(_compute, work, task, here) for task in tasks}
        waiting = set(futures.values())
        while waiting and not any(f.done() and f.exception() for f in futures.values()):
            _, waiting = wait(waiting, timeout=0.5, return_when="FIRST_EXCEPTION")
            tick(counter.value - seen)
            seen = counter.value
        failed = next((f for f in futures.values() if f.done() and f.exception()), None)
        return {name: (failed or future).result() for name, future in futures.items()}
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _bar(total: int, done: int, progress: bool) -> Iterator[Tick]:
    """Give a function that moves a progress bar over the whole grid, with tqdm where it is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        progress = False
    if not progress:
        yield lambda steps: None
        return
    with tqdm(total=total, initial=done, unit="step", unit_scale=True, ncols=79, leave=False) as bar:
        yield bar.update
