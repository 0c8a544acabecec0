"""Data sets as lists of videos: what is there, which part it belongs to, what cannot be read.

A data set is one function that yields `Candidate`s, registered by `@data_set("name")`. Everything
else, decoding each file once to check and measure it, naming the broken ones, keeping the findings
for the next time, is the same for all of them and happens in `open_set`.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repflow_pl.data.decode_pyav import Access
from repflow_pl.data.found import unread_under
from repflow_pl.data.manifest import MISSING, Finding, digest, examine, known_findings
from repflow_pl.data.parallel import console
from repflow_pl.errors import UserError, unknown
from repflow_pl.files import check_name
from repflow_pl.specs import ClipSpec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


SHOWN = 20
"""Broken files that are named one by one when a set is opened."""
FEW = 3
"""Files that are no videos for us and named then."""


@dataclass(frozen=True)
class Candidate:
    """A file that a data set names, before anybody has looked into it, or for it at all.

    Errors: UserError for a path that leads out of the root, or that is no text (names in Latin-1):
    it could not be printed, listed or kept.
    """

    path: str
    """Relative to the root, with forward slashes."""
    label: str
    """Name of the class."""
    split: Split
    fold: int = 1
    """Which of the set's official splits says so, counted from 1."""
    group: str = ""
    """Videos of one group are alike, as those cut from one source are; "" is a group of its own."""

    def __post_init__(self) -> None:
        if self.path.startswith("/") or ".." in self.path.split("/") or "\0" in self.path:
            raise UserError(
                f"a list names {self.path!r}, which is no path below the data set's folder; mend "
                "or remove that line."
            )
        check_name(self.path)


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
    access: Access = "read"
    """How its frames may be reached."""
    group: str = ""
    """As of `Candidate`."""


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
    fold: int = 1
    """Which of the official splits this is."""
    missing: tuple[str, ...] = ()
    """Paths of files that the split's list names and the disk does not have."""
    manifest: str = ""
    """12 hexadecimal digits that stand for everything that was found in the split's files, the
    broken and the missing ones with them."""

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
    folds: int
    any_folder: bool


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
    folds: int = 1,
    any_folder: bool = False,
) -> Callable[[CandidateFunction], CandidateFunction]:
    """Register a function root -> candidates as the data set `name`.

    Args:
        hint: what to do when the root is missing or empty; ends an error's sentence.
        clip: how its videos best become clips, `ClipSpec()` if not said.
        mirror_safe: whether mirrored clips keep their class; None asks the user, who says yes by an
            empty file named `mirror_safe` in the root.
        default_root: folder in the cache where the set lies unless the user names another.
        generated: the function makes the root itself.
        folds: how many official splits the set has; its function yields a candidate for each file
            and split.
        any_folder: the name stands for whatever a user gives: `identity` tells the sets apart.
    """

    def register(function: CandidateFunction) -> CandidateFunction:
        if name in _registry:
            raise ValueError(f"the data set {name!r} is registered twice")
        _registry[name] = _Entry(
            name,
            function,
            clip or ClipSpec(),
            mirror_safe,
            default_root,
            generated,
            hint,
            folds,
            any_folder,
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


def fold_count(name: str) -> int:
    """How many official splits a data set has."""
    return _entry(name).folds


def identity(name: str, fingerprint: str) -> str:
    """What tells a set from all others: its name, with its list of videos where any folder has it.

    No part of a path: two users' folders of one name are two sets, and a moved one is the same.
    """
    return f"{name}-{fingerprint}" if _entry(name).any_folder else name


def open_set(
    name: str, root: Path | None = None, workers: int | None = None, fold: int = 1
) -> VideoSet:
    """List the videos of a data set; the first time each of them is decoded completely.

    What was found is kept in a manifest in the cache, so the next opening only compares sizes and
    times.

    Args:
        name: a registered data set.
        root: its folder; None for the set's own place in the cache, where it has one.
        workers: processes that decode; None takes every core, 0 decodes in this process, which a
            decoder that dies takes with it.
        fold: which of the set's official splits, from 1.

    Errors: UserError for an unknown name or split, a missing root, a root without videos, and a
    class that has no readable video for training or testing.
    """
    listed = list_set(name, root, workers)
    opened = listed.fold(fold)
    _tell_left_out(opened)
    _refuse_empty_classes(opened)
    return opened


@dataclass(frozen=True)
class Listed:
    """A data set with all its official splits, and what was found in each file."""

    name: str
    root: Path
    folds: int
    candidates: tuple[Candidate, ...]
    findings: dict[str, Finding]
    """By path."""
    manifest: Path
    mirror_safe: bool

    def fold(self, fold: int) -> VideoSet:
        """One of the splits. Errors: UserError where there is no such split."""
        if not 1 <= fold <= self.folds:
            has = "one split only" if self.folds == 1 else f"the splits 1 to {self.folds}"
            raise UserError(f"{self.name} has {has}: there is no split {fold}.")
        candidates = [candidate for candidate in self.candidates if candidate.fold == fold]
        classes = tuple(sorted({candidate.label for candidate in candidates}))
        number = {label: k for k, label in enumerate(classes)}
        videos, broken, missing, lines = [], [], [], []
        for candidate in candidates:
            found = self.findings[candidate.path]
            lines.append(
                f"{candidate.split}\t{candidate.label}\t{found.path}\t{found.bytes}\t"
                f"{found.frames}\t{found.fps}\t{found.width}\t{found.height}\t{found.error}"
            )
            if found.error == MISSING:
                missing.append(candidate.path)
            elif found.error:
                broken.append(Broken(candidate.path, found.error))
            else:
                videos.append(_video(candidate, number[candidate.label], found))
        videos.sort(key=lambda video: (SPLITS.index(video.split), video.path))
        return VideoSet(
            self.name,
            self.root,
            classes,
            tuple(videos),
            tuple(sorted(broken, key=lambda file: file.path)),
            self.mirror_safe,
            fold,
            tuple(sorted(missing)),
            digest(lines),
        )


def list_set(
    name: str,
    root: Path | None = None,
    workers: int | None = None,
    listing: CandidateFunction | None = None,
) -> Listed:
    """Decode what was not decoded yet of all splits, and say what is in every file.

    Args:
        listing: in the place of the set's own function.

    Errors: UserError for an unknown name, a missing root, a root without videos, and a video that
    is trained on and evaluated as well.
    """
    entry = _entry(name)
    root = _root(entry, root)
    _tell_unread(name, root)
    candidates = _candidates(entry, root, listing)
    findings = examine(name, root, _files(candidates), manifest_path(name, root), workers)
    return _listed(entry, root, candidates, findings)


def known_set(name: str, root: Path | None = None, fold: int = 1) -> VideoSet | None:
    """What `open_set` would open without a video being decoded or made; None if one had to be."""
    entry = _entry(name)
    root = _root(entry, root)
    manifest = manifest_path(name, root)
    if not manifest.is_file() or not root.is_dir():
        return None
    candidates = _candidates(entry, root)
    findings = known_findings(root, _files(candidates), manifest)
    return None if findings is None else _listed(entry, root, candidates, findings).fold(fold)


def _candidates(
    entry: _Entry, root: Path, listing: CandidateFunction | None = None
) -> tuple[Candidate, ...]:
    candidates = tuple((listing or entry.candidates)(root))
    if not candidates:
        raise UserError(f"{entry.name}: there are no videos under {root}; {entry.hint}.")
    trained = {(c.fold, c.path) for c in candidates if c.split == "train"}
    both = [c for c in candidates if c.split != "train" and (c.fold, c.path) in trained]
    if both:
        raise UserError(
            f"{entry.name}: {len(both)} of {len(candidates)} entries of its lists, as "
            f"{both[0].path}, are for {both[0].split} and for train; take them out of one of both."
        )
    return candidates


def _files(candidates: Iterable[Candidate]) -> list[tuple[str, str]]:
    return sorted({(candidate.path, candidate.label) for candidate in candidates})


def _listed(
    entry: _Entry, root: Path, candidates: tuple[Candidate, ...], findings: dict[str, Finding]
) -> Listed:
    name = entry.name
    if all(finding.error == MISSING for finding in findings.values()):
        raise UserError(f"{name}: there are no videos of its lists under {root}; {entry.hint}.")
    mirror_safe = entry.mirror_safe
    if mirror_safe is None:
        mirror_safe = (root / MIRROR_MARKER).is_file()
    manifest = manifest_path(name, root)
    return Listed(name, root, entry.folds, candidates, findings, manifest, mirror_safe)


def candidates_of(name: str, root: Path) -> tuple[Candidate, ...]:
    """What a data set names in a folder, of all its official splits, before anybody looks."""
    return tuple(_entry(name).candidates(root))


def manifest_path(name: str, root: Path) -> Path:
    """Where the manifest of a data set in a folder is kept."""
    key = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    return cache_dir() / "manifests" / f"{name}-{key}.csv"


def _video(candidate: Candidate, label: int, found: Finding) -> Video:
    return Video(
        candidate.path,
        label,
        candidate.split,
        found.frames,
        found.fps,
        found.width,
        found.height,
        found.bytes,
        found.access,
        candidate.group,
    )


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
    check_name(str(root))
    if not entry.generated and not root.is_dir():
        raise UserError(f"{entry.name}: there is no folder {root}; {entry.hint}.")
    return root


def _tell_left_out(opened: VideoSet) -> None:
    name, broken, missing = opened.name, opened.broken, opened.missing
    total = len(opened.videos) + len(broken) + len(missing)
    if broken:
        console.print(
            f"{name}: {len(broken)} of {total} videos cannot be read and are left out:",
            markup=False,
        )
        for file in broken[:SHOWN]:
            console.print(f"  {file.path}: {file.reason}", markup=False)
        if len(broken) > SHOWN:
            console.print(f"  and {len(broken) - SHOWN} more", markup=False)
    if missing:
        console.print(
            f"{name}: {len(missing)} of {total} videos are not there and are left out; "
            f"python -m repflow_pl.data verify {name} ROOT names them.",
            markup=False,
        )


@functools.cache  # a set is opened once for each of its splits
def _tell_unread(name: str, root: Path) -> None:
    unread = unread_under(root)
    if unread:
        more = f" and {len(unread) - FEW} more" if len(unread) > FEW else ""
        console.print(
            f"{name}: {len(unread)} files look like videos and are not read: "
            f"{', '.join(unread[:FEW])}{more}; convert them (ffmpeg -i FILE FILE.mp4) or move them "
            "away.",
            markup=False,
        )


def _refuse_empty_classes(opened: VideoSet) -> None:
    for split in ("train", "test"):
        present = {video.label for video in opened.videos if video.split == split}
        for label, name in enumerate(opened.classes):
            if label not in present:
                do = (
                    "add some, remove the class, or lay the videos out as "
                    "train/, val/ and test/<class>/ yourself"
                )
                if opened.missing:
                    do = f"python -m repflow_pl.data verify {opened.name} ROOT says what is missing"
                raise UserError(
                    f"{opened.name}: the class {name!r} has no readable video in the {split} part "
                    f"under {opened.root}; {do}."
                )
