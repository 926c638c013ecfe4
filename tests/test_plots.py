"""Pictures take and give axes, show what they are given, and have words that can be read from the last row."""

import itertools
import json

import numpy as np
import pytest

import lpnet as lp
from lpnet import plots

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

LOG = [{"epoch": i, "train_loss": 1 / i, "test_loss": 2 / i, "test_error": 50.0 / i} for i in (1, 2, 3)]
STATS = lp._trace.RoundingStats(4, 4.0, 1.0)
DRAWN = {
    "number_lines": lambda axes: plots.number_lines(["bfp8", "e4m3", "e5m2", "mxfp4_e2m1", "nvfp4"], axes),
    "curves": lambda axes: plots.curves({"a": LOG, "b": LOG}, "error", axes),
    "confusion": lambda axes: plots.confusion(np.array([[5, 1], [0, 4]]), ["cat", "dog"], axes),
    "weights": lambda axes: plots.weights(np.array([0.0, 0.5, 0.5]), "a layer", axes),
    "rounding_map": lambda axes: plots.rounding_map([(5, {("0", "error"): STATS}), (10, {})], axes),
}


def test_every_picture_has_a_case():
    """A new function that draws is tested here."""
    drawing = {name for name in vars(plots) if "axes" in getattr(getattr(plots, name), "__annotations__", {})}
    assert {name for name in drawing if name[0] != "_"} - {"compare"} == set(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_drawn_on_the_axes_given_or_on_new_ones(name):
    """It returns them; two words that stand level do not overlap, and none is smaller than 10 points."""
    axes = Figure(figsize=(9, 4), layout="constrained").subplots()
    assert DRAWN[name](axes) is axes
    for drawn in (axes, DRAWN[name](None)):
        FigureCanvasAgg(drawn.figure).draw()
        texts = [t for t in (*drawn.get_xticklabels(), drawn.xaxis.label, drawn.yaxis.label) if t.get_text()]
        assert min(t.get_fontsize() for t in texts) >= 10
        level = [t for t in drawn.get_xticklabels() if t.get_text() and not t.get_rotation()]
        boxes = sorted((t.get_window_extent() for t in level), key=lambda box: box.x0)
        assert all(a.x1 <= b.x0 for a, b in itertools.pairwise(boxes))


def test_lines_have_every_number_and_curves_every_epoch():
    """What is drawn is what was given."""
    lines = plots.number_lines(["e2m1", "fixed4.2"])
    places = [sorted(float(path.vertices[0, 0]) for path in part.get_paths()) for part in lines.collections]
    assert places == [list(lp.formats.show.numbers(lp.format(name))) for name in ("e2m1", "fixed4.2")]
    curves = plots.curves({"run": LOG}, "loss")
    assert curves.lines[0].get_ydata().tolist() == [2, 1, 2 / 3]
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["run"]


def test_confusion_counts_and_weights_stand_where_they_are():
    """The number in row i and column j is that of the matrix; a line is as high as a weight is frequent."""
    axes = plots.confusion(np.array([[5, 1], [0, 4]]), ["cat", "dog"])
    assert {(*map(int, t.get_position()), t.get_text()) for t in axes.texts} == {(0, 0, "5"), (1, 0, "1"), (1, 1, "4")}
    drawn = plots.weights(np.array([0.0, 0.5, 0.5])).collections[0].get_segments()
    assert {tuple(segment[1]) for segment in drawn} == {(0.0, 1.0), (0.5, 2.0)}


@pytest.mark.parametrize(("text", "words"), [("", "no epoch yet"), ("{", "damaged"), ('{"step": 1}', "damaged")])
def test_a_log_that_cannot_be_drawn_is_refused(tmp_path, text, words):
    """By the name of its file."""
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(ValueError, match=rf"log\.jsonl.*{words}"):
        plots.read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in LOG))
    assert plots.read_log(tmp_path) == LOG


def test_the_largest_formats_have_a_line():
    """Numbers near the end of float64 do not stop the picture."""
    assert len(plots.number_lines(["e11m52", "fixed1.0", "e2m1"]).collections) == 3
