"""What was found in every file of a data set: a CSV in the cache, one line a file.

`verify` and the first training decode the files and write it, and every later opening reads it.
An interrupted pass has saved what it found, and the next one goes on from there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import cast, get_args

from repflow_pl.data.decoding.decode import Decoder, chosen_decoder, probe
from repflow_pl.data.decoding.decode_pyav import Access, DecodeError, reason_of
from repflow_pl.data.decoding.isolated import TIMEOUT, Lost, isolated_map
from repflow_pl.data.parallel import console
from repflow_pl.files import atomic_write

SAVE_EVERY = 60.0
"""Seconds between savings of an unfinished manifest: what a killed process loses at most."""
PIECE = 2**20
"""Bytes of a file that are looked at at once."""
ACCESSES = frozenset(get_args(Access))
MISSING = "missing"
"""The error of a file that a list names and the disk does not have."""


@dataclass(frozen=True)
class Finding:
    """One line of a manifest: a file as it was when it was last decoded."""

    path: str
    """Relative to the root, with forward slashes."""
    label: str
    """Name of the class."""
    bytes: int
    mtime_ns: int
    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    access: Access = "read"
    """How its frames may be reached."""
    decoder: str = ""
    """That was chosen then. decord reads no file that it was not tried on."""
    content: str = ""
    """16 hexadecimal digits that stand for all its bytes."""
    error: str = ""
    """Why it cannot be used, in one line; empty for a sound file."""


def examine(
    name: str,
    root: Path,
    files: Sequence[tuple[str, str]],
    manifest: Path,
    workers: int | None,
    timeout: float = TIMEOUT,
    again: bool = False,
) -> dict[str, Finding]:
    """What is in every one of `files` (path, class), by path.

    A file that has not changed since the manifest was written is not decoded again, unless the
    other decoder found it broken, or decord is chosen now and was not then. A file at which the
    decoder dies, or that it is not through with in `timeout` seconds, is named like any other
    that cannot be decoded. All of those are tried anew where `again` says so.
    """
    known = read_manifest(manifest)
    findings, todo = _compare(root, files, known, again)
    if not todo and findings == known:
        return findings
    saved = time.monotonic()
    try:
        for (path, now), found in isolated_map(decode, todo, f"Checking {name}", workers, timeout):
            if isinstance(found, Lost):
                found = replace(now, error=f"the decoder was lost: {found}")
            elif isinstance(found, DecodeError):
                found = replace(now, error=reason_of(found, path))
            findings[now.path] = found
            if time.monotonic() - saved > SAVE_EVERY:
                write_manifest(manifest, findings)
                saved = time.monotonic()
    finally:  # an interrupted pass goes on where it was
        write_manifest(manifest, findings)
    return findings


def known_findings(
    root: Path, files: Sequence[tuple[str, str]], manifest: Path
) -> dict[str, Finding] | None:
    """What `examine` would return, if it had nothing to decode; None if it had."""
    findings, todo = _compare(root, files, read_manifest(manifest))
    return None if todo else findings


def decode(job: tuple[Path, Finding]) -> Finding:
    """Decode a file from end to end, of which no more is known than how it lies there.

    Errors: DecodeError as of `probe`.
    """
    path, now = job
    return replace(now, **vars(probe(path)), content=content_of(path))


def content_of(path: Path) -> str:
    """16 hexadecimal digits that stand for a file's bytes, wherever it lies and whenever it was
    written."""
    hashed = hashlib.blake2b(digest_size=8)
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            hashed.update(piece)
    return hashed.hexdigest()


def read_manifest(manifest: Path) -> dict[str, Finding]:
    """The findings by path; a manifest that is damaged or in another shape is as good as none."""
    if not manifest.is_file():
        return {}
    try:
        text = manifest.read_bytes().decode()
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        if header != [column.name for column in fields(Finding)]:
            return {}
        if not text.endswith("\n"):  # what is cut off may look like a whole line
            raise ValueError("cut off")
        return {row[0]: _finding(row) for row in rows}
    except (ValueError, csv.Error):
        console.print(f"{manifest} is damaged: it is made again.")
        return {}


def _finding(row: Sequence[str]) -> Finding:
    """Errors: ValueError for what is no line of a manifest."""
    path, label, size, mtime, frames, fps, width, height, access, decoder, content, error = row
    if access not in ACCESSES:
        raise ValueError(f"no access {access!r}")
    bytes.fromhex(content)
    file, shape = (int(size), int(mtime)), (int(width), int(height))
    how = cast(Access, access)
    return Finding(
        path, label, *file, int(frames), float(fps), *shape, how, decoder, content, error
    )


def write_manifest(manifest: Path, findings: dict[str, Finding]) -> None:
    """One line a file, by path; whole or not at all."""
    names = [column.name for column in fields(Finding)]
    cells = attrgetter(*names)  # `astuple` copies each one, of 100,000 files for seconds
    with atomic_write(manifest) as stream:
        writer = csv.writer(stream)  # quotes what is in its end of line: names with "\r" or "\n"
        writer.writerow(names)
        writer.writerows(cells(findings[path]) for path in sorted(findings))


def _compare(
    root: Path, files: Sequence[tuple[str, str]], known: dict[str, Finding], again: bool = False
) -> tuple[dict[str, Finding], list[tuple[Path, Finding]]]:
    """What is known of the files, and those that have to be decoded, as of `decode`."""
    decoder = chosen_decoder()
    findings: dict[str, Finding] = {}
    todo = []
    for path, label in files:
        before = known.get(path)
        try:
            status = os.stat(f"{root}/{path}")  # noqa: PTH116 (once for each of 100,000 files)
        except OSError as error:  # of a link to itself, or a disk that fails, it says more
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            told = MISSING if gone else str(error.strerror)
            findings[path] = Finding(path, label, 0, 0, error=told)
            continue
        if (
            before is not None
            and _is_still(before, label, status, decoder)
            and not (again and before.error)
        ):
            findings[path] = before
        else:
            now = Finding(path, label, status.st_size, status.st_mtime_ns, decoder=decoder)
            todo.append((root / path, now))
    return findings, todo


def _is_still(before: Finding, label: str, now: os.stat_result, decoder: Decoder) -> bool:
    """Whether what was found in a file still holds."""
    if before.decoder != decoder and (before.error or decoder == "decord"):
        return False
    return (before.label, before.bytes, before.mtime_ns) == (label, now.st_size, now.st_mtime_ns)
