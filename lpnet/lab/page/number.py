"""The tab Number on the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from nicegui import ui

from .. import number
from ..number import Shown, code
from .charts import GREEN, INK, SGD, axis, chart, dots
from .controls import Panel, Program, Table, fill

STEPS = 200  # of the slider on each side of zero
BITS = 64  # that are shown as buttons


class NumberPanel(Panel):
    """One number under one format: its bits, its neighbours, its odds."""

    name, title, fields = "number", "Number", number.FIELDS

    def build(self) -> None:
        """Controls to the left, figures to the right."""
        with ui.element("div").classes("columns"):
            with ui.element("section").classes("controls").props('aria-label="Controls"'):
                self._build_controls()
            with ui.element("section").classes("figures").props('aria-label="Figures"'):
                self.messages()
                self._build_figures()

    def _build_controls(self) -> None:
        self.entry("row")
        self.slider = ui.element("input").classes("wide")  # the browser's own: it is known to screen readers
        self.slider.props(f'type=range min={-STEPS} max={STEPS} aria-label="Drag the number"')
        self.slider.on(
            "input",
            lambda event: self.drag(event.args),
            throttle=0.05,
            js_handler="(event) => emit(Number(event.target.value))",
        )
        self.entry("format")
        self.entry("rounding")
        self.dice = self.entry("bits")

    def _build_figures(self) -> None:
        self.headline = ui.label().classes("headline").props("aria-live=polite")
        self.chosen = ui.element("div").classes("bits").props('role=group aria-label="Numbers of the row"')
        self.block = ui.label().classes("caption")
        self.fields_box = ui.element("div").classes("bits").props('role=group aria-label="Bits; press one to flip it"')
        self.line = chart(_line_options(), "number line", 130)
        with ui.element("div").classes("pair wordy"):
            with ui.element("div"):
                self.odds = Table("Neighbours, and the odds of each")
                ui.label("In words: lp.explain").classes("subtitle")
                self.words = ui.label().classes("code").props('role=region aria-label="lp.explain" tabindex=0')
            self.modes = Table("What each rounding makes of it")
        self.program = Program("The same in Python")
        self._signature: Any = None
        self._buttons: list[ui.button] = []
        self._row: list[ui.button] = []

    def values(self) -> dict[str, Any]:
        """Return what the fields say; of a row that became too short, its last number."""
        found = super().values()
        return {**found, "at": min(found["at"], len(found["row"]) - 1)}

    def update(self) -> None:
        """Show what the fields say now."""
        seen = number.shown(**self.values())
        told = seen.told
        self.headline.set_text(_headline(seen))
        self.dice.set_visibility(self.texts["rounding"] == "stochastic")
        self._show_row(seen)
        self._show_bits(seen)
        self._show_line(seen)
        self.slider.props["value"] = round(STEPS * number.place(self.texts["format"], told.x))
        head = ["", "number", "code", "odds"]
        fill(self.odds, head, _odds(seen))
        fill(self.modes, ["rounding", "gives"], seen.modes)
        self.words.set_text(str(told))
        self.program.show(seen.python)

    def _show_row(self, seen: Shown) -> None:
        several = len(seen.row) > 1
        self.chosen.set_visibility(several)
        self.block.set_text(next((text for name, text in seen.told.lines if name == "block"), ""))
        self.block.set_visibility(seen.blocked)
        if len(self._row) != len(seen.row):
            self.chosen.clear()
            with self.chosen:
                self._row = [_choice(partial(self.choose, i)) for i in range(len(seen.row))]
        for i, (button, x) in enumerate(zip(self._row, seen.row, strict=True)):
            button.set_text(f"{x:.6g}")
            button.props["aria-pressed"] = str(i == seen.at).lower()

    def _show_bits(self, seen: Shown) -> None:
        parts = code(seen.told, _target(seen))
        signature = [(name, len(bits)) for name, bits in parts]
        if signature != self._signature:
            self._signature = signature
            self._build_bits(signature)
        for button, (bit, words) in zip(self._buttons, _bits(parts), strict=False):
            button.set_text(bit)
            button.props(f'aria-label="{words}"')

    def _build_bits(self, signature: list[tuple[str, int]]) -> None:
        self.fields_box.clear()
        self._buttons = []
        with self.fields_box:
            for name, width in signature:
                with ui.element("div").classes(f"field {name}"):
                    with ui.element("div"):
                        for _ in range(width):
                            at = len(self._buttons)
                            button = ui.button("0", color=None, on_click=lambda at=at: self.flip(at))
                            self._buttons.append(button.props("unelevated dense"))
                    ui.label(name).classes("caption")

    def _show_line(self, seen: Shown) -> None:
        told = seen.told
        both = {told.below: "right", told.above: "left"}  # towards which their words reach, so that they do not meet
        sides = {y: side if len(both) == 2 else "center" for y, side in both.items() if np.isfinite(y)}
        self.line.options["series"] = [
            dots([[y, 0] for y in seen.line], INK, [2, 16], "rect"),
            dots([_labelled(y, "bottom", side) for y, side in sides.items()], GREEN, [4, 26], "rect"),
            dots([_labelled(told.x, "top", "center")] if np.isfinite(told.x) else [], SGD, 12, "diamond"),
        ]
        shown = [*seen.line, *([told.x] if np.isfinite(told.x) else [])] or [0.0]
        margin = (max(shown) - min(shown)) * 0.05 or 1.0
        self.line.options["xAxis"] |= {"min": min(shown) - margin, "max": max(shown) + margin}
        self.line.update()

    def replace(self, x: float) -> None:
        """Put another number in the place of the one that is looked at."""
        numbers, at = self.values()["row"], self.values()["at"]
        self.put("row", " ".join(number.number(y) for y in [*numbers[:at], x, *numbers[at + 1 :]]))

    def choose(self, at: int) -> None:
        """Look at another number of the row."""
        self.typed(next(field for field in self.fields if field.name == "at"), str(at))

    def flip(self, bit: int) -> None:
        """Go to the number whose code has another bit there."""
        seen = number.shown(**self.values())
        self.replace(number.flipped(seen.told, _target(seen), bit))

    def drag(self, place: object) -> None:
        """Go to the number at that place of the slider."""
        if isinstance(place, int) and abs(place) <= STEPS:
            self.replace(number.dragged(self.texts["format"], place / STEPS))


def _choice(press: Callable[[], None]) -> ui.button:
    button = ui.button(on_click=press, color=None).classes("choice")
    return button.props("no-caps dense unelevated padding='2px 10px'")


def _target(seen: Shown) -> float:
    """Return the number whose bits are shown: what x becomes, the nearer neighbour where chance decides."""
    told = seen.told
    if told.result is not None:
        return told.result
    return told.above if told.fraction > 0.5 else told.below


def _headline(seen: Shown) -> str:
    told = seen.told
    if told.result is not None:
        return f"{told.x:.9g} becomes {number.number(told.result)}"
    up = told.probability
    return f"{told.x:.9g} becomes {number.number(told.below)} ({1 - up:.2%}) or {number.number(told.above)} ({up:.2%})"


def _odds(seen: Shown) -> list[list[str]]:
    told = seen.told
    if told.result is not None and (told.below == told.above or np.isnan(told.below)):
        return [["becomes", number.number(told.result), told.code(told.result), "100 %"]]
    odds = {told.below: 1 - told.probability, told.above: told.probability}
    if told.result is not None:
        odds = {told.result: 1.0}
    sides = {"below": told.below, "above": told.above}
    return [[side, number.number(y), told.code(y), f"{100 * odds.get(y, 0):.6g} %"] for side, y in sides.items()]


def _bits(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return each bit and what a screen reader says of it."""
    return [
        (bit, f"{name} bit {len(bits) - i} of {len(bits)} is {bit}; flip it")
        for name, bits in parts
        for i, bit in enumerate(bits)
    ]


def _labelled(y: float, where: str, align: str) -> dict[str, Any]:
    label = {
        "show": True,
        "position": where,
        "distance": 12 if where == "top" else 5,  # above the marks of neighbours
        "align": align,
        "formatter": f"{y:.6g}",
        "color": INK,
    }
    return {"value": [y, 0], "label": label}


def _line_options() -> dict[str, Any]:
    return {
        "grid": {"left": 12, "right": 12, "top": 40, "bottom": 40},
        "xAxis": axis(axisLabel={"show": False}, axisTick={"show": False}),
        "yAxis": axis(show=False, min=-1, max=1),
        "series": [],
    }
