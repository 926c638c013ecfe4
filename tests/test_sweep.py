"""A sweep gives the same results however it is run, keeps what it has computed, and names what went wrong."""

import functools
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lpnet as lp
from tests.processes import gone

GRID = {"lr": [0.5, 0.25], "fmt": ["bfp8", lp.FixedPoint(4, 2)], "count": 64}
here = []  # seeds of the calls that were made in this process


def noise(lr, fmt, seed, count=8):
    """Return figures of stochastic rounding by the default stream."""
    here.append(seed)
    x = np.full(count, np.float32(lr / 3))
    y = lp.quantize(x, fmt, "stochastic")
    return {"mean": y.mean(), "count": np.int64(count), "first": y[:2], "fmt_name": str(fmt)}


def square(x, seed=0):
    """Return the square of x, after what the seed says goes wrong."""
    here.append(x)
    if seed == 1:
        raise ValueError(f"no such\nthing as {x}")
    if seed == 2:
        os._exit(3)
    if seed == 3:
        raise KeyboardInterrupt
    return x * x


@pytest.fixture(autouse=True)
def nothing_called():
    here.clear()


def results(found):
    return [(run.call, run.result) for run in found.runs]


# What is run.


def test_results_are_those_of_calls_one_by_one_whatever_the_jobs():
    """Every call starts lpnet's stream from its seed, so neither order nor process shows; arrays come back as lists."""
    expected = []
    for lr in GRID["lr"]:
        for fmt in GRID["fmt"]:
            for seed in range(3):
                lp.manual_seed(seed)
                result = noise(lr, fmt, seed, 64)
                expected.append({**result, "mean": float(result["mean"]), "first": result["first"].tolist()})
    for jobs in (1, 2):
        found = lp.sweep(noise, GRID, 3, jobs)
        assert [run.result for run in found.runs] == expected
        assert [run.seed for run in found.runs] == [0, 1, 2] * 4
    assert len({r["mean"] for r in expected}) > 4  # the seed does show


def test_one_job_is_this_process_and_more_are_others():
    lp.sweep(square, {"x": [1, 2]}, jobs=1)
    assert here == [1, 2]
    lp.sweep(square, {"x": [3, 4]}, jobs=2)
    assert here == [1, 2]


def test_the_callers_stream_goes_on_where_it_was():
    lp.manual_seed(5)
    lp.quantize(np.ones(3, np.float32), "bfp8", "stochastic")
    before = lp.random.thread_stream().state_dict()
    lp.sweep(noise, GRID, 1, jobs=1)
    assert lp.random.thread_stream().state_dict() == before


@pytest.mark.parametrize(
    "grid, seeds, calls",
    [
        ({"x": (1, 2)}, None, [(1, 0), (2, 0)]),
        ({"x": np.array([1.5, 2.5])}, [7], [(1.5, 7), (2.5, 7)]),
        ({"x": iter([1, 2]), "seed": [0, 4]}, None, [(1, 0), (1, 4), (2, 0), (2, 4)]),
        ([{"x": 1}, {"x": 5, "seed": 9}], None, [(1, 0), (5, 9)]),
        ({"x": np.float32(2)}, np.array([4, 5]), [(2.0, 4), (2.0, 5)]),
        ({"x": range(2)}, 1, [(0, 0), (1, 0)]),
    ],
)
def test_a_grid_is_combinations_or_a_list_of_points(grid, seeds, calls):
    assert [tuple(run.call.values()) for run in lp.sweep(square, grid, seeds, jobs=1).runs] == calls


def test_settings_bound_by_partial_are_passed_on():
    found = lp.sweep(functools.partial(noise, count=3), {"lr": 0.5, "fmt": "bfp8"}, jobs=2)
    assert found.runs[0].result["count"] == 3


@pytest.mark.parametrize(
    "function, grid, seeds, jobs, words",
    [
        (3, {}, 1, 1, ["function", "3"]),
        (square, {"y": [1]}, 1, 1, ["square", "'x'"]),
        (square, {"x": []}, 1, 1, ["'x' has no values"]),
        (square, {"x": [1, 2, 1]}, 1, 1, ['"x": 1', "twice"]),
        (square, {"x": 1, "seed": [0, 1]}, 2, 1, ["'seed' of its own"]),
        (square, {"x": 1}, 0, 1, ["seeds", "at least 1", "0"]),
        (square, {"x": 1}, [], 1, ["seeds has no values"]),
        (square, {"x": 1}, [-1], 1, ["seed", "-1"]),
        (square, {"x": 1}, [0.5], 1, ["seed", "0.5"]),
        (square, {"x": 1}, "two", 1, ["seeds", "'two'"]),
        (square, {"x": 1}, 1, 0, ["jobs", "at least 1", "0"]),
        (square, {"x": 1}, 1, True, ["jobs", "True"]),
        (square, "x", 1, 1, ["grid", "'x'"]),
        (square, [], 1, 1, ["grid", "[]"]),
        (square, [1, 2], 1, 1, ["grid", "[1, 2]"]),
        (lambda x, seed: x, {"x": 1}, 1, 2, ["<lambda>", "top of a file"]),
        (square, {"x": object()}, 1, 1, ["repr", "at 0x"]),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_touches_nothing(function, grid, seeds, jobs, words, tmp_path):
    with pytest.raises(ValueError, match=r"^sweep: ") as caught:
        lp.sweep(function, grid, seeds, jobs, tmp_path / "new" / "out.jsonl")
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value) and not here and not list(tmp_path.iterdir())


# What is kept.


def test_what_the_file_holds_is_not_run_again(tmp_path):
    """A larger grid runs what is new, a smaller one nothing; results are those of a sweep without a file."""
    out = tmp_path / "new" / "out.jsonl"
    first = lp.sweep(noise, GRID, 2, 1, out)
    here.clear()
    again = lp.sweep(noise, GRID, 2, 1, out)
    assert results(again) == results(first) and not here
    larger = lp.sweep(noise, {**GRID, "lr": [0.25, 1.0, 0.5]}, 3, 1, out)
    assert len(here) == 18 - 8
    assert results(larger) == results(lp.sweep(noise, {**GRID, "lr": [0.25, 1.0, 0.5]}, 3, 1))
    here.clear()
    assert len(lp.sweep(noise, {"lr": 1.0, "fmt": "bfp8", "count": 64}, 1, 1, out).runs) == 1 and not here
    lp.sweep(noise, {"lr": 1.0, "fmt": "bfp8"}, 1, 1, out)  # a point with one setting less is another one
    assert here == [0]


def test_the_file_is_json_a_line(tmp_path):
    out = tmp_path / "out.jsonl"
    lp.sweep(square, {"x": [1, 2]}, jobs=1, out=out)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["function"], r["point"], r["seed"], r["result"]) for r in records] == [
        ("square", {"x": 1}, 0, 1),
        ("square", {"x": 2}, 0, 4),
    ]


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_line_that_was_not_written_whole_is_computed_again(tmp_path, cut):
    out = tmp_path / "out.jsonl"
    whole = lp.sweep(square, {"x": [1, 2, 3]}, jobs=1, out=out)
    lines = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:2]) + lines[2][:cut])
    here.clear()
    assert results(lp.sweep(square, {"x": [1, 2, 3]}, jobs=1, out=out)) == results(whole) and here == [3]
    here.clear()
    lp.sweep(square, {"x": [1, 2, 3]}, jobs=1, out=out)
    assert not here


@pytest.mark.parametrize("content", ["x,y\n1,2\n", "[]\n", '{"point": {}, "seed": 0}\n', "\x00\n"])
def test_a_file_of_something_else_is_refused_untouched(tmp_path, content):
    out = tmp_path / "out.csv"
    out.write_text(content)
    with pytest.raises(ValueError, match=r"sweep: line 1 of .*out\.csv is no result of a sweep"):
        lp.sweep(square, {"x": 1}, jobs=1, out=out)
    assert out.read_text() == content and not here


def test_results_of_another_function_and_folders_are_refused(tmp_path):
    lp.sweep(square, {"x": 1}, jobs=1, out=tmp_path / "out")
    with pytest.raises(ValueError, match="holds results of square, not of noise"):
        lp.sweep(noise, GRID, jobs=1, out=tmp_path / "out")
    with pytest.raises(ValueError, match="is a folder"):
        lp.sweep(square, {"x": 1}, jobs=1, out=tmp_path)


# What goes wrong.


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_is_that_of_its_run_and_is_tried_again(tmp_path, jobs, capsys):
    found = lp.sweep(square, {"x": [3, 4]}, [0, 1], jobs, tmp_path / "out")
    assert [row["result"] for row in found.rows] == [9, 16]
    assert [str(run) for run in found.failed] == ["x=3, seed=1", "x=4, seed=1"]
    assert found.failed[0].error == "ValueError: no such thing as 3" and "in square" in found.failed[0].traceback
    assert "sweep: x=4, seed=1: ValueError: no such thing as 4\n" in capsys.readouterr().err
    assert "x=3, seed=1: ValueError: no such thing as 3" in str(found)
    assert len((tmp_path / "out").read_text().splitlines()) == 2
    with pytest.raises(RuntimeError, match="2 of 4 runs failed; x=3, seed=1: ValueError: no such thing as 3") as caught:
        found.raise_first_error()
    assert "in square" in str(caught.value.__cause__)


def test_a_process_that_dies_is_the_error_of_its_run():
    found = lp.sweep(square, {"x": [3, 4]}, [0, 2], jobs=2)
    assert [row["result"] for row in found.rows] == [9, 16]
    assert [run.error for run in found.failed] == ["the process died with exit code 3"] * 2


def test_nothing_but_errors_is_an_error():
    with pytest.raises(RuntimeError, match="2 of 2 runs failed; x=3, seed=1: ValueError"):
        lp.sweep(square, {"x": [3, 4]}, [1], jobs=1)


def opaque(x, seed):
    return object()


def test_a_result_that_json_cannot_hold_is_an_error_that_says_so():
    with pytest.raises(RuntimeError, match="a result must be of numbers, text, lists and dictionaries, got object"):
        lp.sweep(opaque, {"x": 1}, jobs=1)


def test_an_interrupt_loses_nothing_that_was_computed(tmp_path):
    calls = [{"x": x, "seed": seed} for x, seed in ((1, 0), (2, 0), (3, 3), (4, 0))]
    with pytest.raises(KeyboardInterrupt):
        lp.sweep(square, calls, jobs=1, out=tmp_path / "out")
    here.clear()
    found = lp.sweep(square, [{**call, "seed": 0} for call in calls], jobs=1, out=tmp_path / "out")
    assert [run.result for run in found.runs] == [1, 4, 9, 16] and here == [3, 4]


SCRIPT = """
import os, sys, time
import lpnet as lp

def slow(x, seed):
    time.sleep(0 if x < 4 else 60)
    return x

{guard}
    lp.sweep(slow, {{"x": range(8)}}, jobs=2, out="out.jsonl")
"""


def start(tmp_path, guard):
    (tmp_path / "script.py").write_text(SCRIPT.format(guard=guard))
    environment = {**os.environ, "PYTHONPATH": str(Path(lp.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def slow(x, seed):
    """Stand for the function of the script, of which nothing is left to do."""
    raise AssertionError(x)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    "whom, how",
    [(os.kill, signal.SIGINT), (os.killpg, signal.SIGINT), (os.kill, signal.SIGKILL), (os.killpg, signal.SIGKILL)],
)
def test_a_signal_ends_all_processes_at_once_and_loses_nothing(tmp_path, whom, how):
    """From the terminal (all get the signal) or to the parent alone; what was there is not computed again."""
    process, out = start(tmp_path, "if __name__ == '__main__':"), tmp_path / "out.jsonl"
    while not out.exists() or len(out.read_text().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    started = time.monotonic()
    whom(process.pid, how)
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - started < 10 and process.returncode != 0
    assert error.count("KeyboardInterrupt") == (how == signal.SIGINT)
    assert gone(process.pid, within=5)  # the resource tracker of multiprocessing goes a little later
    assert [run.result for run in lp.sweep(slow, {"x": range(4)}, jobs=1, out=out).runs] == [0, 1, 2, 3]


def test_a_function_typed_at_a_prompt_is_refused_before_processes_look_for_it():
    """They would not find it; without other processes it runs."""
    program = "import lpnet as lp\ndef f(seed): return 1\nprint(lp.sweep(f, {}, 1, 1))\nlp.sweep(f, {}, 2, 2)"
    environment = {**os.environ, "PYTHONPATH": str(Path(lp.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].split() == ["|", "1", "|", "1", "|"]  # one job needs no other process
    assert done.stderr.splitlines()[-1].startswith("ValueError: sweep: f or the grid cannot be given to other proc")


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals of POSIX")
def test_no_interrupt_reaches_a_worker_that_starts(tmp_path):
    """Not the first either, before which multiprocessing starts its tracker, and lets interrupts through again."""
    (tmp_path / "script.py").write_text(HELD)
    environment = {**os.environ, "PYTHONPATH": str(Path(lp.__file__).parents[1])}
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"], done.stderr


HELD = """
import signal, time
import lpnet as lp

HELD = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # while this file is read

def held(seed):
    time.sleep(1)  # both workers are at it
    return HELD

if __name__ == "__main__":
    print(*(run.result for run in lp.sweep(held, {}, 2, 2).runs))
"""


def test_a_script_without_a_guard_is_told_so(tmp_path):
    """Its processes would each start the sweep again."""
    process = start(tmp_path, "if True:")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert error.splitlines()[-1].startswith("RuntimeError: the processes do not start: ") and "__main__" in error


# What is told.


def score(lr, seed, fmt="bfp8"):
    return {"error": lr + seed, "note": "text", "fmt": 0, **({"odd": seed} if seed else {})}


def test_the_table_has_means_and_deviations_by_point():
    """What all points share stands above it; figures that are no numbers are in the rows only."""
    found = lp.sweep(score, {"lr": [0.5, 2], "fmt": "bfp4"}, 3, jobs=1)
    values = [0.5, 1.5, 2.5]
    lines = str(found).splitlines()
    assert lines[0] == "fmt=bfp4" and lines[2].split() == ["|", "lr", "|", "runs", "|", "error", "|", "odd", "|"]
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert cells == ["0.5", "3", f"{statistics.mean(values):g} ± {statistics.stdev(values):g}", "1.5 ± 0.71"]
    assert len({len(line) for line in lines[2:]}) == 1
    assert found.rows[1] == {"lr": 0.5, "fmt": "bfp4", "seed": 1, "error": 1.5, "note": "text", "odd": 1}
    shown = re.findall(r"<(?:td|caption)[^>]*>(.*?)</", found._repr_html_())
    assert shown[:5] == ["fmt=bfp4", *cells]


def root(x, seed):
    return math.nan if x < 0 else x**0.5


def test_figures_without_names_and_without_deviation():
    text = str(lp.sweep(root, {"x": [-1, 4]}, jobs=1)).splitlines()
    assert text[0].split() == ["|", "x", "|", "runs", "|", "result", "|"]
    assert text[2].split()[-2] == "nan" and text[3].split()[-2] == "2"


def test_a_function_is_told_of_every_run_as_it_ends():
    told = []
    lp.sweep(square, {"x": [1, 2, 3]}, jobs=2, progress=told.append)
    assert sorted(run.result for run in told) == [1, 4, 9]
