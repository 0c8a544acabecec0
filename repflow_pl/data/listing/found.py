"""Where a list's clips lie: by the names of the files, in whatever folders and containers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from repflow_pl.errors import UserError


def _endings(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


SUFFIXES = _endings("mp4 avi mkv mov webm m4v mpg mpeg ts flv wmv 3gp ogv")
"""Endings of containers that both decoders read."""
OTHERS = _endings(
    "vob mts m2ts asf divx xvid rm rmvb f4v 3g2 ogm mxf "
    "mpe m1v m2v qt dv wtv y4m h264 264 h265 hevc ivf gif"
)
"""Endings of other videos."""
NO_VIDEOS = _endings(
    "txt csv tsv json jsonl md rst xml html yaml yml toml "
    "pdf doc docx xls xlsx bib log ini db url py sh m "
    "zip rar tar gz tgz bz2 xz 7z sha1 sha256 md5 torrent "
    "npy npz mat h5 hdf5 pkl pickle pt pth parquet lmdb "
    "png jpg jpeg bmp webp tif tiff srt vtt ass sub "
    "wav mp3 m4a aac flac ogg opus part tmp bak crdownload"
)
"""Endings that are known to be none, of what lies among videos."""


def videos_under(root: Path) -> Iterator[str]:
    """The videos under a folder, paths relative to it with slashes, always in the same order.

    Hidden files and folders are passed over. Links are followed; no folder is entered twice, nor
    one that holds `root`, so that links in a circle end.
    Errors: UserError where a folder cannot be read.
    """
    for place, names in _walk(root):
        yield from (f"{place}{name}" for name in names if _ending(name) in SUFFIXES)


def unread_under(root: Path) -> list[str]:
    """The files under a folder that look like videos and are not read, paths as of `videos_under`:
    by their endings, or as they lie among videos and nobody knows what they are."""
    unread = []
    for place, names in _walk(root):
        endings = [_ending(name) for name in names]
        if SUFFIXES.issuperset(endings):
            continue
        among = not SUFFIXES.isdisjoint(endings)
        known = NO_VIDEOS | SUFFIXES | {"", "."}
        unread += [
            f"{place}{name}"
            for name, ending in zip(names, endings, strict=True)
            if ending in OTHERS or (among and ending not in known)
        ]
    return unread


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder once, as what its files' paths relative to `root` begin with, and their names.

    Strings: of 100,000 files, paths as objects take longer than to look at the disk.
    """
    entered = {_identity(folder) for folder in root.resolve().parents if folder.is_dir()}
    for folder, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        identity = _identity(Path(folder))
        if identity in entered:
            folders.clear()
            continue
        entered.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = sorted(name for name in names if not name.startswith("."))
        place = Path(folder).relative_to(root).as_posix()
        yield "" if place == "." else f"{place}/", shown


def _ending(name: str) -> str:
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def files_by_stem(root: Path, fold_case: bool = False) -> dict[str, str]:
    """The videos under a folder: name without suffix -> path relative to it, with slashes.

    Of two files of one name the first counts, by path. Hidden folders are passed over.
    """
    found: dict[str, str] = {}
    for path in videos_under(root):
        stem = PurePath(path).stem
        found.setdefault(stem.casefold() if fold_case else stem, path)
    return found


def clip_name(listed: str) -> str:
    """A clip as an official list names it, without `.avi`, in whatever case."""
    return listed[:-4] if listed.lower().endswith(".avi") else listed


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):  # no folder holds no videos
        return
    raise UserError(
        f"cannot read the folder {error.filename}: {error.strerror}; make it readable or remove it."
    ) from error
