"""The tab Noise ball on the page."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from .. import ball
from ..ball import Frame
from .charts import GREEN, GREY, INK, SGD, SWALP, axis, chart, dots, legend, line
from .controls import Program, Table, fill
from .play import Player

REACH = 0.5  # of the picture around the best weights
NAMES = ["SGD-LP", "SWALP", "theory", "nearest numbers"]


class BallPanel(Player):
    """The bowl, the cloud of SGD-LP and the way out."""

    name, title, fields = "ball", "Noise ball", ball.FIELDS
    job = staticmethod(ball.job)

    def build(self) -> None:
        """Controls to the left, figures to the right."""
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("controls").props('aria-label="Controls"'):
                self.buttons()
                self.controls()
            with ui.element("section").classes("figures").props('aria-label="Figures"'):
                self.messages()
                with ui.element("div").classes("pair"):
                    words = "the bowl from above: where SGD-LP was, and the path of SWALP's average to the best weights"
                    self.plane = chart(_plane(), words).classes("square")
                    words = "squared distance to the best weights against steps of averaging: SGD-LP, SWALP, theory"
                    self.curves = chart(_curves(), words, 440)
                self.facts = Table("Squared distance to the best weights, mean of the copies")
                self.print = ui.label().classes("caption fingerprint")
                self.program = Program("The same in Python")

    def prepare(self, settings: dict[str, Any]) -> None:
        """Show the bowl, the theory and the program."""
        self.lines = ball.lines(settings)
        self.program.show(ball.python(settings))
        low, high = min(y for _, y in self.lines.nearest), self.lines.nearest[-1][0]
        floor = [y for _, y in self.lines.slope] or [low]
        self.curves.options["xAxis"] |= {"min": settings["cycle"], "max": max(high, 10)}
        self.curves.options["yAxis"] |= {"min": 10.0 ** _floor10(min(*floor, low) / 2), "max": 1}

    def draw(self, frame: Frame) -> None:
        """Show a frame."""
        self.status.set_text(f"step {frame.step} of {frame.steps}, {frame.averaged} averaged")
        fixed = self.lines
        sized = [{"value": [x, y], "symbolSize": 2 + 12 * share**0.5} for x, y, share in frame.cloud]
        self.plane.options["series"] = [
            *(line("the same loss", ring, GREY, 1, opacity=0.4) for ring in fixed.rings),
            dots(sized, SGD, name="SGD-LP"),
            line("SWALP", frame.path, SWALP, 3),
            dots([frame.now], INK, 8, "emptyCircle", name="now"),
            dots(
                [fixed.best],
                INK,
                16,
                "path://M-1,0 L1,0 M0,-1 L0,1",
                name="best",
                itemStyle={"color": INK, "borderColor": INK, "borderWidth": 2},
            ),
        ]
        self.plane.update()
        self.curves.options["series"] = [
            line("SGD-LP", frame.sgd, SGD, 3),
            line("SWALP", frame.swalp, SWALP, 3),
            line("theory", fixed.slope, INK, 2, "dashed"),
            line("theory", fixed.floor, INK, 2, "dashed"),
            line("nearest numbers", fixed.nearest, GREEN, 2, "dotted"),
        ]
        self.curves.update()
        fill(self.facts, ["", "value"], frame.table)
        self.print.set_text(f"fingerprint {frame.fingerprint}")


def _floor10(x: float) -> int:
    return int(f"{x:e}".partition("e")[2])


def _plane() -> dict[str, Any]:
    best = ball.bowl()[0]
    ends: list[dict[str, Any]] = [{"min": x - REACH, "max": x + REACH} for x in best.tolist()]
    hidden: dict[str, Any] = {"axisLabel": {"show": False}, "axisTick": {"show": False}, "axisLine": {"show": False}}
    return {
        "grid": {"left": 5, "right": 5, "top": 5, "bottom": 5},
        "xAxis": axis(**ends[0], **hidden),
        "yAxis": axis(**ends[1], **hidden),
        "series": [],
    }


def _curves() -> dict[str, Any]:
    return {
        "grid": {"left": 60, "right": 20, "top": 60, "bottom": 45},
        "legend": legend(NAMES),
        "series": [],
        "xAxis": axis("steps of averaging, T", "log", nameGap=28),
        "yAxis": axis("", "log"),
    }
