"""The official lists of clips that come with the package; README.md says whose they are."""

from __future__ import annotations

import lzma
from pathlib import Path

HERE = Path(__file__).parent


def read_rows(name: str) -> list[tuple[str, ...]]:
    """The lines of `<name>.tsv.xz`, split at tabs."""
    text = lzma.decompress((HERE / f"{name}.tsv.xz").read_bytes()).decode()
    return [tuple(line.split("\t")) for line in text.splitlines()]


def read_lines(name: str) -> list[str]:
    """The lines of a plain text file."""
    return (HERE / name).read_text(encoding="utf-8").splitlines()
