"""Where a list's clips lie: by the names of the files, in whatever folders and containers."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm"})


def files_by_stem(root: Path, fold_case: bool = False) -> dict[str, str]:
    """The videos under a folder: name without suffix -> path relative to it, with slashes.

    Of two files of one name the first counts, by path. Hidden folders are passed over.
    """
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        place = Path(folder).relative_to(root).as_posix()
        for name in sorted(names):
            stem, suffix = PurePath(name).stem, PurePath(name).suffix
            if suffix.lower() in SUFFIXES and not name.startswith("."):
                path = name if place == "." else f"{place}/{name}"
                found.setdefault(stem.casefold() if fold_case else stem, path)
    return found
