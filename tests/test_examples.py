"""The walkthroughs run as a reader would run them, and end with a picture or a table."""

import os
import pathlib
import subprocess
import sys

import pytest

EXAMPLES = sorted((pathlib.Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))
SHORT = {"03_train_in_4_bits.py": ["3"]}  # epochs
PICTURES = {"02_number_formats.py", "03_train_in_4_bits.py"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_run_and_show_something(path, tmp_path):
    """Each is at most 60 lines, ends without an error or a warning, and prints a table within 80 columns."""
    assert len(path.read_text().splitlines()) <= 60
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, path, *SHORT.get(path.name, [])], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    picture = tmp_path / f"{path.stem}.png"
    assert not picture.exists() if path.name not in PICTURES else picture.read_bytes().startswith(b"\x89PNG")


def test_there_is_a_walkthrough_for_each_first_step():
    """The numbers run without a gap from 01."""
    assert [p.name[:2] for p in EXAMPLES] == [f"{i:02}" for i in range(1, len(EXAMPLES) + 1)]
