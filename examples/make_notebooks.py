"""Write the chapters as notebooks: python examples/make_notebooks.py FOLDER"""

import json
import re
import sys
from pathlib import Path

CHAPTERS = sorted(Path(__file__).parent.glob("[0-9]*.py"))


def notebook(source: str) -> dict:
    """Return a chapter as a notebook (nbformat 4.5): its docstring and the comments after each `# %%` are the text."""
    _, title, first = re.split('"""', source, maxsplit=2)
    cells = [("markdown", title), ("code", first.split("\n# %%\n")[0])]
    for cell in first.split("\n# %%\n")[1:]:
        comment, code = re.match(r"((?:#.*\n)*)([\s\S]*)", cell).groups()
        cells += [("markdown", re.sub("^# ?", "", comment, flags=re.MULTILINE)), ("code", code)]
    return {
        "cells": [_cell(i, kind, text.strip()) for i, (kind, text) in enumerate(cells) if text.strip()],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(i: int, kind: str, text: str) -> dict:
    runs = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"id": str(i), "cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True), **runs}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for path in CHAPTERS:
        (folder / f"{path.stem}.ipynb").write_text(json.dumps(notebook(path.read_text()), indent=1) + "\n")
