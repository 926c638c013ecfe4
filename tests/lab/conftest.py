"""The lab and a browser for the tests of its page: one of each, since both take seconds to start."""

import pytest

from ..loud import skip_loudly
from .browser import Browser, Server, chromium


@pytest.fixture(scope="session")
def server():
    """Return the lab, served by a process of its own."""
    pytest.importorskip("nicegui", reason="NiceGUI is not installed: the lab's page is not tried")
    served = Server("--port", "18700")
    yield served
    code, said = served.end()
    assert code == 0 and "Traceback" not in said, said


@pytest.fixture(scope="session")
def chrome():
    """Return Chromium."""
    pytest.importorskip("selenium", reason="Selenium is not installed: the lab's page is not tried")
    if None in chromium():
        skip_loudly("there is no Chromium (apt-get install chromium chromium-driver): NOBODY LOOKED AT THE LAB'S PAGE")
    started = Browser()
    yield started
    started.quit()


@pytest.fixture
def page(chrome, server):
    """Return Chromium, with `go` to an address of the lab; afterwards the page must have complained of nothing."""
    chrome.size(1200, 1400)
    chrome.go = lambda address="": chrome.open(server.url + address)
    yield chrome
    assert chrome.errors() == []
