"""The chapters run as a reader would run them, and say nothing that their code does not show."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "examples"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.py"))
SOLUTIONS = sorted(FOLDER.glob("solutions/[0-9]*.py"))
MARK = "\x1e"  # between the outputs of cells
NAMES = re.compile(r"[Cc]hapter \d\d|\^-?\d+|(?<![\d.])[A-Za-z_][\w.]*")  # with exponents: digits that are no figures
LOOK = """
import itertools, json
texts, draw = [], plt.Text.draw
plt.Text.draw = lambda text, renderer: texts.append(text) or draw(text, renderer)
plt.gcf().canvas.draw()
texts = [t for t in dict.fromkeys(texts) if t.get_visible() and t.get_text().strip()]
boxes = [(t.get_text(), t.get_window_extent().shrunk(0.9, 0.8)) for t in texts if t.get_rotation() % 90 == 0]
print(json.dumps({"points": min(t.get_fontsize() for t in texts), "inches": plt.gcf().get_figwidth(),
                  "overlaps": [(s, t) for (s, a), (t, b) in itertools.combinations(boxes, 2) if a.overlaps(b)]}))
"""  # in the chapter's own process, after its last line


def rows(output):
    """Return the numbers of each row of a table by what it begins with."""
    lines = (line.partition("|") for line in output.splitlines())
    return {name.strip(): [float(n) for n in re.findall(r"\d+\.?\d*", rest)] for name, _, rest in lines}


def near(x, theory, share):
    return abs(x / theory - 1) < share


CLAIMS = {  # in words there, as other processors round otherwise and a training's last digits with it
    "06_train_a_cnn_in_few_bits.py": lambda r: (
        all(r[fmt][0] > 2 * r[fmt][1] for fmt in ("bfp4", "bfp3"))
        and max(r["bfp8"]) < r["fp32"][0] + 2
        and all(r[layer][3] < 50 and 60 < r[layer][5] < 160 for layer in ("0.weight", "4.weight", "8.weight"))
    ),
    "07_the_noise_ball.py": lambda r: all(
        near(r[b][0], r[b][1], 0.1) and near(r[b][2], r[b][3], 0.15) and r[b][2] < r[b][4] for b in "468"
    ),
    "08_batchnorm_after_averaging.py": lambda r: (
        r["average, statistics anew"][0] < 0.75 * r["average, statistics of training"][0]
    ),
    "09_six_operands_of_a_layer.py": lambda r: (
        [[share > 0 for share in r[name]] for name in ("x", "gy_input", "x_weight", "all six")]
        == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
        and r["bfp4:8x8"][0] == 0
    ),
    "10_the_accumulator.py": lambda r: (
        all(near(r[n][0], r[n][1], 0.1) for n in ("16", "128", "256", "512"))
        and all(near(r[n][2], r[n][3], 0.15) for n in ("16", "128", "256", "1024", "4096", "16384"))
        and r["4096"][0] > 90 * r["4096"][2]
        and r["16384"][0] > 10 * r["16384"][1]
    ),
    "11_rotate_the_outliers_away.py": lambda r: (
        r["16"][1] < 0.72 * r["1"][1] and near(r["16"][3], r["1"][3], 0.03) and r["32"][0] < r["16"][0] < r["8"][0]
    ),
    "solutions/11_rotate_the_outliers_away.py": lambda r: (
        r["nvfp4, 16 neighbours"][0] > r["nvfp4,  1 neighbours"][0]
        and r["H"][0] > 1.5 * r["as they are"][0]
        and near(r["signs and H"][0], r["as they are"][0], 0.1)
    ),
    "12_build_nvfp4_yourself.py": lambda r: (
        r["all in 4 bits"][0] > 2.2 * r["NVFP4"][0]
        and r["dice for x"][0] > 1.4 * r["NVFP4"][0]
        and r["blocks of 32, 2^k"][0] > 1.15 * r["NVFP4"][0]
        and all(near(r[name][0], r["NVFP4"][0], 0.2) for name in ("no dice for gy", "W in rows", "not rotated"))
    ),
    "solutions/12_build_nvfp4_yourself.py": lambda r: (
        r["stochastic"][0] > r["nearest"][0] == r["nearest"][1] > 5 * r["stochastic"][1]
        and 5 < r["left of the price"][0] < 30
    ),
    "13_which_updates_are_swallowed.py": lambda r: (
        all(r[fmt][1] > 0.9 * r[fmt][2] for fmt in ("bfp3", "bfp5", "bfp8"))
        and r["bfp8"][0] > 5 * r["bfp3"][0]
        and r["bfp8"][1] < r["bfp5"][1]
    ),
    "solutions/13_which_updates_are_swallowed.py": lambda r: (
        r["no accumulator"][0] > 40 and r["an accumulator"][0] < 2 and r["the new rate"][0] > 40 > r["the old rate"][0]
    ),
    "solutions/06_train_a_cnn_in_few_bits.py": lambda r: (
        r["an accumulator"][0] < r["nearest"][0] / 2
        and r["nearest at rate 0.1"][0] < r["stochastic at rate 0.1"][0] + 1
    ),
    "solutions/08_batchnorm_after_averaging.py": lambda r: (
        r["bfp3"][0] < 0.85 and r["bfp8"][0] > 0.9 and abs(r["64 images"][0] - r["1297 images"][0]) < 2
    ),
}


def cells(path):
    """Return the text and the code of each cell; the docstring is the first cell's text."""
    title, *rest = re.split(r"^# %%.*\n", path.read_text(), flags=re.MULTILINE)
    _, text, code = title.split('"""', 2)
    parts = [re.match(r"((?:#.*\n)*)((?:.*\n)*)", part).groups() for part in rest]
    return [(text, code), *((re.sub("^# ?", "", text, flags=re.MULTILINE), code) for text, code in parts)]


def run(path, folder, look=""):
    """Run the script as `python PATH FOLDER`; return what each cell printed."""
    marked = path.read_text().replace("\n# %%", f"\nprint({MARK!r})\n# %%")
    script = folder / path.name
    script.write_text(marked + look)
    environment = {**os.environ, "MPLBACKEND": "agg", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, script, folder], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    script.unlink()
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{MARK}\n")


def figures(text):
    """Return the numbers in a text."""
    numbers = re.findall(r"\d[\d,_]*(?:\.\d+)?(?:e-?\d+)?", text)
    return {float(number.rstrip(",").replace(",", "").replace("_", "")) for number in numbers}


def check_texts(path, outputs):
    """Every figure of a text is printed, or written, by the code beside it: the cell's, the one's before, or after."""
    told = cells(path)
    seen = [figures(code + output) for (_, code), output in zip(told, outputs, strict=True)]
    for i, (text, _) in enumerate(told):
        beside = seen if i == 0 else seen[max(i - 1, 0) : i + 2]
        claims = NAMES.sub(" ", text.split("To change: ")[0])
        assert figures(claims) - {1, 2} <= set().union(*beside), (path.name, text)
    claim = CLAIMS.get(path.relative_to(FOLDER).as_posix())
    assert claim is None or claim(rows("".join(outputs))), outputs


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.name)
def test_a_chapter_shows_what_it_says(path, tmp_path):
    """At most 60 lines of code, a table within 80 columns, one picture whose words can be read and do not overlap."""
    code = [line for _, code in cells(path) for line in code.splitlines() if re.match(r"\s*[^#\s]", line)]
    assert len(code) <= 60
    *outputs, last = run(path, tmp_path, f"print({MARK!r})\n" + LOOK)
    assert max(len(line) for output in outputs for line in output.splitlines()) <= 80
    check_texts(path, outputs)
    assert [p.name for p in tmp_path.iterdir()] == [f"{path.stem}.png"]
    picture = json.loads(last)
    assert picture["overlaps"] == []
    assert 5 * picture["points"] / picture["inches"] > 8  # points where the picture is 5 inches wide, half a slide


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda p: p.name)
def test_a_solution_shows_what_it_says(path, tmp_path):
    """It answers both exercises, and its figures are those it prints."""
    texts = [text for text, _ in cells(path)]
    assert [text[0] for text in texts if re.match(r"\d\. ", text)] == ["1", "2"]
    check_texts(path, run(path, tmp_path))


def test_notebooks_run(tmp_path):
    """The notebooks hold each chapter's cells; four of them run, and end with a picture."""
    subprocess.run([sys.executable, FOLDER / "make_notebooks.py", tmp_path], check=True)
    notebooks = sorted(tmp_path.iterdir())
    assert [p.stem for p in notebooks] == [p.stem for p in CHAPTERS]
    (swallowed,) = tmp_path.glob("*_which_updates_are_swallowed.ipynb")
    some = [*(str(notebooks[i]) for i in (0, 2, 4)), str(swallowed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-m", "jupyter", "execute", "--inplace", *some], check=True, env=environment)
    for path in some:
        done = json.loads(pathlib.Path(path).read_text())["cells"]
        parts = [part.strip() for cell in cells(FOLDER / f"{pathlib.Path(path).stem}.py") for part in cell]
        assert ["".join(cell["source"]) for cell in done] == [part for part in parts if part]
        outputs = [output for cell in done for output in cell.get("outputs", [])]
        assert [output for output in outputs if "image/png" in output.get("data", {})] == outputs[-1:]
    streams = ([output for output in cell.get("outputs", []) if output.get("name") == "stdout"] for cell in done)
    told = ["".join(text for output in outputs for text in output["text"]) for outputs in streams if outputs]
    table, story, shares = told  # of a step in bfp3: which parameters stand still, how one weight did, more bits
    assert re.search(r"^4\.weight .* stuck$", table, re.MULTILINE) and "\nstuck: nearest rounding swallows" in table
    assert re.search(r"^after .*, as it was$", story, re.MULTILINE) and story.startswith("4.weight[")
    assert [line.split()[0] for line in shares.splitlines()[1:]] == ["bfp3", "bfp4", "bfp5", "bfp6", "bfp8"]


def test_the_chapters_are_numbered_and_all_have_solutions():
    """The numbers run without a gap from 01; a chapter asks a question, and names its solutions."""
    assert [p.name[:2] for p in CHAPTERS] == [f"{i:02}" for i in range(1, len(CHAPTERS) + 1)]
    assert [p.name for p in SOLUTIONS] == [p.name for p in CHAPTERS]
    for path in CHAPTERS:
        told = cells(path)
        assert "\nQuestion: " in told[0][0] and f"`solutions/{path.name}`" in told[-1][0]
        assert "To change: " in told[-1][0] and not told[-1][1]
