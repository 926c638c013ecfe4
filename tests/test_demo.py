"""The demonstration, tiny: a table and a picture come out, and every figure is from a run that repeats."""

import re

import pytest

from lpnet.reproduce import demo
from lpnet.sweeps import Run, Sweep


def test_a_tiny_run_writes_the_table_and_the_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "METHODS", (demo.METHODS[0], *demo.METHODS[3:]))
    text = demo.run(tmp_path / "out", seeds=2, epochs=3, progress=False)
    assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8") == text
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [m.name in text for m in demo.METHODS] == [True] * len(demo.METHODS) and len(rows) >= len(demo.METHODS)
    for row in rows:
        figures = [float(x) for x in re.findall(r"\d+\.\d+", row)]
        assert len(figures) == 4 and all(0 <= x <= 100 for x in figures), row
    assert "2 seeds, 3 epochs" in text and max(map(len, rows)) <= 80


def test_a_run_repeats_from_its_seed():
    method = demo.METHODS[-1]
    assert demo.train_one(method, seed=1, epochs=3) == demo.train_one(method, seed=1, epochs=3)


@pytest.mark.parametrize("seeds, epochs", [(1, 60), (3, 2)])
def test_too_small_a_demonstration_is_refused_before_anything_is_written(tmp_path, seeds, epochs):
    with pytest.raises(ValueError, match=f"{seeds} and {epochs}"):
        demo.run(tmp_path / "out", seeds, epochs)
    assert not (tmp_path / "out").exists()


def made(curve=((2, 30.0), (3, 20.0))):
    result = demo.Result(errors=(1.0, 2.0), last_errors=(1.5, 2.5), curve=list(curve))
    return {method: [result] * 2 for method in demo.METHODS}


def test_a_picture_that_cannot_be_drawn_leaves_the_table(tmp_path, monkeypatch, capsys):
    """It is printed and on the disk before drawing begins."""

    def draw(*_):
        assert (tmp_path / "table.md").exists() and "| float, SGD" in capsys.readouterr().out
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr(demo, "_train_all", lambda *_: made())
    monkeypatch.setattr(demo, "_draw", draw)
    assert demo.run(tmp_path, 2, 3) == (tmp_path / "table.md").read_text(encoding="utf-8")
    captured = capsys.readouterr()
    assert "latex could not be found" in captured.err and "curves" not in captured.out


def test_a_curve_ends_with_the_tables_figure():
    """Picture and table evaluate alike: in float, the statistics of BatchNorm estimated anew."""
    for method in (demo.METHODS[0], demo.METHODS[-1]):
        result = demo.train_one(method, seed=0, epochs=3)
        assert result["curve"][-1] == (3, result["errors"][0])


def test_measuring_does_not_change_the_training(monkeypatch):
    """As often as the curve has points, the last weights are the same."""
    results = [demo.train_one(demo.METHODS[-1], 0, 3)]
    monkeypatch.setattr(demo, "CURVE", 1)
    results.append(demo.train_one(demo.METHODS[-1], 0, 3))
    assert all(results[0][what] == results[1][what] for what in ("errors", "last_errors"))


def test_the_first_line_says_how_much_there_is_to_do_and_then_each_run(monkeypatch):
    def sweep(function, grid, seeds, jobs, progress):
        runs = [Run({"method": m, "seed": s}, made()[m][0]) for m in grid["method"] for s in range(seeds)]
        progress(runs[0])
        return Sweep(runs)

    monkeypatch.setattr(demo, "sweep", sweep)
    told = []
    assert demo._train_all(2, 3, told.append, "cpu") == made()
    assert told[0].startswith("10 runs of 3 epochs, ")
    assert told[1:] == ["  1 of 10: 4 bits, SWALP, seed 0: test error 1.00 %"]
