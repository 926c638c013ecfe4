"""The tab Rounding on the page."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from .. import rounding
from ..rounding import Frame
from .charts import GREY, INK, SGD, SWALP, axis, chart, legend, line
from .controls import Program, Table, fill
from .play import Player


class RoundingPanel(Player):
    """Many copies of a weight that take small updates."""

    name, title, fields = "rounding", "Rounding", rounding.FIELDS
    job = staticmethod(rounding.job)

    def build(self) -> None:
        """Controls to the left, figures to the right."""
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("controls").props('aria-label="Controls"'):
                self.buttons()
                self.controls()
            with ui.element("section").classes("figures").props('aria-label="Figures"'):
                self.messages()
                with ui.element("div").classes("pair"):
                    words = "weight against steps: exact, the mean of the copies, some copies"
                    self.paths = chart(_paths(), words, 340)
                    self.bars = chart(_bars(), "how many copies have which weight", 340)
                self.facts = Table("After these steps")
                self.print = ui.label().classes("caption fingerprint")
                self.program = Program("The same in Python")

    def prepare(self, settings: dict[str, Any]) -> None:
        """Show the program."""
        rounding.Record(settings)  # raises for a format that does not take the weight
        self.program.show(rounding.python(settings))

    def draw(self, frame: Frame) -> None:
        """Show a frame."""
        self.status.set_text(f"step {frame.step} of {frame.steps}")
        copies = [line("a copy", path, SGD, 1, opacity=0.5) for path in frame.paths]
        spread = [line("spread", edge, SGD, 2, "dotted") for edge in (frame.low, frame.high)]
        middle = [line("mean", frame.mean, SWALP, 3), line("exact", frame.exact, INK, 2, "dashed")]
        self.paths.options["series"] = [*copies, *spread, *middle]
        self.paths.update()
        self.bars.options["series"] = [
            {
                "type": "bar",
                "data": frame.bars,
                "itemStyle": {"color": SGD},
                "silent": True,
                "barMinWidth": 2,
                "barMaxWidth": 14,
            }
        ]
        self.bars.update()
        fill(self.facts, ["", "value"], frame.table)
        self.print.set_text(f"fingerprint {frame.fingerprint}")


def _paths() -> dict[str, Any]:
    return {
        "grid": {"left": 60, "right": 20, "top": 40, "bottom": 45},
        "legend": legend(["exact", "mean", "spread", "a copy"]),
        "xAxis": axis("steps", nameGap=28),
        "yAxis": axis(scale=True),
        "series": [],
    }


def _bars() -> dict[str, Any]:
    return {
        "grid": {"left": 60, "right": 20, "top": 40, "bottom": 45},
        "title": {"text": "copies", "textStyle": {"color": INK, "fontSize": 13}, "left": 0},
        "xAxis": axis("weight", nameGap=28, scale=True, splitLine={"show": False}),
        "yAxis": axis(splitLine={"lineStyle": {"color": GREY, "opacity": 0.3}}),
        "series": [],
    }
