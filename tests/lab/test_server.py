"""The lab serves its own pages to this machine, and to nobody in their name."""

import asyncio
import urllib.error
import urllib.request

import pytest

for needed in ("nicegui", "fastapi", "uvicorn"):
    pytest.importorskip(needed, reason=f"{needed} is not installed: the lab's page is not tried")

from lpnet.lab.page.guard import Guard, is_local  # noqa: E402
from lpnet.lab.page.server import listen, url  # noqa: E402

from .browser import Server  # noqa: E402

REQUESTS = [  # listening on, Host, Origin, allowed
    ("127.0.0.1", "127.0.0.1:8080", None, True),
    ("127.0.0.1", "localhost:8080", "http://localhost:8080", True),
    ("127.0.0.1", "[::1]:8080", None, True),
    ("127.0.0.1", "evil.example", None, False),
    ("127.0.0.1", "192.168.0.7:8080", None, False),
    ("127.0.0.1", "127.0.0.1:8080", "http://evil.example", False),
    ("127.0.0.1", "127.0.0.1:8080", "http://127.0.0.1:9999", False),
    ("127.0.0.1", "127.0.0.1:8080", "null", False),
    ("0.0.0.0", "192.168.0.7:8080", None, True),
    ("0.0.0.0", "evil.example", None, False),
]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("host, name, origin, allowed", REQUESTS)
def test_who_may_ask(kind, host, name, origin, allowed):
    """A request reaches the page if it is to the lab's own name and from its own pages; else it is refused."""
    asked, sent = [], []

    async def app(scope, receive, send):
        asked.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    given = [(b"host", name.encode()), *([(b"origin", origin.encode())] if origin else [])]
    asyncio.run(Guard(app, host)({"type": kind, "headers": given}, None, send))
    assert bool(asked) == allowed
    if allowed:
        assert (b"x-frame-options", b"DENY") in sent[0]["headers"]
    else:
        assert sent[0].get("status", sent[0].get("code")) in (403, 1008)


def test_addresses():
    """Loopback is local; a busy port is passed over, none at all is one sentence."""
    assert [is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0")] == [True, True, True, False]
    assert url("0.0.0.0", 8080) == "http://127.0.0.1:8080/" and url("::1", 9) == "http://[::1]:9/"
    first = listen("127.0.0.1", [0])
    port = first.getsockname()[1]
    with pytest.raises(OSError, match=r"no port .* is free"):
        listen("127.0.0.1", [port])
    with pytest.raises(OSError, match=r"cannot listen on 203\.0\.113\.9"):
        listen("203.0.113.9", [0])
    first.close()


EVIL = {"Origin": "http://evil.example"}
SOCKET = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": 22 * "A"}
SOCKET_IO = "_nicegui_ws/socket.io/?EIO=4&transport="
FOREIGN = [  # what the server refuses: its page, its events by either way, and a name that is not its own
    ("", EVIL),
    (f"{SOCKET_IO}polling", EVIL),
    (f"{SOCKET_IO}websocket", EVIL | SOCKET),
    ("", {"Host": "evil.example"}),
]


def test_the_server_starts_answers_and_ends(tmp_path):
    """It shows its page with every tab's name, refuses other origins, ends by Ctrl-C, and starts again."""
    for _ in range(2):
        server = Server("--port", "18600", cwd=tmp_path)
        try:
            page = urllib.request.urlopen(server.url, timeout=20).read().decode()
            assert "lpnet lab" in page
            for name in "Number", "Rounding", "Noise ball", "Training":
                assert name in page
            for place, headers in FOREIGN:
                foreign = urllib.request.Request(server.url + place, headers=headers)
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    urllib.request.urlopen(foreign, timeout=20)
        finally:
            code, said = server.end()
        assert code == 0 and "127.0.0.1" in server.url and "Traceback" not in said, said
    assert not list(tmp_path.iterdir())
