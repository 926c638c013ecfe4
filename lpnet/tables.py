"""Tables in Markdown, for terminals and files."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return rows of text under a header; the first `left` columns stand on the left, figures on the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [f"{'-' * (w + 2)}" if i < left else f"{'-' * (w + 1)}:" for i, w in enumerate(widths)]
    lines = [_line(row, widths, left) for row in (header, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = (cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
    return f"| {' | '.join(cells)} |"
