"""Every test here sees no data folder of this machine, an empty cache and no network."""

import pytest

from tests.alone import leave_alone


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """An empty folder to run in."""
    leave_alone(tmp_path, monkeypatch)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path
