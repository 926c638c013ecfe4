"""The tab Training on the page."""

from __future__ import annotations

from typing import Any

from nicegui import ui

import lpnet as lp

from .. import observe, training
from ..observe import Detail, Frame
from ..samples import samples
from .charts import GREY, INK, SGD, SWALP, axis, chart, legend, line
from .controls import Program, Table, fill
from .plane import Plane
from .play import Player

UPDATES = ["parameter", "numbers", "moved", "swallowed", "overshot", "update / gap", "", ""]
ROUNDED = ["layer", "role", "numbers", "exact", "SQNR", "saturated", "to zero"]


class TrainingPanel(Player):
    """A network that trains, and what rounding does to it."""

    name, title, fields = "training", "Training", training.FIELDS
    job = staticmethod(observe.job)
    at_once = False

    def build(self) -> None:
        """Controls to the left, figures to the right."""
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("controls").props('aria-label="Controls"'):
                self.buttons()
                self.controls()
                self.about = ui.label().classes("caption")
            with ui.element("section").classes("figures").props('aria-label="Figures"'):
                self.messages()
                with ui.element("div").classes("quartet"):
                    with ui.element("div").classes("tiles"):
                        words = "against epochs: of the training, on the test set, of SWALP's average"
                        self.loss = chart(_curves("loss", "log"), f"loss {words}", 300)
                        self.error = chart(_curves("error, %", "value"), f"error in per cent {words}", 300)
                    self.decisions = ui.element("div").classes("tiles")
                    with self.decisions:
                        self.maps = [self._map(words) for words in ("the weights", "SWALP's average")]
                self.weights = ui.element("div").classes("tiles")
                with ui.element("div").classes("tables"):
                    self.updates = Table("The updates of the last step that was watched (lp.watch)")
                    self.rounded = Table("What rounding did to its layers (lp.trace)")
                self.notes = ui.label().classes("caption notes")
                self.print = ui.label().classes("caption fingerprint")
                self.program = Program("The same in Python")

    def _map(self, words: str) -> Plane:
        with ui.element("div"):
            ui.label(f"Decision of {words}").classes("subtitle")
            return Plane(f"decision of {words}, and the points they learn from")

    def values(self) -> dict[str, Any]:
        """Return the arguments of the training."""
        return training.settings(super().values())

    def prepare(self, settings: dict[str, Any]) -> None:
        """Show the data and the program."""
        self.program.show(training.python(settings))
        recipe = settings["recipe"]
        for role in (*training.ROLES, "rounding"):
            self.entries[role].set_visibility(not recipe)
        self.about.set_text(_first_sentence(lp.recipes.RECIPES[recipe]) if recipe else "")
        self.entries["hidden"].set_visibility(settings["network"] == "mlp")
        flat = settings["data"] != "digits"
        self.decisions.set_visibility(flat)
        if flat:
            for plane in self.maps:
                plane.points(*samples(settings["data"], settings["seed"])[0])
        self.bars: dict[str, ui.echart] = {}
        self.epochs = -1  # that the chart of errors shows
        self.detail: Detail | None = None  # that is shown
        self.weights.clear()

    def draw(self, frame: Frame) -> None:
        """Show a frame."""
        self.status.set_text(
            f"step {frame.step} of {frame.steps}, epoch {frame.epoch} of {frame.epochs}, loss {frame.loss:.4f}"
        )
        self._draw_curves(frame)
        if frame.detail is not None and frame.detail is not self.detail:
            self.detail = frame.detail
            self._draw_detail(frame.detail)
        self.print.set_text(f"fingerprint {frame.fingerprint}" if frame.fingerprint else "")

    def _draw_detail(self, detail: Detail) -> None:
        for plane, p in zip(self.maps, detail.decision, strict=False):
            plane.show(p)
        self._draw_weights(detail)
        if detail.updates:
            fill(self.updates, UPDATES, detail.updates)
            fill(self.rounded, ROUNDED, detail.rounded)
            self.notes.set_text("\n".join(detail.notes))

    def _draw_curves(self, frame: Frame) -> None:
        steps = line("training, a step", frame.losses, GREY, 1)
        self._draw_curve(self.loss, frame, [steps, *_tested(frame, "loss")])
        if len(frame.log) != self.epochs:  # a chart that stays costs the browser nothing
            self.epochs = len(frame.log)
            epochs = line("training", _column(frame, "train_error"), GREY, 2)
            self._draw_curve(self.error, frame, [epochs, *_tested(frame, "error")])

    @staticmethod
    def _draw_curve(plot: ui.echart, frame: Frame, lines: list[dict[str, Any]]) -> None:
        plot.options["series"] = lines
        plot.options["xAxis"]["max"] = frame.epochs
        plot.update()

    def _draw_weights(self, detail: Detail) -> None:
        for name, bars in detail.weights.items():
            if name not in self.bars:
                with self.weights:
                    self.bars[name] = chart(_bars(name), f"how many weights of {name} have which value", 200)
            self.bars[name].options["series"] = [
                {
                    "type": "bar",
                    "data": bars,
                    "itemStyle": {"color": SGD},
                    "silent": True,
                    "barMinWidth": 1,
                    "barMaxWidth": 12,
                }
            ]
            self.bars[name].update()


def _first_sentence(recipe: Any) -> str:
    return f"{' '.join((recipe.__doc__ or '').split()).split('. ')[0].removeprefix('Return ')}."


def _tested(frame: Frame, measure: str) -> list[dict[str, Any]]:
    return [
        line("test", _column(frame, f"test_{measure}"), SGD, 3),
        line("test, SWALP", _column(frame, f"swalp_{measure}"), SWALP, 3),
    ]


def _column(frame: Frame, key: str) -> list[list[float]]:
    return [[row["epoch"], row[key]] for row in frame.log if key in row]


def _curves(title: str, kind: str) -> dict[str, Any]:
    names = ["training, a step" if kind == "log" else "training", "test", "test, SWALP"]
    return {
        "grid": {"left": 52, "right": 14, "top": 62, "bottom": 42},
        "legend": {**legend(names), "itemGap": 6, "itemWidth": 16, "padding": 0},
        "xAxis": axis("epochs", nameGap=26, min=0),
        "yAxis": axis(title, kind, nameLocation="end"),
        "series": [],
    }


def _bars(name: str) -> dict[str, Any]:
    return {
        "grid": {"left": 45, "right": 10, "top": 45, "bottom": 25},
        "title": {"text": f"{name} on its grid", "textStyle": {"color": INK, "fontSize": 13}, "left": 0},
        "xAxis": axis(scale=True),
        "yAxis": axis(splitNumber=3),
        "series": [],
    }
