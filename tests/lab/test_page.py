"""The lab in a browser: each control of each tab is used, and what the page shows is the library's own answer."""

import json
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import lpnet as lp
from lpnet.lab import ball, fields, number, observe, rounding, training

from .browser import Server

EXPLAIN, HEADLINE, PROGRAM, PRINT, STATUS, MESSAGE = (
    '[aria-label="lp.explain"]',
    ".headline",
    ".program .code",
    ".fingerprint",
    ".status",
    ".message",
)
TABS = {"number": "Number", "rounding": "Rounding", "ball": "Noise ball", "training": "Training"}


def explains(page, x, fmt, rule="nearest", at=0):
    """Wait until the tab Number shows what `lp.explain` says; return that."""
    told = lp.explain(np.array(x, float), fmt, rule, at)
    page.shows(EXPLAIN, str(told))
    return told


def test_the_number_tab_is_what_explain_says(page):
    """Typing, dragging, choosing and flipping all lead to what `lp.explain` says of the number; the program does."""
    page.go()
    explains(page, [0.3], "e4m3", "stochastic")
    page.type("Random bits", "4")
    told = explains(page, [0.3], "e4m3", lp.Stochastic(4))
    odds = [f"{100 * p:.6g} %" for p in (1 - told.probability, told.probability)]
    assert [row[-1] for row in page.table("Neighbours, and the odds of each")] == odds
    page.choose("Rounding", "floor")
    explains(page, [0.3], "e4m3", "floor")
    page.type("Format", "mxfp4")
    explains(page, [0.3], "mxfp4", "floor")
    page.type("Numbers", "0.3 -1.5 100")
    explains(page, [0.3, -1.5, 100], "mxfp4", "floor")
    page.find('[aria-label="Numbers of the row"] button', "-1.5").click()
    told = explains(page, [0.3, -1.5, 100], "mxfp4", "floor", 1)
    assert page.text(HEADLINE) == f"-1.5 becomes {told.result:.9g}"
    ticks, neighbours, there = (series["data"] for series in page.series("number line"))
    assert {told.below, told.above} <= {x for x, _ in ticks} and there[0]["value"] == [-1.5, 0]
    assert {point["value"][0] for point in neighbours} == {told.below, told.above}
    for name, gives in page.table("What each rounding makes of it"):
        if name != "stochastic":
            assert float(gives) == lp.quantize(np.array([0.3, -1.5, 100]), "mxfp4", name)[1]
    done = subprocess.run([sys.executable, "-c", page.copy()], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip("\n") == str(told)
    page.type("Numbers", "2")  # the row became shorter than the place that was looked at
    explains(page, [2], "mxfp4", "floor")


def test_each_bit_flips_and_the_slider_drags(page):
    """A bit's button leads to the number of the format whose code has another bit there; the slider along the range."""
    page.go("?row=1.5&rounding=nearest&format=e4m3")
    bits = explains(page, [1.5], "e4m3").code(1.5).replace(" ", "")
    for bit in range(8):
        page.driver.find_elements("css selector", ".field button")[bit].click()
        bits = f"{bits[:bit]}{1 - int(bits[bit])}{bits[bit + 1 :]}"
        value = float(lp.format("e4m3").from_codes(np.array([int(bits, 2)], np.uint8), np.dtype(np.float64))[0])
        told = explains(page, [value], "e4m3")
        assert told.code(value).replace(" ", "") == bits
    for place in 150, -40:
        page.js(
            "const s = arguments[0]; s.value = arguments[1]; s.dispatchEvent(new Event('input'));", slider(page), place
        )
        page.wait(lambda place=place: place_of(page) == place, f"place {place} of the slider")
    page.js("arguments[0].focus()", slider(page))
    page.keys("\ue014")  # right
    page.wait(lambda: place_of(page) == -39, "a step to the right by the keyboard")


def slider(page):
    """Return the slider."""
    return page.find('input[type="range"]')


def place_of(page):
    """Return where on the slider the number is that the page explains."""
    x = float(page.field("Numbers").get_attribute("value"))
    assert page.text(EXPLAIN) is not None
    return round(200 * number.place("e4m3", x))


ALL = {  # a text for every field of a tab, other than at first, for a short run
    "rounding": {
        "format": "e4m3",
        "rounding": "nearest",
        "accumulator": "fp16",
        "start": "0.5",
        "update": "0.003",
        "steps": "30",
        "copies": "40",
        "seed": "3",
    },
    "ball": {
        "bits": "5",
        "rounding": "nearest_up",
        "lr": "0.05",
        "noise": "0.3",
        "start": "40",
        "cycle": "2",
        "steps": "60",
        "copies": "30",
        "seed": "5",
    },
    "training": {
        "data": "digits",
        "network": "small_cnn",
        "rounding": "nearest",
        "weight": "bfp6",
        "activation": "bfp8",
        "error": "e5m2",
        "gradient": "bf16",
        "momentum": "bf16",
        "accumulator": "fp16",
        "average": "bfp8",
        "lr": "0.05",
        "sgd_momentum": "0.8",
        "batch": "400",
        "epochs": "2",
        "average_from": "1",
        "cycle": "3",
        "seed": "7",
    },
}
MODULES = {"rounding": rounding, "ball": ball, "training": training}


def fill_in(page, tab, texts):
    """Type or choose each text into its field, by its label."""
    for field in MODULES[tab].FIELDS:
        if field.name in texts:
            (page.choose if field.options else page.type)(field.label, texts[field.name])
            page.wait(lambda f=field: address(page)[1].get(f.name) == texts[f.name], f"{field.label} in the address")


def settings_of(tab, texts):
    """Return the settings that the texts say."""
    own = MODULES[tab].FIELDS
    chosen = fields.values(own, {field.name: field.default for field in own} | texts)
    return training.settings(chosen) if tab == "training" else chosen


def address(page):
    """Return what the address says, but for the tab."""
    query = {name: value[0] for name, value in parse_qs(urlsplit(page.driver.current_url).query).items()}
    return query.pop("tab"), query


def ended(page, words):
    """Wait until the tab has shown its last step, and return its fingerprint."""
    page.wait(lambda: page.text(STATUS).startswith(words), words)
    return page.wait(lambda: page.text(PRINT), "the fingerprint").removeprefix("fingerprint ")


def ran(program):
    """Run a program by itself; return the fingerprint that it ends with."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_a_run_is_paused_stepped_and_restarted(page):
    """Pause holds the step, one step is one, Restart begins again."""
    page.go("?tab=ball&steps=100000&copies=2000")
    page.press("Pause")
    page.find("button", "Play")
    before = page.wait(lambda: page.text(STATUS), "a step")
    settled = page.wait(lambda: step_of(page) if step_of(page) == step_of(page) else 0, "a step")
    page.press("One step")
    page.wait(lambda: step_of(page) > settled, "the next step")
    assert step_of(page) >= int(before.split()[1])
    page.press("Restart")
    page.find("button", "Pause")
    page.wait(lambda: step_of(page) < settled or page.text(STATUS) != before, "a new start")


def step_of(page):
    """Return the step that the status tells."""
    return int(page.text(STATUS).split()[1])


def test_the_rounding_tab_draws_the_copies(page):
    """The mean, the bars and the table are those of the weights, and of what `lp.watch` counted."""
    page.go("?tab=rounding&steps=30&copies=40&format=e4m3&update=0.02")
    settings = settings_of("rounding", {"steps": "30", "copies": "40", "format": "e4m3", "update": "0.02"})
    ended(page, "step 30 of 30")
    seen = [(w.copy(), update.swallowed) for w, update in rounding.weights(**settings)]
    w = seen[-1][0]
    lines = {series["name"]: series["data"] for series in page.series("weight against steps") if series["name"]}
    assert lines["mean"] == [[i, pytest.approx(float(w.mean()))] for i, (w, _) in enumerate(seen, 1)]
    assert lines["exact"][-1] == [30, pytest.approx(1.6)]
    values, counts = np.unique(w, return_counts=True)
    assert page.series("how many copies")[0]["data"] == np.stack([values, counts], 1).tolist()
    table = dict(page.table("After these steps"))
    assert table["mean of the copies"] == f"{w.mean():.9g}"
    assert table["updates swallowed"] == f"{sum(n for _, n in seen) / (30 * 40):.2%}"


def test_the_ball_tab_draws_the_walk(page):
    """The curves are the squared distances of all copies, dashed is the theory's line, dotted the grid's."""
    texts = {"start": "20", "steps": "50", "copies": "30", "bits": "5"}
    page.go("?tab=ball&" + "&".join(f"{name}={text}" for name, text in texts.items()))
    ended(page, "step 70 of 70")
    settings = settings_of("ball", texts)
    seen = [(w.copy(), None if mean is None else mean.copy()) for w, mean in ball.iterates(**settings)]
    best = np.array([0.075, -0.05])
    sgd, swalp, slope, floor, nearest = (series["data"] for series in page.series("squared distance"))
    for points, which in (sgd, 0), (swalp, 1):
        assert points == [[T, pytest.approx(((seen[19 + T][which] - best) ** 2).sum(-1).mean())] for T, _ in points]
    grid = (lp.quantize(best, "fixed5.4") - best) ** 2
    assert nearest[0][1] == pytest.approx(grid.sum())
    low, curve = ball.theory(5, 0.02, 0.2, 1, np.array([50]))
    assert floor[-1] == [50, pytest.approx(low)] and slope[-1] == [50, pytest.approx(curve[0])]
    cloud = page.series("the bowl from above")
    assert next(s["data"] for s in cloud if s["name"] == "now") == [seen[-1][0][follow(seen)].tolist()]


def follow(seen):
    """Return the copy that is farthest out when the averaging starts."""
    return int(((seen[20][0] - [0.075, -0.05]) ** 2).sum(1).argmax())


def test_two_dimensional_data_show_what_is_decided(page):
    """The pictures are the probabilities on the plane of the trained network, and of its average."""
    from lpnet.lab.page.plane import png, shaded

    texts = {"data": "circles", "hidden": "8", "epochs": "2", "average_from": "1"}
    page.go("?tab=training")
    fill_in(page, "training", texts)
    page.press("Play")
    ended(page, "step 20 of 20")
    run = training.parts(**settings_of("training", texts))
    lp.fit(**run, progress=False)
    pictures = [png(shaded(grid(model))) for model in (run["model"], run["swalp"].averaged)]
    sources = page.js("return [...document.querySelectorAll('.plane img')].map(i => i.getAttribute('src'))")
    assert sources == pictures
    assert page.js("return document.querySelectorAll('.plane circle').length") == 2 * 300


def grid(model):
    """Return the probabilities of class 1 as rows from above."""
    return np.array(observe.probabilities(model)).reshape(observe.SIDE, observe.SIDE)[::-1]


def test_a_recipe_takes_the_place_of_the_roles(page):
    """It is chosen by the library's name, says what it is, hides what it decides, and trains."""
    page.go("?tab=training&hidden=8")
    name = lp.recipes.names()[-1]
    page.choose("Precision", name)
    page.wait(lambda: not page.field("Weight").is_displayed(), "the end of the roles")
    first = " ".join(lp.recipes.RECIPES[name].__doc__.split()).removeprefix("Return ")
    assert first.startswith(page.text(".controls > .caption").rstrip("."))
    page.press("One step")
    page.wait(lambda: page.text(STATUS).startswith("step 1 of"), "the first step")
    page.wait(lambda: page.table("The updates of the last step that was watched (lp.watch)"), "the table")
    assert page.text(PROGRAM) == training.python(settings_of("training", {"hidden": "8", "recipe": name}))


def test_what_cannot_be_is_a_sentence_and_changes_nothing(page):
    """A text that is none stays out of the program; fields that do not go together go back to what they were."""
    page.go("?tab=training")
    before = page.text(PROGRAM)
    page.type("Learning rate", "fast")
    page.find(".q-field__messages", "Learning rate: a number, please, not 'fast'")
    page.choose("Network", "small_cnn")
    page.wait(lambda: page.text(MESSAGE).startswith("Network: small_cnn takes images"), "the message")
    page.wait(lambda: page.field("Network").get_attribute("value") == "mlp", "the network that was")
    assert page.text(PROGRAM) == before and address(page) == ("training", {})
    page.go("?tab=training&lr=-1&weight=e99m99")
    page.wait(lambda: page.text(MESSAGE).startswith("Weight: ") and "Learning rate: " in page.text(MESSAGE), "both")
    assert page.text(PROGRAM) == before


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
            page.wait(lambda: page.table("What rounding did to its layers (lp.trace)"), "the tables")
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
        chrome.errors()  # it complained of the server that was away
