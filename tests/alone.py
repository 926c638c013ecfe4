"""What makes a test see nothing of this machine."""

import urllib.error
import urllib.request


def leave_alone(tmp_path, monkeypatch):
    """No data folder, an empty cache in tmp_path, and no network."""

    def no_network(address, **_):
        raise urllib.error.URLError("no network in tests")

    monkeypatch.delenv("LPNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
