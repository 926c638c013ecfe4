"""What the lab's tabs show comes from the library, and "copy as Python" ends with the same bits."""

import subprocess
import sys
import time

import numpy as np
import pytest

import lpnet as lp
from lpnet.lab import ball, fields, number, observe, rounding, training
from lpnet.lab.work import Worker

DIGITS = {"data": "digits", "network": "small_cnn", "recipe": "swalp", "epochs": "2", "average_from": "1"}
JOBS = {  # tab: its module, job, and what differs from its fields' defaults
    "rounding": (rounding, rounding.job, {"steps": "30", "copies": "50"}),
    "rounding in blocks": (rounding, rounding.job, {"steps": "9", "copies": "5", "format": "bfp4", "update": "-0.01"}),
    "accumulator": (rounding, rounding.job, {"steps": "9", "copies": "5", "accumulator": "fp32"}),
    "ball": (ball, ball.job, {"start": "20", "steps": "40", "copies": "30"}),
    "ball, cycle": (ball, ball.job, {"start": "0", "steps": "40", "copies": "3", "cycle": "7", "rounding": "nearest"}),
    "training": (training, observe.job, {"epochs": "3", "average_from": "1", "hidden": "8"}),
    "circles": (training, observe.job, {"data": "circles", "epochs": "1", "weight": "float", "accumulator": "fp32"}),
    "digits": (training, observe.job, DIGITS),
}


def settings(name):
    """Return the module of a tab, its job and the settings of a case."""
    module, job, changes = JOBS[name]
    texts = {field.name: field.default for field in module.FIELDS} | changes
    chosen = fields.values(module.FIELDS, texts)
    return module, job, training.settings(chosen) if module is training else chosen


def ended(worker):
    """Wait for a worker to end."""
    until = time.monotonic() + 60
    while not worker.finished and time.monotonic() < until:
        time.sleep(0.01)
    assert worker.finished and not worker.error, worker.error
    return worker.frame


@pytest.mark.parametrize("name", JOBS)
def test_the_copied_program_ends_with_the_pages_bits(name):
    """Played to its end, a tab shows the fingerprint of weights that its program prints, run by itself."""
    module, job, chosen = settings(name)
    worker = Worker(lambda worker: job(worker, chosen))
    worker.play()
    frame = ended(worker)
    done = subprocess.run([sys.executable, "-c", module.python(chosen)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == frame.fingerprint and frame.step == frame.steps


def test_a_worker_goes_one_step_and_stops():
    """A step is one step, pausing holds it, and stopping ends the thread."""
    _, job, chosen = settings("rounding")
    worker = Worker(lambda worker: job(worker, chosen))
    for step in 1, 2, 3:
        worker.step()
        until = time.monotonic() + 10
        while (worker.frame is None or worker.frame.step < step) and time.monotonic() < until:
            time.sleep(0.005)
        assert worker.frame.step == step and not worker.playing
    worker.stop(wait=10)
    assert worker.finished and worker.frame.step == 3


def test_details_are_rare_while_it_plays_and_of_every_single_step(monkeypatch):
    """Single steps are watched each; playing, one step at a time is, and the end has the weights as they are then."""
    monkeypatch.setattr(observe, "DETAIL", 1e9)
    looked, look = [], observe.Observer.look
    monkeypatch.setattr(observe.Observer, "look", lambda self, seen: looked.append(seen) or look(self, seen))
    _, job, chosen = settings("training")
    worker = Worker(lambda worker: job(worker, chosen))
    for step in 1, 2, 3:
        worker.step()
        until = time.monotonic() + 10
        while (worker.frame is None or worker.frame.step < step) and time.monotonic() < until:
            time.sleep(0.005)
        assert len(looked) == step and worker.frame.detail.updates
    worker.play()
    frame = ended(worker)
    run = training.parts(**chosen)
    lp.fit(**run, progress=False)
    assert len(looked) <= 5  # the first that was played, and the end
    for name, bars in frame.detail.weights.items():
        assert bars == observe.bars(dict(run["model"].named_parameters())[name].numpy())


def test_an_error_is_a_sentence_for_the_page():
    """What a job raises ends it; the page gets the words in one line."""

    def fails(worker):
        raise ValueError("no such\nthing")

    worker = Worker(fails)
    worker.play()
    worker._thread.join(10)
    assert worker.error == "no such thing"


def test_copies_of_a_weight_are_right_on_average():
    """The table's mean is that of the weights, and stochastic rounding is off by less than five standard errors."""
    _, _, chosen = settings("rounding")
    w, update = list(rounding.weights(**{**chosen, "copies": 2000}))[-1]
    exact = 1 + 30 * 1e-4
    assert abs(w.mean() - exact) < 5 * w.std() / np.sqrt(w.size) and update.wanted.size == 2000


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_the_ball_has_the_size_that_theory_says(bits):
    """The squared distance of SGD-LP, over 400 copies and the second half of 1,500 steps, within 15 % of the line."""
    texts = {f.name: f.default for f in ball.FIELDS} | {"bits": str(bits), "start": "0", "steps": "1500"}
    chosen = fields.values(ball.FIELDS, texts)
    seen = [ball.distance(w) for w, _ in list(ball.iterates(**chosen))[750::10]]
    lines = ball.lines(chosen)
    assert np.mean(seen) == pytest.approx(lines.floor[0][1], rel=0.15)
    assert lines.slope[0][1] > lines.slope[-1][1] and len(lines.rings) == 6


@pytest.mark.parametrize("fmt", ["e4m3", "fixed8.6", "bfp8", "e2m1", "nvfp4", "posit8.1"])
def test_a_number_is_what_explain_says(fmt):
    """The neighbours are on the line; a flipped bit is another number of the format; the slider goes and comes."""
    seen = number.shown([0.3, -1.5], 0, fmt, "nearest", 16)
    told = lp.explain(np.array([0.3, -1.5]), fmt, "nearest", 0)
    assert {told.below, told.above} <= set(seen.line) and seen.line == sorted(seen.line) and str(seen.told) == str(told)
    bits = "".join(part for _, part in number.code(seen.told, told.below))
    for bit in range(len(bits)):
        other = number.flipped(seen.told, told.below, bit)
        if np.isfinite(other) and other:
            changed = seen.told.code(other).replace(" ", "")
            assert [i for i in range(len(bits)) if bits[i] != changed[i]] == [bit]
    for place in -0.7, 0.25, 1.0:
        assert number.place(fmt, number.dragged(fmt, place)) == pytest.approx(place)
    done = subprocess.run([sys.executable, "-c", seen.python], capture_output=True, text=True)
    assert done.stdout.rstrip("\n") == str(told)


BAD = [
    *[
        (number.FIELDS, name, text)
        for name, text in (
            ("row", ""),
            ("row", "one"),
            ("row", "1 " * 65),
            ("row", "1" * 2000),
            ("at", "-1"),
            ("at", "64"),
            ("at", "x"),
            ("at", "1.5"),
            ("format", ""),
            ("format", "e99m99"),
            ("format", "__import__('os')"),
            ("format", "fixed8"),
            ("format", "FixedPoint(8, 6, 7, 8, 9, 10)"),
            ("format", "open('/etc/passwd')"),
            ("format", "(" * 100),
            ("format", "e4m3\n" * 50),
            ("rounding", "up"),
            ("rounding", ""),
            ("bits", "0"),
            ("bits", "17"),
            ("bits", "²"),
        )
    ],
    *[
        (rounding.FIELDS, name, text)
        for name, text in (
            ("accumulator", "none"),
            ("start", "nan"),
            ("start", "inf"),
            ("start", "1e7"),
            ("update", ""),
            ("update", "a"),
            ("steps", "0"),
            ("steps", "10001"),
            ("steps", "1e3"),
            ("copies", "0"),
            ("copies", "9" * 40),
            ("seed", "-1"),
        )
    ],
    *[
        (ball.FIELDS, name, text)
        for name, text in (
            ("bits", "2"),
            ("bits", "17"),
            ("lr", "0"),
            ("lr", "2"),
            ("noise", "-1"),
            ("noise", "nan"),
            ("cycle", "0"),
            ("steps", "9"),
            ("copies", "2001"),
            ("start", "20001"),
            ("rounding", "STOCHASTIC"),
        )
    ],
    *[
        (training.FIELDS, name, text)
        for name, text in (
            ("data", "mnist"),
            ("data", "../../etc"),
            ("network", "vgg16"),
            ("hidden", ""),
            ("hidden", "0"),
            ("hidden", "1.5"),
            ("hidden", "257"),
            ("hidden", "1 1 1 1 1"),
            ("recipe", "x"),
            ("weight", "e4"),
            ("lr", "-1"),
            ("lr", "101"),
            ("sgd_momentum", "1"),
            ("batch", "0"),
            ("batch", "1001"),
            ("epochs", "0"),
            ("average_from", "-1"),
            ("cycle", "0"),
            ("seed", "4294967297"),
            ("seed", ""),
        )
    ],
]


@pytest.mark.parametrize("own, name, text", BAD)
def test_a_bad_text_is_a_sentence(own, name, text):
    """It names the field, is one line, and an address with it gives the default in its place."""
    field = next(field for field in own if field.name == name)
    with pytest.raises(ValueError, match=f"^{field.label}") as refused:
        field.read(text)
    assert len(str(refused.value)) < 1000
    texts, problems = fields.from_address(own, {name: text})
    assert texts[name] == field.default and len(problems) == 1


@pytest.mark.parametrize("name", JOBS)
def test_an_address_says_what_differs(name):
    """The texts of a tab come back from its address."""
    module, _, changes = JOBS[name]
    texts = {field.name: field.default for field in module.FIELDS} | changes
    address = fields.to_address(module.FIELDS, texts)
    assert address == {k: v for k, v in changes.items() if v != next(f for f in module.FIELDS if f.name == k).default}
    assert fields.from_address(module.FIELDS, address) == (texts, [])


def test_a_network_of_images_wants_images():
    """Settings that do not go together are refused by the field to change."""
    texts = {field.name: field.default for field in training.FIELDS} | {"network": "small_cnn"}
    with pytest.raises(ValueError, match=r"^Network: "):
        training.settings(fields.values(training.FIELDS, texts))
    with pytest.raises(ValueError, match=r"^Which of them: "):
        number.shown([1.0], 1, "e4m3", "nearest", 16)
