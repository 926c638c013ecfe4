"""What the tests of the lab's tabs share: where things are on the page, texts for all fields, the library's answers."""

import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import numpy as np

import lpnet as lp
from lpnet.lab import ball, fields, number, rounding, training

EXPLAIN, HEADLINE, PROGRAM, PRINT, STATUS, MESSAGE = (
    '[aria-label="lp.explain"]',
    ".headline",
    ".program .code",
    ".fingerprint",
    ".status",
    ".message",
)
TABS = {"number": "Number", "rounding": "Rounding", "ball": "Noise ball", "training": "Training"}
UPDATES = "The updates of the last step that was watched (lp.watch)"
ROUNDED = "What rounding did to its layers (lp.trace)"
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
MODULES = {"number": number, "rounding": rounding, "ball": ball, "training": training}


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


def explains(page, x, fmt, rule="nearest", at=0):
    """Wait until the tab Number shows what `lp.explain` says; return that."""
    told = lp.explain(np.array(x, float), fmt, rule, at)
    page.shows(EXPLAIN, str(told))
    return told


def step_of(page):
    """Return the step that the status tells."""
    return int(page.text(STATUS).split()[1])
