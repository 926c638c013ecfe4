"""An experiment goes on where it was, keeps to its own folder, and goes on when one of its runs diverges."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from lpnet import reproduce
from lpnet.reproduce import sgd
from lpnet.reproduce.experiment import Context, Task
from lpnet.reproduce.report import Report

done = []  # names of the tasks that were computed in this process


@dataclass(frozen=True)
class Squares:
    """An experiment on integers, some of which stand for what goes wrong."""

    xs: tuple[object, ...] = (1, 2, 3)
    name = "squares"

    def tasks(self):
        return [Task(f"task-{i}", x, 0) for i, x in enumerate(self.xs)]

    def run(self, task, context):
        done.append(context.folder.name)
        if task.settings == "interrupt":
            raise KeyboardInterrupt
        if task.settings == "diverge":
            raise FloatingPointError("the loss is nan")
        if task.settings == "mistake":
            raise ValueError("no such format")
        return {"square": task.settings**2}


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


def compute(folder, *xs, jobs=1):
    return reproduce.compute(Squares(xs), Context(folder / "runs"), jobs, folder / "squares.jsonl")


def test_an_interrupted_experiment_computes_only_what_is_missing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path, 1, 2, "interrupt", 4)
    assert done == ["task-0", "task-1", "task-2"]
    done.clear()
    results = compute(tmp_path, 1, 2, 3, 4)
    assert done == ["task-2", "task-3"] and [r["square"] for r in results.values()] == [1, 4, 9, 16]
    assert list(results) == [f"task-{i}" for i in range(4)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_diverged_task_is_reported_and_not_run_again(tmp_path, jobs):
    results = compute(tmp_path, "diverge", 2, 3, jobs=jobs)
    assert results["task-0"] == {"diverged": "the loss is nan"}
    assert [results[name]["square"] for name in ("task-1", "task-2")] == [4, 9]
    done.clear()
    assert compute(tmp_path, "diverge", 2, 3) == results and not done


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_mistake_is_named_and_loses_nothing(tmp_path, jobs):
    with pytest.raises(RuntimeError, match="1 of 3 runs failed; task=task-0, seed=0: ValueError: no such format"):
        compute(tmp_path, "mistake", 2, 3, jobs=jobs)
    done.clear()
    assert compute(tmp_path, 4, 2, 3)["task-2"] == {"square": 9} and done == ["task-0"]


def test_results_of_other_settings_are_not_taken(tmp_path):
    assert compute(tmp_path, 1)["task-0"] == {"square": 1}
    assert compute(tmp_path, 2)["task-0"] == {"square": 4}


def test_a_folder_of_another_experiment_is_refused_untouched(tmp_path):
    (tmp_path / "formats.jsonl").touch()
    with pytest.raises(ValueError, match="holds formats, not linear-regression: choose another folder with --out"):
        reproduce.run("linear-regression", tmp_path, quick=True, progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["formats.jsonl"]


def test_a_second_run_gives_the_same_report_from_the_file(tmp_path, monkeypatch):
    """Of a real experiment, the quickest: nothing is computed, and the tables are the same."""
    quick = reproduce.EXPERIMENTS["linear-regression"].quick()
    monkeypatch.setattr(type(quick), "quick", classmethod(lambda cls: replace(quick, steps=2000, floor_steps=1000)))
    first = reproduce.run("linear-regression", tmp_path, quick=True, jobs=1, progress=False)
    monkeypatch.setattr(type(quick), "run", lambda *_: pytest.fail("run again"))
    again = reproduce.run("linear-regression", tmp_path, quick=True, jobs=1, progress=False)
    assert isinstance(first, Report) and str(again) == str(first)


class Uphill:
    """A concave function: every step leads further away."""

    n, optimum = 3, np.zeros(2)

    def gradient(self, w, i):
        return -1e6 * w - 1


def test_sgd_that_diverges_says_when():
    with pytest.raises(FloatingPointError, match=r"not finite at step \d+ with a learning rate of 1"):
        list(sgd.iterates(Uphill(), np.ones((2, 2)), 1.0, None, 0, 3000, seed=0))
