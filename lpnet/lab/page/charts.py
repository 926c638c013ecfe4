"""Charts: options for ECharts, and the element that draws them. Colours are those of the chapters' pictures."""

from __future__ import annotations

from typing import Any

from nicegui import ui

INK, SGD, SWALP, NEAREST, GREEN, GREY = "currentColor", "#0072B2", "#D55E00", "#B0568A", "#009E73", "#8a8a8a"
AXIS = {
    "axisLabel": {"color": INK},
    "nameTextStyle": {"color": INK},
    "axisLine": {"lineStyle": {"color": GREY}},
    "splitLine": {"show": False},
}


def chart(options: dict[str, Any], words: str, height: int = 260) -> ui.echart:
    """Put a chart here; `words` say to those who cannot see it what is drawn."""
    element = ui.echart({"animation": False, "textStyle": {"color": INK}, **options})
    element.classes("chart").style(f"height: {height}px").props(f'role=img aria-label="{words}"')
    return element


def axis(name: str = "", kind: str = "value", **more: Any) -> dict[str, Any]:
    """Return an axis."""
    return {"type": kind, "name": name, "nameLocation": "middle", **AXIS, **more}


def dots(points: list[Any], color: str, size: Any = 6, symbol: str = "circle", **more: Any) -> dict[str, Any]:
    """Return a series of points."""
    return {
        "type": "scatter",
        "data": points,
        "symbol": symbol,
        "symbolSize": size,
        "silent": True,
        "itemStyle": {"color": color},
        **more,
    }


def line(
    name: str, points: list[Any], color: str, width: float = 2, dash: str = "solid", **more: Any
) -> dict[str, Any]:
    """Return a series that is a line."""
    return {
        "type": "line",
        "name": name,
        "data": points,
        "showSymbol": False,
        "silent": True,
        "lineStyle": {"color": color, "width": width, "type": dash},
        "itemStyle": {"color": color},
        **more,
    }


def legend(names: list[str]) -> dict[str, Any]:
    """Return a legend of lines."""
    return {"data": names, "textStyle": {"color": INK}, "itemStyle": {"opacity": 0}, "top": 0}
