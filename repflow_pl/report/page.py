"""A page's three files, the same for every table: where they stand and how they are written."""

from __future__ import annotations

import io
import os
from csv import DictReader
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.files import atomic_write

PUBLISHED = Path(__file__).resolve().parents[2] / "tables"
"""What the maintainers publish; only `experiments/publish.py` writes there."""
YOURS = Path("tables") / "yours"
"""Below OUT: the tables of a user's own runs, which git ignores."""


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


def write_page(stem: Path, markdown: str, csv: str, png: bytes, replace: bool = False) -> Rendered:
    """Write `<stem>.{md,csv,png}`, each whole or not at all.

    Never less in the place of more: if a row that is there has a larger n, all three stay, unless
    `replace` says that they are of the same results, fewer of which are left.
    Errors: UserError for a place that cannot be written.
    """
    paths = md_path, csv_path, png_path = (
        stem.with_name(f"{stem.name}.md"),
        stem.with_name(f"{stem.name}.csv"),
        stem.with_name(f"{stem.name}.png"),
    )
    if not replace and all(path.is_file() for path in paths):
        before, now = _counts(csv_path.read_text(encoding="utf-8")), _counts(csv)
        if any(n > now.get(row, n) for row, n in before.items()):
            return Rendered(md_path, csv_path, png_path, kept=True)
    for path, content in zip(paths, (markdown.encode(), csv.encode(), png), strict=True):
        with atomic_write(path, "wb") as stream:
            stream.write(content)
    return Rendered(md_path, csv_path, png_path)


def _counts(text: str) -> dict[str, int]:
    """n by row, in a CSV with these columns; a benchmark has none, and its last figures count."""
    lines = [line for line in DictReader(io.StringIO(text)) if {"row", "n"} <= set(line)]
    return {line["row"]: int(line["n"]) for line in lines if line["n"].isdecimal()}
