"""The official lists of clips: those of the package, of which README.md says whose they are, and
those that a user has."""

from __future__ import annotations

import lzma
from pathlib import Path

from repflow_pl.errors import UserError
from repflow_pl.specs import ClipSpec

HERE = Path(__file__).parent
CLIP = ClipSpec(frames=16, stride=2, size=128, crop=(112, 112), flip=True, views=10, short="hold")
"""Of films and web videos of 240 pixels, or more."""


def read_rows(name: str) -> list[tuple[str, ...]]:
    """The lines of `<name>.tsv.xz`, split at tabs."""
    text = lzma.decompress((HERE / f"{name}.tsv.xz").read_bytes()).decode()
    return [tuple(line.split("\t")) for line in text.splitlines()]


def read_lines(name: str) -> list[str]:
    """The lines of a plain text file."""
    return (HERE / name).read_text(encoding="utf-8").splitlines()


def given_text(path: Path) -> str:
    """A list beside the videos. Errors: UserError where it is no text in UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"the list {path} is no text in UTF-8; save it as such, or fetch it again."
        ) from error
