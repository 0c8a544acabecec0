"""The tables in LaTeX: what the pages say, and LaTeX takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from repflow_pl.report.latex import escaped, latex
from tests.report.conftest import cells_of

PUBLISHED = Path(__file__).parents[2] / "tables"
PAGES = sorted([*PUBLISHED.glob("[!y]*/*.md"), PUBLISHED / "CLAIMS.md"])
PRINTED = {
    r"\textsuperscript{\dag}": "†",
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    "$-$": "−",
    r"$\times$": "×",
    r"$\pm$": "±",
    r"$\cdot$": "·",
    r"$\geq$": "≥",
    r"$\leq$": "≤",
    r"$\rightarrow$": "→",
    "$<$": "<",
    "$>$": ">",
    "$|$": "|",
    "---": "—",
    "--": "–",
    "''": '"',
}


def printed(cell: str) -> str:
    """What a reader of the paper sees of a cell."""
    cell = re.sub(r"\\(?:textbf|emph|texttt)\{(.*?)\}(?=$|[ ,.])", r"\1", cell.strip())
    cell = re.sub(r"\{\\scriptsize (.*)\}$", r"\1", cell)
    for written, shown in PRINTED.items():
        cell = cell.replace(written, shown)
    return re.sub(r"\\([&%$#_{}])", r"\1", cell).removeprefix("{}")


def lines_of(text: str) -> list[list[str]]:
    """Cells of all tables."""
    rows = re.findall(r"^(.*) \\\\$", text, re.MULTILINE)
    found = []
    for row in rows:
        heading = re.fullmatch(r"\\multicolumn\{\d+\}\{l\}\{(.*)\}", row)
        found.append(
            [printed(c) for c in ([heading[1]] if heading else re.split("(?<!\\\\)&", row))]
        )
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_a_table_prints_what_the_page_says(page: Path) -> None:
    source = page.read_text(encoding="utf-8")
    text = latex(source, "tab:x")
    assert lines_of(text) == cells_of(source)
    assert text.isascii(), "any LaTeX takes it"
    assert text.count("\\begin{table*}") == text.count("\\toprule") == text.count("\\bottomrule")
    labels = re.findall(r"\\label\{(.*)\}", text)
    assert labels[0] == "tab:x" and len(set(labels)) == len(labels)


def test_a_whole_page() -> None:
    page = """\
# Places: 50 % of a_set

Text.

| row | top-1 | [note] |
| :-- | --: | --: |
| *group* |  |  |
| **a & b** | 93.0 (79.1–100.0) | 1† |
| [c] | −1.0 | a \\| b |

Per cent, see [x.csv](x.csv). A second sentence.

- missing: a row

## Controls

| control | n |
| :-- | --: |
| d | 3 |
"""
    expected = r"""% Needs \usepackage{booktabs} and \usepackage{graphicx}.

\begin{table*}
\centering
\caption{Places: 50 \% of a\_set}
\label{tab:p}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{lrr}
\toprule
row & top-1 & {}[note] \\
\midrule
\multicolumn{3}{l}{\emph{group}} \\
\textbf{a \& b} & 93.0 {\scriptsize (79.1--100.0)} & 1\textsuperscript{\dag} \\
{}[c] & $-$1.0 & a $|$ b \\
\bottomrule
\end{tabular}}

\smallskip
\parbox{\linewidth}{\footnotesize A second sentence.}
\end{table*}

\begin{table*}
\centering
\caption{Places: 50 \% of a\_set: Controls}
\label{tab:p-2}
\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%
\begin{tabular}{lr}
\toprule
control & n \\
\midrule
d & 3 \\
\bottomrule
\end{tabular}}
\end{table*}
"""
    assert latex(page, "tab:p") == expected
    assert latex("# No table\n\nText.\n", "tab:p") == ""


def test_latex_compiles(tmp_path: Path) -> None:
    """All published tables, and every sign of the keyboard."""
    if shutil.which("pdflatex") is None or not styles():
        pytest.skip("needs LaTeX: apt install texlive-latex-recommended")
    signs = escaped(" ".join([*map(chr, range(33, 127)), *"–—−×±·≥≤→†"]))
    parts = [latex(page.read_text(encoding="utf-8"), f"tab:{k}") for k, page in enumerate(PAGES)]
    body = "\n\\clearpage\n".join([signs, *parts])
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs}\n\\usepackage{graphicx}\n"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and "multiply defined" not in done.stdout
    assert "Missing character" not in (tmp_path / "paper.log").read_text(errors="replace")


def styles() -> bool:
    found = ["kpsewhich", "booktabs.sty", "graphicx.sty"]
    return len(subprocess.run(found, capture_output=True, text=True).stdout.split()) == 2
