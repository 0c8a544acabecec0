"""A page's three files, the same for every table: where they stand and how they are written."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterable, Sequence
from csv import DictReader
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from repflow_pl.files import atomic_write

PUBLISHED = Path(__file__).resolve().parents[2] / "tables"
"""What the maintainers publish; only `experiments/publish.py` writes there."""
YOURS = Path("tables") / "yours"
"""Below OUT: the tables of a user's own runs, which git ignores."""
BESIDE = {"classes": "class by class", "curves": "training curves"}
"""Kinds of pages beside a table's, and what it calls them."""


@dataclass(frozen=True)
class Rendered:
    """The three files of a page."""

    markdown: Path
    csv: Path
    png: Path
    kept: bool = False
    """They are older ones, which rest on more than what was to be written."""

    @property
    def said(self) -> str:
        """What became of them, and where the published page of the same name is."""
        if self.kept:
            text = (
                f"kept {self.markdown}: a row of it rests on more seeds or rounds than now; remove "
                "it with its .csv and .png, or choose another --out, to have it written anew"
            )
        else:
            text = f"wrote {self.markdown}, {self.csv.name} and {self.png.name}"
        published = PUBLISHED / self.markdown.parent.name / self.markdown.name
        if published.is_file() and published != self.markdown.resolve():
            text += f"\npublished, to compare with: {os.path.relpath(published)}"
        return text


def page_text(title: str, shows: str, stem: str, parts: Iterable[str]) -> str:
    """A whole page of Markdown: the picture, what it `shows` for who cannot see it, and the parts.
    What stands before its first `##` can be shown alone."""
    return "\n\n".join((f"# {title}", f"![{shows}]({stem}.png)", *parts)) + "\n"


def how_measured(sentences: Iterable[str]) -> list[str]:
    """The parts of a page that say how it was measured."""
    return ["## How it was measured", bullets(sentences)]


def bullets(sentences: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


@dataclass(frozen=True)
class Beside:
    """A page beside a table's, which shows more of the same results: `<table>_<kind>.{md,png}`."""

    kind: str
    markdown: str
    png: bytes


def write_beside(stem: Path, pages: Sequence[Beside]) -> None:
    """Write the pages beside a table's, and remove those that its results no longer have.

    Errors: UserError for a place that cannot be written.
    """
    for kind in BESIDE:
        page = next((page for page in pages if page.kind == kind), None)
        md, png = (stem.with_name(f"{stem.name}_{kind}.{ending}") for ending in ("md", "png"))
        if page is None:
            md.unlink(missing_ok=True)
            png.unlink(missing_ok=True)
        else:
            write(png, page.png)
            write(md, page.markdown)


def is_beside(name: str) -> bool:
    """Whether a page is one beside a table's, by its name."""
    return name.endswith(tuple(f"_{kind}" for kind in BESIDE))


def write_page(stem: Path, markdown: str, csv: str, png: bytes, replace: bool = False) -> Rendered:
    """Write `<stem>.{md,csv,png}`, each whole or not at all.

    Never less in the place of more: if a row that is there has a larger n, all three stay, unless
    `replace` says that they are of the same results, fewer of which are left.
    Errors: UserError for a place that cannot be written.
    """
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("md", "csv", "png")]
    files = Rendered(paths[0], paths[1], paths[2])
    if not replace and all(path.is_file() for path in paths):
        before, now = _counts(files.csv.read_text(encoding="utf-8")), _counts(csv)
        if any(n > now.get(row, n) for row, n in before.items()):
            return dataclasses.replace(files, kept=True)
    contents: list[str | bytes] = [markdown, csv, png]
    for path, content in zip(paths, contents, strict=True):
        write(path, content)
    return files


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all. Errors: UserError for a place that cannot be written."""
    with atomic_write(path, "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def csv_of(frame: pd.DataFrame, float_format: str | None = None) -> str:
    """A data frame without its index."""
    text: str = frame.to_csv(index=False, lineterminator="\n", float_format=float_format)
    return text


def _counts(text: str) -> dict[str, int]:
    """n by row, in a CSV with these columns; a benchmark has none, and its last figures count."""
    lines = [line for line in DictReader(io.StringIO(text)) if {"row", "n"} <= set(line)]
    return {line["row"]: int(line["n"]) for line in lines if line["n"].isdecimal()}
