"""Data sets as lists of videos: what is there, which part it belongs to, what cannot be read.

A data set is one function that yields `Candidate`s, registered by `@data_set("name")`. Everything
else, decoding each file once to check and measure it, naming the broken ones, keeping the findings
for the next time, is the same for all of them and happens in `open_set`.
"""

from __future__ import annotations

import csv
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Literal

from repflow_pl.data.parallel import console, parallel_map
from repflow_pl.errors import UserError, unknown
from repflow_pl.files import atomic_write
from repflow_pl.specs import ClipSpec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SAVE_EVERY = 60.0
"""Seconds between savings of an unfinished index: what a killed process loses at most."""


@dataclass(frozen=True)
class Candidate:
    """A file that a data set names, before anybody has looked into it."""

    path: str
    """Relative to the root, with forward slashes."""
    label: str
    """Name of the class."""
    split: Split


@dataclass(frozen=True)
class Video:
    """A file that was decoded from end to end."""

    path: str
    """Relative to the root, with forward slashes."""
    label: int
    """Place of its class in `VideoSet.classes`."""
    split: Split
    frames: int
    fps: float
    width: int
    height: int
    bytes: int


@dataclass(frozen=True)
class Broken:
    """A file that cannot be decoded, and why, in one line."""

    path: str
    reason: str


@dataclass(frozen=True)
class VideoSet:
    """A data set that can be read."""

    name: str
    root: Path
    classes: tuple[str, ...]
    videos: tuple[Video, ...]
    """By part, then by path; a video's index is its place in its part."""
    broken: tuple[Broken, ...]
    """Files that the set goes on without."""
    mirror_safe: bool
    """Whether a mirrored clip still belongs to its class."""

    def part(self, split: Split) -> tuple[Video, ...]:
        """The videos of one part, always in the same order."""
        return tuple(video for video in self.videos if video.split == split)

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that stand for the list of videos, wherever it lies on disk."""
        lines = sorted(
            f"{video.split}\t{self.classes[video.label]}\t{video.path}\t{video.bytes}"
            for video in self.videos
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


CandidateFunction = Callable[[Path], Iterable[Candidate]]


@dataclass(frozen=True)
class _Entry:
    name: str
    candidates: CandidateFunction
    clip: ClipSpec
    mirror_safe: bool | None
    default_root: str | None
    generated: bool
    hint: str


_registry: dict[str, _Entry] = {}

MIRROR_MARKER = "mirror_safe"


def data_set(
    name: str,
    *,
    hint: str,
    clip: ClipSpec | None = None,
    mirror_safe: bool | None = None,
    default_root: str | None = None,
    generated: bool = False,
) -> Callable[[CandidateFunction], CandidateFunction]:
    """Register a function root -> candidates as the data set `name`.

    Args:
        hint: what to do when the root is missing or empty; ends an error's sentence.
        clip: how its videos best become clips, `ClipSpec()` if not said.
        mirror_safe: whether mirrored clips keep their class; None asks the user, who says yes by an
            empty file named `mirror_safe` in the root.
        default_root: folder in the cache where the set lies unless the user names another.
        generated: the function makes the root itself.
    """

    def register(function: CandidateFunction) -> CandidateFunction:
        if name in _registry:
            raise ValueError(f"the data set {name!r} is registered twice")
        _registry[name] = _Entry(
            name, function, clip or ClipSpec(), mirror_safe, default_root, generated, hint
        )
        return function

    return register


def set_names() -> tuple[str, ...]:
    """The names that `open_set` knows."""
    return tuple(sorted(_registry))


def default_clip(name: str) -> ClipSpec:
    """How the videos of a data set best become clips."""
    return _entry(name).clip


def cache_dir() -> Path:
    """Where everything that can be made again is kept: $REPFLOW_CACHE or the user's cache."""
    import platformdirs

    chosen = os.environ.get("REPFLOW_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("repflow_pl")


def open_set(name: str, root: Path | None = None, workers: int | None = None) -> VideoSet:
    """List the videos of a data set; the first time each of them is decoded completely.

    What was found is kept in the cache, so the next opening only compares sizes and times.

    Args:
        name: a registered data set.
        root: its folder; None for the set's own place in the cache, where it has one.
        workers: processes that decode; None takes every core.

    Errors: UserError for an unknown name, a missing root, a root without videos, and a class
    that has no readable video for training or testing.
    """
    entry = _entry(name)
    root = _root(entry, root)
    candidates = list(entry.candidates(root))
    if not candidates:
        raise UserError(f"{name}: there are no videos under {root}; {entry.hint}.")
    findings = _decode_all(name, root, [candidate.path for candidate in candidates], workers)

    classes = tuple(sorted({candidate.label for candidate in candidates}))
    videos = []
    broken = []
    for candidate in candidates:
        found = findings[candidate.path]
        if found.error:
            broken.append(Broken(candidate.path, found.error))
            continue
        videos.append(
            Video(
                candidate.path,
                classes.index(candidate.label),
                candidate.split,
                found.frames,
                found.fps,
                found.width,
                found.height,
                found.bytes,
            )
        )
    videos.sort(key=lambda video: (SPLITS.index(video.split), video.path))
    broken.sort(key=lambda file: file.path)
    _tell_broken(name, broken, len(candidates))
    mirror_safe = entry.mirror_safe
    if mirror_safe is None:
        mirror_safe = (root / MIRROR_MARKER).is_file()
    opened = VideoSet(name, root, classes, tuple(videos), tuple(broken), mirror_safe)
    _refuse_empty_classes(opened)
    return opened


@dataclass(frozen=True)
class _Finding:
    """One line of the manifest: a file as it was when it was last decoded."""

    path: str
    bytes: int
    mtime_ns: int
    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    error: str = field(default="")


def _entry(name: str) -> _Entry:
    if name not in _registry:
        raise unknown("data set", name, set_names())
    return _registry[name]


def _root(entry: _Entry, root: Path | None) -> Path:
    if root is None:
        if entry.default_root is None:
            raise UserError(f"{entry.name}: no folder was given; {entry.hint}.")
        root = cache_dir() / entry.default_root
    root = root.expanduser().absolute()
    if not entry.generated and not root.is_dir():
        raise UserError(f"{entry.name}: there is no folder {root}; {entry.hint}.")
    return root


def _decode_all(
    name: str, root: Path, paths: Sequence[str], workers: int | None
) -> dict[str, _Finding]:
    """What is in every file, from the manifest where the file has not changed since."""
    key = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    manifest = cache_dir() / "manifests" / f"{name}-{key}.csv"
    known = _read_manifest(manifest)
    findings: dict[str, _Finding] = {}
    todo = []
    for path in paths:
        now = _look(root, path)
        before = known.get(path)
        if before is not None and (before.bytes, before.mtime_ns) == (now.bytes, now.mtime_ns):
            findings[path] = before
        else:
            todo.append((root, path))
    if not todo:
        return findings
    saved = time.monotonic()
    try:
        for finding in parallel_map(_decode, todo, f"Checking {name}", workers):
            findings[finding.path] = finding
            if time.monotonic() - saved > SAVE_EVERY:
                _write_manifest(manifest, findings)
                saved = time.monotonic()
    finally:  # an interrupted indexing goes on where it was
        _write_manifest(manifest, findings)
    return findings


def _look(root: Path, path: str) -> _Finding:
    status = (root / path).stat()
    return _Finding(path, status.st_size, status.st_mtime_ns)


def _decode(job: tuple[Path, str]) -> _Finding:
    from repflow_pl.data.decode import DecodeError, probe

    root, path = job
    now = _look(root, path)
    try:
        found = probe(root / path)
    except (DecodeError, OSError) as error:
        reason = str(error).removeprefix(f"{root / path}: ")
        return _Finding(path, now.bytes, now.mtime_ns, error=" ".join(reason.split()))
    return _Finding(
        path, now.bytes, now.mtime_ns, found.frames, found.fps, found.width, found.height
    )


def _read_manifest(manifest: Path) -> dict[str, _Finding]:
    """The findings of earlier openings; a manifest in another shape is as good as none."""
    if not manifest.is_file():
        return {}
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        if next(rows, None) != [column.name for column in fields(_Finding)]:
            return {}
        findings = [
            _Finding(path, int(size), int(mtime), int(n), float(fps), int(w), int(h), error)
            for path, size, mtime, n, fps, w, h, error in rows
        ]
    return {finding.path: finding for finding in findings}


def _write_manifest(manifest: Path, findings: dict[str, _Finding]) -> None:
    with atomic_write(manifest) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(column.name for column in fields(_Finding))
        writer.writerows(astuple(findings[path]) for path in sorted(findings))


def _tell_broken(name: str, broken: Sequence[Broken], total: int) -> None:
    if not broken:
        return
    console.print(
        f"{name}: {len(broken)} of {total} videos cannot be read and are left out:", markup=False
    )
    for file in broken:
        console.print(f"  {file.path}: {file.reason}", markup=False)


def _refuse_empty_classes(opened: VideoSet) -> None:
    for split in ("train", "test"):
        present = {video.label for video in opened.videos if video.split == split}
        for label, name in enumerate(opened.classes):
            if label not in present:
                raise UserError(
                    f"{opened.name}: the class {name!r} has no readable video in the {split} part "
                    f"under {opened.root}; add some or remove the class."
                )
