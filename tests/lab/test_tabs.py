"""Each tab in a browser: what it shows is the library's own answer."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest

import lpnet as lp
from lpnet.lab import ball, number, observe, rounding, training

from .tabs import (
    EXPLAIN,
    HEADLINE,
    MESSAGE,
    PROGRAM,
    ROUNDED,
    STATUS,
    UPDATES,
    ended,
    explains,
    fill_in,
    settings_of,
    step_of,
)

BALL = "Squared distance to the best weights, mean of the copies"


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


def test_the_rounding_tab_draws_the_copies(page):
    """The mean, the bars and the table are those of the weights, and of what `lp.watch` counted."""
    page.go("?tab=rounding&steps=30&copies=40&format=e4m3&update=0.02")
    settings = settings_of("rounding", {"steps": "30", "copies": "40", "format": "e4m3", "update": "0.02"})
    ended(page, "step 30 of 30")
    seen = [(w.copy(), update.swallowed) for w, update in rounding.weights(**settings)]
    w = seen[-1][0]
    drawn = page.series("weight against steps")
    lines = {series["name"]: series["data"] for series in drawn}
    assert lines["mean"] == [[i, pytest.approx(float(w.mean()))] for i, (w, _) in enumerate(seen, 1)]
    assert lines["exact"][-1] == [30, pytest.approx(1.6)]
    edges = [series["data"] for series in drawn if series["name"] == "spread"]
    for edge, sign in zip(edges, (-1, 1), strict=True):
        assert edge == [[i, pytest.approx(w.mean() + sign * w.std())] for i, (w, _) in enumerate(seen, 1)]
    copies = [series["data"] for series in drawn if series["name"] == "a copy"]
    assert copies == [[[i, w[k, 0]] for i, (w, _) in enumerate(seen, 1)] for k in range(len(copies))] and copies
    values, counts = np.unique(w, return_counts=True)
    assert page.series("how many copies")[0]["data"] == np.stack([values, counts], 1).tolist()
    table, gap = dict(page.table("After these steps")), lp.format("e4m3").spacing(np.array([1.0]))[0]
    assert table["exact sum"] == "1.6" and float(table["gap at the start"]) == gap
    assert table["mean of the copies"] == f"{w.mean():.9g}"
    assert table["off by, in gaps"] == f"{(w.mean() - 1.6) / gap:+.3f}"
    assert table["spread, in gaps"] == f"{w.std() / gap:.3f}"
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
    cloud, copy = {series["name"]: series["data"] for series in page.series("the bowl from above")}, follow(seen)
    assert cloud["now"] == [seen[-1][0][copy].tolist()] and cloud["best"] == [best.tolist()]
    visited = {tuple(w[copy].tolist()) for w, _ in seen[20:]}
    assert {tuple(point["value"]) for point in cloud["SGD-LP"]} == visited
    assert cloud["SWALP"][-1] == seen[-1][1][copy].tolist()
    table = {name: float(value) for name, value in page.table(BALL)}
    assert table["SGD-LP"] == pytest.approx(sgd[-1][1], rel=0.01)
    assert table["SWALP"] == pytest.approx(swalp[-1][1], rel=0.01)
    assert table["nearest numbers of the format"] == pytest.approx(grid.sum(), rel=0.01)
    assert table["gap, squared"] == pytest.approx(2.0**-8, rel=0.01)


def follow(seen):
    """Return the copy that is farthest out when the averaging starts."""
    return int(((seen[20][0] - [0.075, -0.05]) ** 2).sum(1).argmax())


class Watched(lp.training.Callback):
    """What `lp.watch` sees of the first step, and the loss of every step."""

    def __init__(self, run):
        self.watching, self.losses = contextlib.ExitStack(), []
        self.seen = self.watching.enter_context(lp.watch(run["model"], run["optimizer"]))

    def on_step(self, run):
        """Close the watch; note the loss."""
        self.watching.close()
        self.losses.append(run.last_loss)


def test_the_training_tab_draws_what_fit_says(page):
    """Curves are fit's losses and rows, tables what `lp.watch` and `lp.trace` saw of a step, bars the weights."""
    texts = {"hidden": "8", "epochs": "3", "average_from": "1"}
    page.go("?tab=training")
    fill_in(page, "training", texts)
    page.press("One step")
    updates = page.wait(lambda: page.table(UPDATES), "the table")
    run = training.parts(**settings_of("training", texts))
    watched = Watched(run)
    log = lp.fit(**run, callbacks=[watched], progress=False)
    assert updates == [update.row() for update in watched.seen.updates.values()]
    assert page.table(ROUNDED) == watched.seen.trace.rows()
    assert page.text(STATUS) == f"step 1 of 30, epoch 1 of 3, loss {watched.losses[0]:.4f}"
    page.press("Play")
    ended(page, "step 30 of 30")
    loss, error = (page.series(f"{name} against epochs") for name in ("loss", "error in per cent"))
    assert loss[0]["data"] == [[i / 10, x] for i, x in enumerate(watched.losses, 1)]
    for series, column in zip([*loss[1:], *error], COLUMNS, strict=True):
        assert series["data"] == [[row["epoch"], row[column]] for row in log if column in row], column
    for name, p in run["model"].named_parameters():
        if p.ndim > 1:
            values, counts = np.unique(p.numpy(), return_counts=True)
            assert page.series(f"weights of {name}")[0]["data"] == np.stack([values, counts], 1).tolist()


COLUMNS = ("test_loss", "swalp_loss", "train_error", "test_error", "swalp_error")


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
    page.wait(lambda: page.table(UPDATES), "the table")
    assert page.text(PROGRAM) == training.python(settings_of("training", {"hidden": "8", "recipe": name}))


LONG = ["?tab=rounding&steps=10000", "?tab=ball&steps=100000", "?tab=training&epochs=1000"]


@pytest.mark.parametrize("address", LONG)
def test_a_run_is_paused_stepped_and_restarted(page, address):
    """Pause holds the step, One step goes on by one, Play goes on, Restart begins again."""
    page.go(address)
    if "training" in address:
        page.press("Play")
    page.wait(lambda: step_of(page) > 1, "some steps")
    page.press("Pause")
    page.find("button", "Play")
    page.js(SAID, STATUS)
    page.press("One step")
    page.wait(lambda: page.js("return said.length"), "a step")
    first = step_of(page)
    page.press("One step")
    page.wait(lambda: step_of(page) > first, "the next step")
    assert step_of(page) <= first + 2 and page.find("button", "Play")  # of two presses the first may be shown late
    page.press("Play")
    page.find("button", "Pause")
    page.wait(lambda: step_of(page) > first + 2, "more steps")
    page.press("Restart")
    page.wait(lambda: "" in page.js("return said"), "a new start")
    page.find("button", "Play" if "training" in address else "Pause")
    assert page.text(MESSAGE) == ""


SAID = """window.said = []; const place = document.querySelector(arguments[0]);
new MutationObserver(() => { said.push(place.textContent); })
    .observe(place, {characterData: true, childList: true, subtree: true});"""
