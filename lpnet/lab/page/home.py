"""The page: a head, four tabs, and an address that says what is on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from .ball import BallPanel
from .controls import Panel, format_list
from .number import NumberPanel
from .rounding import RoundingPanel
from .training import TrainingPanel

PANELS: tuple[type[Panel], ...] = (NumberPanel, RoundingPanel, BallPanel, TrainingPanel)
INK = """<script>
// Charts are drawn in "currentColor". A canvas takes that from its own style: it gets the page's, and again when
// the page turns dark or light.
const ink = (canvas) => {
  canvas.style.color = getComputedStyle(document.body).color;
  getElement(Number(canvas.closest(".chart").id.slice(1)))?.chart?.resize();
};
new MutationObserver(() => document.querySelectorAll(".chart canvas").forEach(ink))
  .observe(document.body, { attributeFilter: ["class"] });
new MutationObserver(() => document.querySelectorAll(".chart canvas:not([style*=' color:'])").forEach(ink))
  .observe(document.body, { childList: true, subtree: true });
</script>"""
STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def home(request: Request) -> None:
    """Build the page that an address asks for, with a state of its own."""
    Home(dict(request.query_params))


class Home:
    """What one browser tab looks at."""

    def __init__(self, query: Mapping[str, str]) -> None:
        names = [panel.name for panel in PANELS]
        self.open = query.get("tab", names[0]) if query.get("tab") in names else names[0]
        self.panels = {p.name: p(query if p.name == self.open else {}, self.changed) for p in PANELS}
        ui.add_css(STYLE)
        ui.add_body_html(INK)
        ui.colors(primary="#0072B2", secondary="#D55E00", accent="#B0568A")
        self.dark = ui.dark_mode(None)
        ui.skip_link(target=self._build())
        format_list()
        ui.context.client.on_delete(self.leave)

    def _build(self) -> ui.element:
        with ui.header().classes("head"):
            ui.label("lpnet lab").classes("brand").props("role=heading aria-level=1")
            # its values are the names of tabs, too
            with ui.tabs(value=self.open, on_change=lambda event: self.turn(event.value)) as tabs:  # type: ignore[arg-type]
                tabs.props("no-caps dense")
                for panel in self.panels.values():
                    ui.tab(panel.name, panel.title)
            ui.button(icon="contrast", on_click=self.shade).props('flat round dense aria-label="Dark or light"')
        self.places = {}
        with ui.tab_panels(tabs, value=self.open, animated=False).classes("panels") as main:
            for panel in self.panels.values():
                with ui.tab_panel(panel.name) as self.places[panel.name]:
                    pass
        main.props("role=main")
        with self.places[self.open]:
            self.panels[self.open].show()
        return main

    def turn(self, name: str) -> None:
        """Turn to another tab."""
        self.panels[self.open].leave()
        self.open = name
        with self.places[name]:
            self.panels[name].show()
        self.changed()

    def changed(self) -> None:
        """Let the address say what is on the page."""
        ui.navigate.history.replace("?" + urlencode({"tab": self.open, **self.panels[self.open].address()}))

    async def shade(self) -> None:
        """Turn from light to dark, or back."""
        dark = await ui.run_javascript("document.body.classList.contains('body--dark')")
        self.dark.set_value(not dark)

    def leave(self) -> None:
        """End all that is being computed: the browser tab is closed."""
        for panel in self.panels.values():
            panel.leave()
