"""Join all tables into one page, and put the main one into the README."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.errors import UserError
from repflow_pl.report.claims import find_claims
from repflow_pl.report.claims_page import CLAIMS_MARKS, PICTURE, claims_excerpt, claims_page
from repflow_pl.report.claims_page import PAGE as CLAIMS
from repflow_pl.report.page import YOURS, is_beside, write
from repflow_pl.report.paper import in_papers_order
from repflow_pl.report.plot_claims import plot_claims

MARKS = "<!-- placement:begin -->", "<!-- placement:end -->"
"""What of a README the main table stands between."""
README_TABLE = ("ucf101", "placement")
"""Real video opens the results."""

WHY = ("why", "fields")
"""The pages that look into why claims hold or fail."""

INTRODUCTION = """\
# Tables

Every table of the paper that was measured, rendered from result files, and the benchmarks. Do not \
edit by hand: the next `python -m repflow_pl.report` writes this page anew. What is known of the \
paper's own figures is in [paper_figures/](../repflow_pl/report/paper_figures/README.md)."""
YOUR_INTRODUCTION = """\
# Your tables

What the commands that you ran here measured. The next one writes this page anew."""


@dataclass(frozen=True)
class Page:
    """A rendered table: `<data>/<name>.md`."""

    data: str
    """Its folder: the data set, and the profile and backbone where they are not the demo's."""
    name: str
    text: str


def join_yours(out: Path) -> Path:
    """Write the page that joins a user's own tables below OUT; its path."""
    return join(out / YOURS, introduction=YOUR_INTRODUCTION)[0]


def join(
    tables: Path, readme: Path | None = None, introduction: str = INTRODUCTION
) -> tuple[Path, ...]:
    """Write `tables/README.md` and the README's block; the files that were written.

    A README that is absent or has no markers is left alone, and so is its block while the table
    for it does not exist.
    Errors: UserError where there is no table, or one marker without the other.
    """
    pages = find_pages(tables)
    if not pages:
        raise UserError(f"no table in {tables}: run one of the scripts in experiments/ first.")
    claims = find_claims(tables)
    if claims:
        introduction += f" What the tables say of the paper's claims: [{CLAIMS}]({CLAIMS})."
    written = [tables / "README.md"]
    write(written[0], joined(pages, introduction))
    if claims:
        written.append(tables / CLAIMS)
        why = [f"{page.data}/{page.name}" for page in pages if page.name in WHY]
        write(tables / CLAIMS, claims_page(claims, why))
        write(tables / PICTURE, plot_claims(claims))
    if readme is not None and readme.is_file():
        # Whatever the rest of it is written in stays as it is.
        before = after = readme.read_text("utf-8", "surrogateescape")
        place = Path(os.path.relpath(tables.resolve(), readme.resolve().parent)).as_posix()
        if claims:
            after = with_block(after, claims_excerpt(claims, place), readme, CLAIMS_MARKS)
        for page in pages:
            if (page.data, page.name) == README_TABLE:
                after = with_block(after, excerpt(page, place), readme, MARKS)
        if after != before:
            write(readme, after.encode("utf-8", "surrogateescape"))
            written.append(readme)
    return tuple(written)


def find_pages(tables: Path) -> tuple[Page, ...]:
    """All rendered tables, by data set, in the paper's order; without the pages beside them, and
    without those that join other tables, as a user's in `yours/`."""
    files = [
        file
        for file in tables.glob("*/*.md")
        if file.parent.name != YOURS.name and not is_beside(file.stem)
    ]
    order = in_papers_order({f.stem for f in files})
    files.sort(key=lambda f: (f.parent.name, order.index(f.stem)))
    return tuple(Page(f.parent.name, f.stem, f.read_text(encoding="utf-8")) for f in files)


def joined(pages: tuple[Page, ...], introduction: str) -> str:
    """The text of tables/README.md: contents, then the pages under a heading for each data set."""
    contents, parts = [], []
    for data, of_data in itertools.groupby(pages, key=lambda page: page.data):
        contents.append(f"- {data}")
        parts.append(f"## {data}")
        for page in of_data:
            stem = f"{data}/{page.name}"
            links = ", ".join(f"[{kind}]({stem}.{kind})" for kind in ("md", "csv", "png"))
            contents.append(f"  - {page.name}: {links}")
            lower = re.sub(r"^(?=#+ )", "##", page.text.strip(), flags=re.MULTILINE)
            parts.append(_relocated(lower, data))
    return "\n\n".join([introduction, "\n".join(contents), *parts]) + "\n"


def excerpt(page: Page, tables: str) -> str:
    """What stands before a page's first section: plot, best row, table, legend.

    `tables` is the folder of the tables as seen from where the excerpt will stand.
    """
    head = re.split(r"^## ", page.text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    head = re.sub(r"^# (.*)$", r"**\1**", head, count=1, flags=re.MULTILINE)
    folder = f"{tables}/{page.data}"
    more = f"Controls, orderings and how it was measured: [{page.name}.md]({page.name}.md)."
    return _relocated(f"{head}\n\n{more}", folder)


def with_block(text: str, block: str, name: Path, marks: tuple[str, str]) -> str:
    """`text` with `block` between its markers; unchanged where it has none.

    Errors: UserError where the markers are not one pair in order.
    """
    begin, end = marks
    counts = (text.count(begin), text.count(end))
    if counts == (0, 0):
        return text
    if counts != (1, 1) or text.index(begin) > text.index(end):
        raise UserError(f"{name} needs one {begin} and, after it, one {end}: put both in place.")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    return f"{before}{begin}\n{block}\n{end}{after}"


def _relocated(text: str, folder: str) -> str:
    """Links of a page as seen from where `folder` is its folder; addresses and anchors stay."""
    return re.sub(r"\]\((?![a-z][a-z0-9+.-]*:|[#/])", f"]({folder}/", text)
