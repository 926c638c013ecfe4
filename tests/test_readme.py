"""What the README shows, works."""

import hashlib
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import lpnet as lp

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_picture_is_of_the_chapter_as_it_is():
    """Whoever changes chapter 07 draws it anew: python examples/readme_picture.py."""
    chapter = (ROOT / "examples/07_the_noise_ball.py").read_bytes()
    assert f"sha256 {hashlib.sha256(chapter).hexdigest()[:16]}<" in (ROOT / "docs/noise-ball.svg").read_text()


def test_the_first_program_learns_and_its_average_gains(capsys):
    """From seeds 0 to 3 twelve epochs in 4 bits learn, and the average has a tenth fewer errors than the last weights.

    Both in float, and within a point as many as the README says: another BLAS adds up in another order, and after that
    other images are wrong.
    """
    errors = {"model": [], "averaged": []}
    for seed in range(4):
        names = {}
        lp.manual_seed(seed)
        exec(PROGRAMS[0].replace("swalp=swalp)", "swalp=swalp, progress=False)"), names)
        for name, found in errors.items():
            found.append(lp.evaluate(names[name], names["test"])["error"])
    assert max(errors["averaged"]) < 10 and "error" in capsys.readouterr().out  # by chance 90
    last, average = (np.mean(found) for found in errors.values())
    assert average < 0.9 * last, (last, average)
    told = re.search(r"the last weights have ([\d.]+) % of errors, their average ([\d.]+) %", README)
    assert [last, average] == pytest.approx([float(figure) for figure in told.groups()], abs=1)


def test_the_format_of_ones_own_rounds_to_powers_of_two():
    """The README's format gives powers of two, within a factor of one and a half."""
    names = {}
    exec(PROGRAMS[1], names)
    x = np.random.default_rng(0).uniform(0.01, 100, 1000).astype(np.float32)
    y = names["PowerOfTwo"]().quantize(x)
    assert (np.frexp(y)[0] == 0.5).all()
    assert (np.abs(np.log2(y / x)) < 0.6).all()
    for dtype in (np.float32, np.float64):
        powers = np.ldexp(np.ones(39, dtype), np.arange(-19, 20))
        below, fmt = np.nextafter(powers, dtype(0)), names["PowerOfTwo"]()
        np.testing.assert_array_equal(fmt.quantize(below, "floor"), powers / 2)
        np.testing.assert_array_equal(fmt.quantize(below), powers)


def test_the_sweep_prints_a_table_of_its_grid(tmp_path):
    """The program as a file, on one epoch: a row a point, and a line of the file for every run."""
    program = next(program for program in PROGRAMS if "lp.sweep" in program)
    (tmp_path / "errors.py").write_text(program.replace("epochs=4", "epochs=1"))
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(lp.__file__).parents[1])}
    done = subprocess.run([sys.executable, "errors.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert rows[0] == ["lr", "precision", "runs", "result"]
    points = [["0.02", "bfp8"], ["0.02", "bfp4"], ["0.1", "bfp8"], ["0.1", "bfp4"]]
    assert [row[:3] for row in rows[2:]] == [[*point, "4"] for point in points]
    assert len((tmp_path / "errors.jsonl").read_text().splitlines()) == 16


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)(.*?)\)", README))
def test_links_lead_somewhere(path):
    """Every relative link is a file of the repository."""
    assert (pathlib.Path(__file__).parent.parent / path.partition("#")[0]).exists()
