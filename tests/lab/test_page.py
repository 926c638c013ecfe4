"""The lab in a browser, as a whole: two at once, by keyboard, in both themes, when its server comes back."""

import json
from urllib.parse import urlsplit

import numpy as np
import pytest

import lpnet as lp
from lpnet.lab import training

from .browser import Server
from .tabs import EXPLAIN, MODULES, ROUNDED, TABS, address, ended, explains, ran, settings_of


def test_two_tabs_of_a_browser_do_not_disturb_each_other(page):
    """Two trainings at once, each with its seed, end with the bits that each has alone; one outlives the other."""
    small = {"hidden": "8", "epochs": "20", "average_from": "10"}
    seeds = ["1", "2"]
    for i, seed in enumerate(seeds):
        if i:
            page.driver.switch_to.new_window("tab")
        page.go("?tab=training&hidden=8&epochs=20&average_from=10&seed=" + seed)
    windows = page.driver.window_handles
    for window in windows:
        page.driver.switch_to.window(window)
        page.press("Play")
    prints = []
    for window in windows:
        page.driver.switch_to.window(window)
        prints.append(ended(page, "step 200 of 200"))
    assert prints == [ran(training.python(settings_of("training", {**small, "seed": seed}))) for seed in seeds]
    page.driver.close()
    page.driver.switch_to.window(windows[0])
    page.press("Play")
    assert ended(page, "step 200 of 200") == prints[0]


def test_the_keyboard_reaches_everything(page):
    """Tab goes through the page in the order in which it is read; arrows turn tabs; Enter flips a bit."""
    page.go("?row=1.5&rounding=nearest")
    explains(page, [1.5], "e4m3")
    reached = []
    for _ in range(15):
        page.keys("\ue004")
        reached.append(page.focus())
    controls = ["Numbers", "Drag the number", "Format", "Rounding"]
    assert reached[:7] == ["Skip to main content", "Number", "Dark or light", *controls]
    assert reached[7].startswith("sign bit 1 of 1 is 0") and reached[14].startswith("mantissa bit 1 of 3 is 0")
    page.keys("\ue007")
    explains(page, [1.625], "e4m3")
    page.js("document.querySelector('.q-tab').focus()")
    for name in list(TABS)[1:]:
        page.keys("\ue014", "\ue007")
        page.wait(lambda name=name: address(page)[0] == name, name)


@pytest.mark.parametrize("tab", MODULES)
def test_tab_stops_at_every_control(page, tab):
    """Going on by Tab leads to each button, each field and the program of a tab."""
    page.go(f"?tab={tab}&steps=10&row=1")
    if tab != "number":
        page.find("button", "Play")  # it says Pause until all steps are done
    last, reached = 'Expand "The same in Python"', []
    while last not in reached and len(reached) < 40:
        page.keys("\ue004")
        reached += page.focus().splitlines()
    buttons = ["Play", "One step", "Restart"] if tab != "number" else ["Drag the number"]
    labels = [field.label for field in MODULES[tab].FIELDS if field.name != "at"]
    assert {"Dark or light", *buttons, *labels, last} <= set(reached)


def test_a_training_is_played_and_changed_by_keyboard(page):
    """Space presses Play; arrows and Enter choose from a list."""
    page.go("?tab=training&hidden=8&epochs=1&average_from=0")
    reach(page, "Play")
    page.keys(" ")
    ended(page, "step 10 of 10")
    reach(page, "Data")
    page.keys("\ue015")  # down: the list opens
    page.find(".q-menu .q-item", "circles")
    page.keys("\ue015", "\ue007")  # down, Enter
    page.wait(lambda: address(page)[1].get("data") == "circles", "the choice")


def reach(page, name):
    """Press Tab until a control has the focus."""
    for _ in range(12):
        page.keys("\ue004")
        if name in page.focus().splitlines():
            return
    raise AssertionError(page.focus())


LOOK = """
const shown = e => e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}) && e.getClientRects().length;
const d = document.createElement('canvas').getContext('2d', {willReadFrequently: true}), known = {};
const paint = c => { d.clearRect(0, 0, 1, 1); d.fillStyle = c; d.fillRect(0, 0, 1, 1);
  return [...d.getImageData(0, 0, 1, 1).data]; };
const rgb = c => known[c] ??= paint(c);
const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => { const [r, g, b] = c.map(v => linear(v / 255));
  return .2126 * r + .7152 * g + .0722 * b; };
const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
  if (c[3] > 250) return c; } return [255, 255, 255, 255]; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((x, y) => y - x); return (x + .05) / (y + .05); };
const pale = [], nameless = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
  if (!text || !shown(e) || e.closest('script, style, .unseen, .q-icon')) continue;
  const r = ratio(rgb(getComputedStyle(e).color), ground(e));
  if (r < 4.5) pale.push([text.slice(0, 30), Math.round(100 * r) / 100]);
}
for (const e of document.querySelectorAll('button, input, [role=img], [role=tab], a'))
  if (shown(e) && !(e.getAttribute('aria-label') || e.innerText?.trim() || e.labels?.length))
    nameless.push(e.outerHTML);
return {pale, nameless, wide: document.documentElement.scrollWidth - innerWidth};
"""


@pytest.mark.parametrize("dark", [False, True])
def test_all_can_be_read(page, dark):
    """In both themes text stands out by 4.5 to 1 (WCAG 2 AA), controls have names, and all fits in 360 px."""
    for tab in TABS:
        page.go(f"?tab={tab}&row=0.3 -1.5&format=mxfp4&hidden=8")
        if tab == "training":
            page.press("One step")
            page.wait(lambda: page.table(ROUNDED), "the tables")
        for width in 360, 1600:
            page.size(width, 900, dark)
            page.wait(lambda width=width: page.js("return innerWidth") == width, "the width")
            page.wait(lambda: page.js("return document.body.classList.contains('body--dark')") == dark, "the theme")
            page.wait(lambda: page.js("return !document.getAnimations().length"), "the end of what moves")
            seen = page.js(LOOK)
            assert seen == {"pale": [], "nameless": [], "wide": 0}, (tab, width, json.dumps(seen, indent=1))


def test_light_and_dark(page):
    """The button turns the theme, and charts take the new ink."""
    page.go()
    before = page.js("return document.body.classList.contains('body--dark')")
    for dark in not before, before:
        page.press("Dark or light")
        page.wait(lambda dark=dark: page.js("return document.body.classList.contains('body--dark')") == dark, "it")
        page.wait(
            lambda: page.js(
                "return document.querySelector('.chart canvas').style.color === getComputedStyle(document.body).color"
            ),
            "the ink",
        )


def test_a_page_comes_back_when_its_server_does(chrome, tmp_path):
    """After the server ended and was started again on its port, the open page connects and has what it had."""
    pytest.importorskip("nicegui")
    server = Server("--port", "18800", cwd=tmp_path)
    port = str(urlsplit(server.url).port)
    try:
        chrome.open(server.url + "?row=0.7&rounding=nearest")
        chrome.shows(EXPLAIN, str(lp.explain(np.array([0.7]), "e4m3", "nearest", 0)))
        assert server.end()[0] == 0
        server = Server("--port", port, cwd=tmp_path)
        assert str(urlsplit(server.url).port) == port
        chrome.wait(lambda: chrome.js("return !!(window.socket && window.socket.connected)"), "the connection")
        chrome.wait(lambda: chrome.text(EXPLAIN), "the page")
        chrome.type("Numbers", "0.9")
        chrome.shows(EXPLAIN, str(lp.explain(np.array([0.9]), "e4m3", "nearest", 0)))
    finally:
        server.end()
        chrome.driver.get("about:blank")  # else the page goes on to look for its server
        chrome.errors()  # it complained of the server that was away
