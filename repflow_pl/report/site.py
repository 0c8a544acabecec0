"""The results as pages for a browser, in a folder that needs no network: made from the Markdown
pages, so they say the same."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from markdown_it.token import Token

from repflow_pl.errors import UserError
from repflow_pl.files import unwritable
from repflow_pl.report.blocks import Prose, blocks, html, title
from repflow_pl.report.claims import find_claims
from repflow_pl.report.claims_page import PAGE as CLAIMS
from repflow_pl.report.claims_page import PICTURE, SHOWS, counted
from repflow_pl.report.join import find_pages
from repflow_pl.report.latex import latex
from repflow_pl.report.page import BESIDE, is_beside
from repflow_pl.report.paper import PAPER_FOLDER
from repflow_pl.report.wording import grid
from repflow_pl.templates import template

INDEX = "index.html"
STATIC = ("style.css", "sort.js")
PAPER = "paper_figures"
"""What is known of the paper's own figures."""
_OUTSIDE = ("http:", "https:", "mailto:", "#")


@dataclass(frozen=True)
class Shown:
    """A page of Markdown, and where it stands in the folder."""

    stem: PurePosixPath
    """`motion_shapes/placement`: of its `.html`, and of the `.tex` beside."""
    source: Path
    text: str

    @property
    def path(self) -> str:
        """As seen from the folder's top."""
        return f"{self.stem}.html"

    @property
    def group(self) -> str:
        """The heading it is listed under."""
        return "" if len(self.stem.parts) == 1 else self.stem.parts[0]

    @cached_property
    def title(self) -> str:
        """The page's own."""
        return title(blocks(self.text)) or self.stem.name

    @property
    def short(self) -> str:
        """The title without where it was measured, which its group says."""
        for kind in (": ", " ("):
            before, _, after = self.title.partition(kind)
            if self.group in after:
                return before
        return self.title

    @property
    def picture(self) -> str | None:
        """That of its table, as seen from the top."""
        return f"{self.stem}.png" if self.source.with_suffix(".png").is_file() else None

    @property
    def finding(self) -> tuple[Token, ...]:
        """Which row is best, in the page's own words; none where it does not say."""
        for block in blocks(self.text, lambda target: None):
            for token in block.parts if isinstance(block, Prose) else ():
                if token.type == "inline" and token.content.startswith("Best measured"):
                    return (token,)
        return ()


def write_site(tables: Path, out: Path) -> tuple[Path, int]:
    """Write all pages of TABLES to OUT; the first of them, and how many there are.

    Errors: UserError where there is no table, or a place cannot be written.
    """
    joined = find_pages(tables)
    if not joined:
        raise UserError(f"no table in {tables}: run one of the scripts in experiments/ first.")
    stems = [
        f"{page.data}/{name}"
        for page in joined
        for name in (page.name, *(f"{page.name}_{kind}" for kind in BESIDE))
    ]
    sources = {stem: tables / f"{stem}.md" for stem in (*stems, CLAIMS.removesuffix(".md"))}
    pages = [
        Shown(PurePosixPath(stem), source, source.read_text("utf-8"))
        for stem, source in sources.items()
        if source.is_file()
    ]
    pages.append(Shown(PurePosixPath(PAPER), PAPER_FOLDER / "README.md", _paper()))
    claims = next((page.path for page in pages if page.source.name == CLAIMS), None)
    made = {page.source.resolve(): page for page in pages}
    for page in pages:
        _write_page(page, made, claims, out)
    _write(out / INDEX, _index(tables, pages, claims).encode())
    for name in STATIC:
        _copy(Path(__file__).parent / "web" / name, out / name)
    return out / INDEX, len(pages) + 1


def _write_page(page: Shown, made: dict[Path, Shown], claims: str | None, out: Path) -> None:
    """Write it, with the pictures and figures that it links."""
    folder = page.source.parent

    def follow(target: str) -> str | None:
        if target.startswith(_OUTSIDE):
            return target
        source = (folder / target).resolve()
        if source in made:
            return os.path.relpath(made[source].path, page.stem.parent)
        if not source.is_file() or not source.is_relative_to(folder.resolve()):
            return None
        _copy(source, out / page.stem.parent / target)
        return target

    parts = blocks(page.text, follow)
    if page.picture:
        _copy(page.source.with_suffix(".png"), out / page.picture)
    text = latex(page.text, f"tab:{page.stem}".replace("/", "-"))
    if text:
        _write(out / f"{page.stem}.tex", text.encode())
    made_page = template("report", "page.html").render(
        html=html,
        title=page.title,
        root="../" * (len(page.stem.parts) - 1),
        path=page.path,
        group=page.group,
        siblings=[other for other in made.values() if other.group == page.group and page.group],
        claims=claims,
        blocks=parts,
        latex=f"{page.stem.name}.tex" if text else None,
    )
    _write(out / page.path, made_page.encode())


def _paper() -> str:
    """The page of the paper's own figures, with each of its tables."""
    parts = [(PAPER_FOLDER / "README.md").read_text("utf-8").strip()]
    for path in sorted(PAPER_FOLDER.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            header, *lines = csv.reader(stream)
        parts.append(f"## {path.stem}\n\n{grid(header, lines)}")
    return "\n\n".join(parts)


def _index(tables: Path, pages: Sequence[Shown], claims: str | None) -> str:
    groups: dict[str, list[Shown]] = {}
    for page in pages:
        if page.group and not is_beside(page.stem.name):
            groups.setdefault(page.group, []).append(page)
    parts = ["# Representation flow: what was measured"]
    if claims:
        parts += [
            f"![{SHOWS}]({PICTURE})",
            f"{counted(find_claims(tables))} Each claim with its effect: [{CLAIMS}]({claims}).",
        ]
    parts.append(
        "A click on a column's title sorts a table by it. What is known of the paper's own "
        f"figures: [{PAPER}]({PAPER}.html)."
    )
    (introduction,) = blocks("\n\n".join(parts))
    assert isinstance(introduction, Prose)
    return template("report", INDEX).render(
        html=html,
        title="Representation flow: what was measured",
        root="",
        path=INDEX,
        siblings=(),
        claims=claims,
        introduction=introduction.parts,
        groups=groups,
    )


def _copy(source: Path, target: Path) -> None:
    _write(target, source.read_bytes())


def _write(path: Path, content: bytes) -> None:
    """Write what the next call can make again: it need not survive a power cut.

    Errors: UserError for a place that cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise unwritable(path, error) from error
