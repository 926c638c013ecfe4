"""Every test here sees an empty cache, no data folder of this machine and no network."""

import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from lpnet.data import sources


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of lpnet's; nothing else of this machine is seen."""

    def no_network(address, **_):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.delenv("LPNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setitem(
        sources.SOURCES, "fashion_mnist", replace(sources.FASHION_MNIST, system=tmp_path / "system" / "fashion-mnist")
    )
    return tmp_path / "cache" / "lpnet"
