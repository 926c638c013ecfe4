"""Every test here sees an empty cache, no data folder of this machine and no network."""

from dataclasses import replace

import pytest

from lpnet.data import sources
from tests.alone import leave_alone


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of lpnet's; nothing else of this machine is seen."""
    leave_alone(tmp_path, monkeypatch)
    monkeypatch.setitem(
        sources.SOURCES, "fashion_mnist", replace(sources.FASHION_MNIST, system=tmp_path / "system" / "fashion-mnist")
    )
    return tmp_path / "cache" / "lpnet"
