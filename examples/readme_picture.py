"""Draw chapter 07's picture as docs/noise-ball.svg, small enough for a repository: python examples/readme_picture.py"""

import hashlib
import io
import re
import runpy
from pathlib import Path

import matplotlib

matplotlib.use("svg")  # before pyplot is imported; it shows nothing
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
CHAPTER = HERE / "07_the_noise_ball.py"
DOTS = re.compile(r'(?:\s*<path d="M [\d.\s]+(?:C [\d.\s]+){8}z\s*" clip-path="[^"]*" style="fill: #\w+"/>)+')


def small(dots: re.Match) -> str:
    """Return what Matplotlib wrote as eight curves a dot as lines without length, one path for dots of one size."""
    places = {}
    for curves in re.findall(r'd="([^"]+)"', dots[0]):
        numbers = [float(x) for x in re.findall(r"[\d.]+", curves)]
        (left, right), (top, bottom) = ((min(x), max(x)) for x in (numbers[0::2], numbers[1::2]))
        places.setdefault(f"{right - left:.1f}", []).append(f"M{(left + right) / 2:.1f} {(top + bottom) / 2:.1f}h0")
    color = re.search(r"fill: (#\w+)", dots[0])[1]
    paths = (f'<path d="{"".join(at)}" stroke-width="{size}"/>' for size, at in places.items())
    return f'<g class="dots" stroke="{color}">{chr(10).join(paths)}</g>'


def version() -> str:
    """Return what tells this text of the chapter from others: a test holds the picture to it."""
    return f"chapter 07, sha256 {hashlib.sha256(CHAPTER.read_bytes()).hexdigest()[:16]}"


def draw() -> str:
    """Run the chapter and return its picture as SVG: text as text, tenths of a point, dots as dots."""
    runpy.run_path(str(CHAPTER))
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "lpnet", "font.sans-serif": "DejaVu Sans"})
    file = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Type": None, "Format": None, "Source": version()}
    plt.savefig(file, format="svg", metadata=metadata)
    svg = DOTS.sub(small, file.getvalue())
    svg = svg.replace("</style>", ".dots path {stroke-linecap: round}</style>")
    svg = re.sub(r"\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", svg)
    return re.sub(r" +\n", "\n", svg)


if __name__ == "__main__":
    (HERE.parent / "docs/noise-ball.svg").write_text(draw())
