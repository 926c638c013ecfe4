"""The server of the lab: a free port, the page behind its guard, from start to Ctrl-C."""

from __future__ import annotations

import errno
import socket
import threading
import webbrowser
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from lpnet.progress import say

from .guard import Guard, is_local
from .home import home

TRIED = 100  # ports from the first on
WARNING = (
    "lpnet lab: warning: listening on {}: whoever reaches this address may use the page and this machine's "
    "processors; there is no password and no encryption"
)


def run(host: str, port: int, browser: bool) -> None:
    """Serve the page until Ctrl-C."""
    listening = listen(host, range(port, min(port + TRIED, 65536)))
    address = url(host, listening.getsockname()[1])
    if not is_local(host):
        say(WARNING.format(address))
    print(f"lpnet lab: {address}  (Ctrl-C ends it)", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        serve(host, listening)
    except KeyboardInterrupt:
        print("lpnet lab: ended", flush=True)


def listen(host: str, ports: Sequence[int]) -> socket.socket:
    """Return a socket that listens on the first free port; raises OSError if there is none, or no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen()
            return listening
        except OSError as error:
            listening.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise OSError(f"lab: cannot listen on {host}: {error.strerror or error}") from error
    raise OSError(f"lab: no port from {ports[0]} to {ports[-1]} is free on {host}; choose another --port")


def url(host: str, port: int) -> str:
    """Return the address to open: of all addresses, the one on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def serve(host: str, listening: socket.socket) -> None:
    """Serve on a socket until a signal comes."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.page("/", title="lpnet lab", language="en-US", dark=None)(home)
    ui.run_with(app, title="lpnet lab", tailwind=False, show_welcome_message=False, dark=None)
    config = uvicorn.Config(Guard(app, host), log_level="warning", timeout_graceful_shutdown=1, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])
