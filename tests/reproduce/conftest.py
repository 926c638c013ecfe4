"""Every test here sees no data folder of this machine, an empty cache and no network."""

import urllib.error

import pytest


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """An empty folder to run in."""

    def no_network(address, **_):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.delenv("LPNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.chdir(tmp_path)
    return tmp_path
