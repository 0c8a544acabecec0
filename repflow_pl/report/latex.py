"""The tables of a page in LaTeX, for a paper: booktabs, the page's intervals and marks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from repflow_pl.report.blocks import (
    Cell,
    Grid,
    Line,
    Prose,
    blocks,
    inline,
    is_top,
    plain,
    sentences,
    title,
)

PREAMBLE = "% Needs \\usepackage{booktabs} and \\usepackage{graphicx}.\n"

_SIGNS = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "|": "$|$",
        '"': "''",
        "–": "--",
        "—": "---",
        "−": "$-$",
        "×": r"$\times$",
        "±": r"$\pm$",
        "·": r"$\cdot$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "→": r"$\rightarrow$",
        "†": r"\textsuperscript{\dag}",
    }
)
_MARKS = {
    "strong_open": r"\textbf{",
    "strong_close": "}",
    "em_open": r"\emph{",
    "em_close": "}",
    "softbreak": " ",
}
# One that is wider than the text is made as wide; a narrower one keeps its size.
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def latex(text: str, label: str) -> str:
    """A `table` for each table of a page of Markdown; empty where it has none.

    The caption is the page's title and the heading above the table; what stands between the table
    and the next heading is a note below it, without sentences that link other files. The first
    table has `label`, the others `label-2` and so on.
    """
    parts = blocks(text)
    found: list[str] = []
    heading = ""
    for k, block in enumerate(parts):
        if isinstance(block, Prose):
            heading = _last_heading(block, heading)
            continue
        caption = ": ".join(filter(None, (title(parts), heading)))
        after = parts[k + 1] if k + 1 < len(parts) else None
        notes = _notes(after) if isinstance(after, Prose) else ()
        number = "" if not found else f"-{len(found) + 1}"
        found.append(_table(block, caption, f"{label}{number}", notes))
    return "\n".join([PREAMBLE, *found]) if found else ""


def escaped(text: str) -> str:
    """Plain text, so that LaTeX prints it."""
    return text.translate(_SIGNS)


def _table(grid: Grid, caption: str, label: str, notes: Sequence[str]) -> str:
    columns = "".join("r" if numeric else "l" for numeric in grid.numeric)
    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{escaped(caption)}}}",
        rf"\label{{{label}}}",
        _FIT,
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_inline, grid.header.cells)) + r" \\",
        r"\midrule",
    ]
    for k, line in enumerate(grid.lines):
        if line.is_heading:
            lines += [r"\addlinespace"] * (k > 0)
            lines.append(rf"\multicolumn{{{len(columns)}}}{{l}}{{{_inline(line.cells[0])}}} \\")
        else:
            lines.append(_row(grid, line))
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if notes:
        lines += ["", r"\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {' '.join(notes)}}}"]
    return "\n".join([*lines, r"\end{table*}", ""])


def _row(grid: Grid, line: Line) -> str:
    cells = []
    for cell, numeric in zip(line.cells, grid.numeric, strict=True):
        text = _inline(cell)
        if numeric:  # what stands in brackets behind a figure is smaller
            text = re.sub(r"^(\S+) (\(.*\))$", r"\1 {\\scriptsize \2}", text)
        cells.append(text)
    return " & ".join(cells) + r" \\"


def _inline(cell: Cell) -> str:
    """A line of text; a link is its text, a picture nothing."""
    parts = []
    for token in cell:
        if token.type == "text":
            parts.append(escaped(token.content))
        elif token.type == "code_inline":
            parts.append(rf"\texttt{{{escaped(token.content)}}}")
        else:
            parts.append(_MARKS.get(token.type, ""))
    # An opening bracket at the start of a line of a tabular would be the argument of the one above.
    text = "".join(parts)
    return f"{{}}{text}" if text.startswith("[") else text


def _last_heading(block: Prose, before: str) -> str:
    found = before
    for token, after in itertools.pairwise(block.parts):
        if token.type == "heading_open":
            found = "" if is_top(token) else plain(after)
    return found


def _notes(block: Prose) -> list[str]:
    """The paragraphs up to the next heading, without what makes no sense on paper."""
    notes: list[str] = []
    for token in itertools.takewhile(lambda each: each.type != "heading_open", block.parts):
        if token.type == "inline" and token.level == 1:  # and no item of a list
            kept = " ".join(each for each in sentences(token) if "](" not in each)
            notes += [_inline(inline(kept))] if kept else []
    return notes
