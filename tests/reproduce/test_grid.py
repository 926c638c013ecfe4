"""A grid resumes where it was, refuses other settings, and goes on when one of its runs diverges."""

import json
import os

import numpy as np
import pytest

from lpnet import reproduce
from lpnet.reproduce import grid, sgd

done = []  # names of the tasks that were computed in this process


def work(settings, here):
    """Return the square of x, as a task would."""
    done.append(here.folder.name)
    here.tick(1)
    if settings["x"] == "interrupt":
        raise KeyboardInterrupt
    if settings["x"] == "diverge":
        raise FloatingPointError("the loss is nan")
    if settings["x"] == "mistake":
        raise ValueError("no such format")
    return {"square": settings["x"] ** 2, "process": os.getpid()}


def tasks(*xs):
    return [grid.Task(f"task-{i}", {"x": x}, 1) for i, x in enumerate(xs)]


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


def test_an_interrupted_grid_computes_only_what_is_missing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        grid.run(work, tasks(1, 2, "interrupt", 4), tmp_path, progress=False)
    assert done == ["task-0", "task-1", "task-2"]
    done.clear()
    results = grid.run(work, tasks(1, 2, 3, 4), tmp_path, progress=False)
    assert done == ["task-2", "task-3"] and [r["square"] for r in results.values()] == [1, 4, 9, 16]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_diverged_task_is_reported_and_the_others_go_on(tmp_path, jobs):
    results = grid.run(work, tasks("diverge", 2, 3), tmp_path, jobs=jobs, progress=False)
    assert results["task-0"] == {"diverged": "the loss is nan"}
    assert [results[name]["square"] for name in ("task-1", "task-2")] == [4, 9]
    assert json.loads((tmp_path / "task-0.json").read_text())["result"] == results["task-0"]
    assert (os.getpid() in [r.get("process") for r in results.values()]) == (jobs == 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_mistake_ends_the_grid(tmp_path, jobs):
    with pytest.raises(ValueError, match="no such format"):
        grid.run(work, tasks("mistake", 2, 3), tmp_path, jobs=jobs, progress=False)


def test_a_result_of_other_settings_is_refused(tmp_path):
    grid.run(work, tasks(1), tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"task-0\.json was made with x=1, not 2"):
        grid.run(work, tasks(2), tmp_path, progress=False)


@pytest.mark.parametrize("content", ["{", "[]", '{"result": 1}'])
def test_a_damaged_result_is_named(tmp_path, content):
    (tmp_path / "task-0.json").write_text(content)
    with pytest.raises(ValueError, match=r"task-0\.json: damaged .*delete it"):
        grid.run(work, tasks(1), tmp_path, progress=False)


def test_a_folder_of_another_experiment_is_refused_untouched(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"experiment": "formats"}))
    with pytest.raises(ValueError, match="experiment='formats', not 'linear-regression'"):
        reproduce.run("linear-regression", tmp_path, quick=True, progress=False)
    assert os.listdir(tmp_path) == ["settings.json"]


class Uphill:
    """A concave function: every step leads further away."""

    n, optimum = 3, np.zeros(2)

    def gradient(self, w, i):
        return -1e6 * w - 1


def test_sgd_that_diverges_says_when():
    with pytest.raises(FloatingPointError, match=r"not finite at step \d+ with a learning rate of 1"):
        list(sgd.iterates(Uphill(), np.ones((2, 2)), 1.0, None, 0, 3000, seed=0))
