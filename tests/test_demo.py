"""The demonstration, tiny: a table and a picture come out, and every figure is from a run that repeats."""

import re

import pytest

from lpnet import demo


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
