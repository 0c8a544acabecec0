"""Where a list's clips lie: by the names of the files, in whatever folders and containers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from repflow_pl.errors import UserError

SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("mp4", "avi", "mkv", "mov", "webm", "m4v"),
        *("mpg", "mpeg", "ts", "flv", "wmv", "3gp", "ogv"),
    )
)
"""Endings of containers that both decoders read."""


def videos_under(root: Path) -> Iterator[str]:
    """The videos under a folder, paths relative to it with slashes, always in the same order.

    Hidden files and folders are passed over. Links are followed; no folder is entered twice, nor
    one that holds `root`, so that links in a circle end.
    Errors: UserError where a folder cannot be read.
    """
    entered = {_identity(folder) for folder in root.resolve().parents}
    for folder, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        identity = _identity(Path(folder))
        if identity in entered:
            folders.clear()
            continue
        entered.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        place = Path(folder).relative_to(root)
        for name in sorted(names):
            if PurePath(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield (place / name).as_posix()


def files_by_stem(root: Path, fold_case: bool = False) -> dict[str, str]:
    """The videos under a folder: name without suffix -> path relative to it, with slashes.

    Of two files of one name the first counts, by path. Hidden folders are passed over.
    """
    found: dict[str, str] = {}
    for path in videos_under(root):
        stem = PurePath(path).stem
        found.setdefault(stem.casefold() if fold_case else stem, path)
    return found


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):  # no folder holds no videos
        return
    raise UserError(
        f"cannot read the folder {error.filename}: {error.strerror}; make it readable or remove it."
    ) from error
