"""Who may ask: pages of the lab's own address, and nobody in their name.

Any page in a browser may send requests to 127.0.0.1. What another site sends has its `Origin`; a name of its own that
it lets point here (DNS rebinding) shows in `Host`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

POLICY = (  # all comes from here; NiceGUI compiles its templates in the page
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'; form-action 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """Wraps an ASGI application: refuses foreign origins and hosts, and forbids pages to be framed or to fetch.

    Parameters: app; host, the address that is listened on.
    """

    def __init__(self, app: App, host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif not self.allowed(headers(scope)):
            await _refuse(scope, send)
        else:
            await self.app(scope, receive, _with_headers(send))

    def allowed(self, given: dict[str, list[str]]) -> bool:
        """Return whether the request is to the lab by a name that is its own, and from its own pages."""
        hosts, origins = given.get("host", []), given.get("origin", [])
        if len(hosts) != 1 or not self.is_ours(_name(hosts[0])):
            return False
        return all(origin in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins)

    def is_ours(self, name: str) -> bool:
        """Return whether a name in `Host` is this machine's: no foreign site can have an address for its name."""
        if name in ("localhost", "127.0.0.1", "::1", self.host.lower()):
            return True
        return not is_local(self.host) and (name == socket.gethostname().lower() or _is_address(name))


def headers(scope: Scope) -> dict[str, list[str]]:
    """Return the headers of a request, several of one name in a list."""
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def is_local(host: str) -> bool:
    """Return whether what is listened on can be reached from this machine only."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return a `Host` without its port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        await send(message)

    return sending


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before it was accepted: 403
        return
    text = b"lpnet lab: this request is from another site, or to another name than the lab's; it is refused\n"
    await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})
