"""The lab: a page in the browser on which low-precision training can be seen. `lpnet lab` serves it.

In the order in which they are read: fields (what can be set, and what an address says), work (computing beside the
page), the tabs' figures (number, rounding, ball, training), which know nothing of the page, charts, page and its tabs,
guard and server. The lab uses lpnet by its public names, as any program does, and needs NiceGUI (the extra `lab`).
"""

from __future__ import annotations


def serve(host: str = "127.0.0.1", port: int = 8180, browser: bool = True) -> None:
    """Serve the page until Ctrl-C, on the first free port from `port` on; `browser` opens it.

    Raises ImportError without NiceGUI, OSError if there is no such address or no free port.
    """
    try:
        from .page.server import run
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != "nicegui":
            raise
        raise ImportError("the lab needs NiceGUI: pip install 'lpnet[lab]'") from error
    run(host, port, browser)
