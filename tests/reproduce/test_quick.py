"""Every experiment's quick version runs on what the package brings, and each figure lies in its band."""

import dataclasses
import json

import pytest

from lpnet import cli, reproduce
from lpnet.reproduce.report import Verdict

QUICK = list(reproduce.EXPERIMENTS)


@pytest.mark.parametrize("name", QUICK)
def test_the_quick_version_passes(name, capsys, tmp_path):
    """Exit code 0, verdicts and tables within 80 columns; results as JSON, a Markdown table and a picture."""
    code = cli.main(["reproduce", name, "--quick", "--jobs", "1"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert max(map(len, out.splitlines())) <= 80
    folder = tmp_path / "runs" / f"{name}-quick"
    content = json.loads((folder / "results.json").read_text())
    assert content["passed"] and content["verdicts"] and all(v["passed"] for v in content["verdicts"])
    assert (folder / "table.md").read_text().strip() in out
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", reproduce.EXPERIMENTS.values())
@pytest.mark.parametrize("quick", [True, False])
def test_every_experiment_is_a_value_with_tasks_of_its_own(kind, quick):
    """Frozen settings, a line that says what is asked and whence, tasks of different names that are values, too."""
    experiment = kind.quick() if quick else kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.seeds = 1
    assert reproduce.EXPERIMENTS[kind.name] is kind and len(kind.question) <= 59 and kind.source and kind.__doc__
    tasks = experiment.tasks()
    assert len({task.name for task in tasks}) == len(tasks) == len(set(tasks))
    assert not any(" at 0x" in repr(task) for task in tasks)  # by its repr a task is known to the file


def test_the_list_has_a_line_for_each(capsys):
    assert cli.main(["reproduce"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == QUICK and max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["linear-regresion"], ["'linear-regresion'", "linear-regression"]),
        (["formats", "--paper", "cifar10"], ["classification"]),
        (["classification", "--paper", "mnist"], ["--paper", "cifar10"]),
        (["formats", "--jobs", "0"], ["--jobs", "at least 1"]),
        (["formats", "--device", "gpu"], ["--device", "cuda"]),
        (["classification", "--data-dir", "missing"], ["missing", "train-images-idx3-ubyte"]),
        (["classification", "--paper", "cifar100", "--data-dir", "missing"], ["missing", "cifar-100-binary.tar.gz"]),
        (["logistic-regression"], ["MNIST", "--data-dir"]),
    ],
)
def test_a_mistake_is_one_clear_line_and_leaves_nothing(arguments, words, capsys, nowhere):
    before = sorted(nowhere.rglob("*.json"))
    assert cli.main(["reproduce", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("lpnet: error: ") and error.count("\n") == 1 and all(w in error for w in words), error
    assert sorted(nowhere.rglob("*.json")) == before and not (nowhere / "runs").exists()


def test_a_figure_outside_of_its_band_is_exit_code_1(monkeypatch, capsys):
    failed = reproduce.Report([], [Verdict("claim", "2", "at most 1", False)])
    monkeypatch.setattr(reproduce, "run", lambda *_, **__: failed)
    assert cli.main(["reproduce", "formats"]) == 1
    assert "FAIL  claim: 2 (at most 1)" in capsys.readouterr().out
