"""Tables as text for a terminal, as Markdown for a file, and as HTML for a notebook."""

from __future__ import annotations

import html as escaping
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

BARS = " ▁▂▃▄▅▆▇█"


def columns() -> int:
    """Return how wide text may be: the terminal's columns, from 40 to 80."""
    return max(40, min(shutil.get_terminal_size((80, 24)).columns, 80))


def fill(words: str, indent: str = "") -> str:
    """Return a paragraph as wide as text may be, its lines but the first behind `indent`."""
    return textwrap.fill(words, columns(), subsequent_indent=indent, break_on_hyphens=False)


def folded(head: Sequence[str], rows: Iterable[Sequence[str]], keys: int = 1) -> str:
    """Return a table; on a narrow terminal in parts below each other, each with the first `keys` columns."""
    cells, room = [list(map(str, row)) for row in (head, *rows)], columns()
    whole = text(cells[0], cells[1:], room)
    if max(map(len, whole.splitlines())) <= room:
        return whole
    widths = [2 + max(map(len, column)) for column in zip(*cells, strict=True)]
    room -= max(8, min(widths[0] - 2, room // 3)) + sum(widths[1:keys])
    parts: list[list[int]] = [[]]
    for i in range(keys, len(widths)):
        if parts[-1] and sum(widths[k] for k in (*parts[-1], i)) > room:
            parts.append([])
        parts[-1].append(i)
    chosen = ([[row[i] for i in (*range(keys), *part)] for row in cells] for part in parts)
    return "\n\n".join(text(part[0], part[1:], columns()) for part in chosen)


def text(head: Sequence[str], rows: Iterable[Sequence[str]], width: int = 80) -> str:
    """Return a table as wide as its cells, the first column to the left, the others to the right.

    Where it would be wider than `width`, long names in the first column have a line of their own.
    """
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths[0] = max(8, min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    return "\n".join(_line(row, widths) for row in cells)


def _line(row: list[str], widths: list[int]) -> str:
    name = row[0].ljust(widths[0]) if len(row[0]) <= widths[0] else f"{row[0]}\n{'':{widths[0]}}"
    return "  ".join([name, *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))]).rstrip()


def html(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return the table as HTML; everything in it is escaped."""

    def line(row: Sequence[str], tag: str) -> str:
        cells = (
            f'<{tag} style="text-align:{"right" if i else "left"}">{escaping.escape(str(cell))}</{tag}>'
            for i, cell in enumerate(row)
        )
        return f"<tr>{''.join(cells)}</tr>"

    title = f"<caption>{escaping.escape(caption)}</caption>" if caption else ""
    body = "".join(line(row, "td") for row in rows)
    return f"<table>{title}<thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"


def preformatted(words: str) -> str:
    """Return text as HTML that keeps its columns."""
    return f"<pre>{escaping.escape(words)}</pre>"


def bars(counts: Sequence[float]) -> str:
    """Return one bar a number, the highest for the largest; tenths in digits where the terminal has no bars."""
    most = max(counts, default=0)
    levels = [n / most if most else 0.0 for n in counts]
    if _can_print(BARS):
        return "".join(BARS[-(-round(level * 800) // 100)] for level in levels)
    return "".join(str(round(level * 9)) for level in levels)


def _can_print(characters: str) -> bool:
    try:
        characters.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def percent(part: float, whole: float) -> str:
    """Return a share in per cent; a dash of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return rows of text under a header; the first `left` columns stand on the left, figures on the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [f"{'-' * (w + 2)}" if i < left else f"{'-' * (w + 1)}:" for i, w in enumerate(widths)]
    lines = [_row(row, widths, left) for row in (header, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def _row(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = (cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
    return f"| {' | '.join(cells)} |"
