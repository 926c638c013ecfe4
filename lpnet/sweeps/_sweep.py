"""`sweep`: one function over a grid and seeds, on all processors, kept in a file as results come."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Generator
from typing import Any

from .. import random
from ..backend import one_blas_thread, processors
from ..distributed import batches
from ..distributed.processes import World
from ..progress import Bar
from ..validate import integer
from .file import ResultFile
from .grid import Call, Grid, Seeds, calls, check_sendable, key, name_of
from .results import Run, Sweep
from .workers import Outcome, attempt, each, hold_interrupts

Progress = bool | Callable[[Run], None]
Outcomes = Generator[tuple[int, Outcome], None, None]  # with the number of the call
Compute = Callable[[list[Call]], Outcomes]


def sweep(
    function: Callable[..., Any],
    grid: Grid,
    seeds: Seeds = None,
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    progress: Progress = True,
) -> Sweep:
    """Run `function(**point, seed=s)` for every point of a grid and every seed, in processes of one thread each.

    Results do not depend on `jobs` or on what ran before: lpnet's default stream starts from the seed each time. An
    error ends the run that made it only; it is told on stderr at once, and found in `failed` of what is returned.

    Parameters
    ----------
    function : function
        It returns a number, or a dictionary of figures, of what JSON can hold. Other processes have to find it:
        at the top of a file, whose own work is under ``if __name__ == "__main__":``.
    grid : dict or list of dict
        ``{"lr": [0.1, 0.2], "fmt": ["bfp8", "bfp4"], "epochs": 5}`` for all combinations, where what is no list is
        one value; or a list of points, each a dictionary.
    seeds : int or list of int, optional
        How many (0, 1, ...), or which ones. None: the grid's own "seed", or 0 where it has none.
    jobs : int, optional
        How many processes. None: one a processor. 1: none but this one. Under mpiexec: how many each of its
        processes starts, None: its share of the machine's processors; all return the same, the first prints and writes.
    out : path, optional
        A file that takes each result as it comes, a line of JSON. What it holds is not run again, whether the grid
        was smaller or larger. It knows a value by its `repr` and the function by its name: when what the function does
        changes, delete it.
    progress : bool or function
        Whether a terminal shows a bar; or a function to call with each Run as it ends.

    Raises
    ------
    ValueError
        Arguments that cannot be; before anything is run or written.
    RuntimeError
        All runs fail.
    """
    world = batches.world()
    with world.together():
        todo = calls(function, grid, seeds)
        jobs = max(1, processors() // world.here) if jobs is None else integer("sweep", "jobs", jobs, 1)
        if jobs > 1 or world.size > 1:
            check_sendable(function, todo)
        file = ResultFile(out, name_of(function)) if out is not None and world.rank == 0 else None
        if file is not None:
            file.prepare(todo)
        # All take the grid of the first, which may have been drawn at random.
        todo, known = world.share("a sweep", (todo, {} if file is None else file.records))[0]
        outcomes = functools.partial(_outcomes, function, jobs=jobs, world=world)
        found = Sweep(_runs(todo, known, outcomes, file, progress if world.rank == 0 else False))
        if len(found.failed) == len(found.runs):
            found.raise_first_error()
        return found


def _runs(
    todo: list[Call], known: dict[str, Any], compute: Compute, file: ResultFile | None, progress: Progress
) -> list[Run]:
    """Return the run of each call: known from the file, or computed and added to it."""
    runs = {
        i: Run(call, record["result"], seconds=record["seconds"])
        for i, call in enumerate(todo)
        if (record := known.get(key(call)))
    }
    left = [i for i in range(len(todo)) if i not in runs]
    with (
        Bar(len(todo), len(runs), unit="run", wanted=progress is True) as bar,
        contextlib.closing(compute([todo[i] for i in left])) as outcomes,
    ):
        for number, outcome in outcomes:
            run = runs[left[number]] = _run(todo[left[number]], outcome, file)
            _tell(run, bar, progress)
    return [runs[i] for i in range(len(todo))]


def _outcomes(function: Callable[..., Any], todo: list[Call], jobs: int, world: World) -> Outcomes:
    compute = functools.partial(_compute, function)
    arguments = [(call,) for call in todo]
    if jobs > 1 or world.size > 1:
        yield from each(compute, arguments, jobs, world)
        return
    stream, before = random.thread_stream(), random.thread_stream().state_dict()
    try:
        yield from ((i, attempt(compute, call)) for i, call in enumerate(arguments))
    finally:
        stream.load_state_dict(before)


def _compute(function: Callable[..., Any], call: Call) -> str:
    """Return the result of a call as JSON, the same in every process and whatever was computed there before."""
    random.manual_seed(call["seed"])
    with one_blas_thread(), batches.alone():
        return json.dumps(function(**call), default=_list)


def _list(value: Any) -> Any:
    """Return an array or a number of NumPy as Python's."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"a result must be of numbers, text, lists and dictionaries, got {type(value).__name__}")
    return value.tolist()


def _run(call: Call, outcome: Outcome, file: ResultFile | None) -> Run:
    """Return what became of a call, and keep it."""
    if outcome.error:
        return Run(call, None, outcome.error, outcome.traceback, outcome.seconds)
    run = Run(call, json.loads(outcome.result), seconds=outcome.seconds)
    if file is not None:
        with hold_interrupts():  # a line is written whole
            file.append(call, run.result, round(run.seconds, 3))
    return run


def _tell(run: Run, bar: Bar, progress: Progress) -> None:
    if run.error:
        bar.say(f"sweep: {run}: {run.error}")
    bar.advance()
    if callable(progress):
        progress(run)
