"""Data sets as lists of videos: what is there, which part it belongs to, what cannot be read.

A data set is one function that yields `Candidate`s, registered by `@data_set("name")`. Everything
else, decoding each file once to check and measure it, naming the broken ones, keeping the findings
for the next time, is the same for all of them and happens in `open_set`.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.data.listing.found import unread_under
from repflow_pl.data.listing.manifest import MISSING, Finding, examine, known_findings
from repflow_pl.data.listing.registry import (
    MIRROR_MARKER,
    CandidateFunction,
    Entry,
    candidates_of,
    data_set,
    default_clip,
    entry_of,
    fold_count,
    identity,
    set_names,
)
from repflow_pl.data.listing.videos import (
    SPLITS,
    Broken,
    Candidate,
    Split,
    Video,
    VideoSet,
    digest,
)
from repflow_pl.data.parallel import console
from repflow_pl.errors import UserError
from repflow_pl.files import cache_dir, check_name

__all__ = [
    "MIRROR_MARKER",
    "SPLITS",
    "Broken",
    "Candidate",
    "Listed",
    "Split",
    "Video",
    "VideoSet",
    "candidates_of",
    "data_set",
    "default_clip",
    "fold_count",
    "identity",
    "known_set",
    "list_set",
    "manifest_path",
    "open_set",
    "set_names",
]

SHOWN = 20
"""Broken or missing files that are named one by one."""
FEW = 3
"""Files that are no videos for us and named then."""


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
    again: bool = False,
) -> Listed:
    """Decode what was not decoded yet of all splits, and say what is in every file.

    Args:
        listing: in the place of the set's own function.
        again: decode what could not be read before, too.

    Errors: UserError for an unknown name, a missing root, a root without videos, and a video that
    is trained on and evaluated as well.
    """
    entry = entry_of(name)
    root = _root(entry, root)
    tell_unread(name, root)
    candidates = _candidates(entry, root, listing)
    _tell_twice(name, root, candidates)
    files, manifest = _files(candidates), manifest_path(name, root)
    findings = examine(name, root, files, manifest, workers, again=again)
    return _listed(entry, root, candidates, findings)


def known_set(name: str, root: Path | None = None, fold: int = 1) -> VideoSet | None:
    """What `open_set` would open without a video being decoded or made; None if one had to be, or
    if the set's folder has yet to be named."""
    entry = entry_of(name)
    if root is None and entry.default_root is None:
        return None
    root = _root(entry, root)
    manifest = manifest_path(name, root)
    if not manifest.is_file() or not root.is_dir():
        return None
    candidates = _candidates(entry, root)
    findings = known_findings(root, _files(candidates), manifest)
    return None if findings is None else _listed(entry, root, candidates, findings).fold(fold)


def _candidates(
    entry: Entry, root: Path, listing: CandidateFunction | None = None
) -> tuple[Candidate, ...]:
    # Each once, though lists lie twice under the root, as in an archive's folder and in a copy.
    candidates = tuple(dict.fromkeys((listing or entry.candidates)(root)))
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
    # One of its classes for a video that a list has in two: it is decoded once, and known by it.
    return sorted({candidate.path: candidate.label for candidate in candidates}.items())


def _listed(
    entry: Entry, root: Path, candidates: tuple[Candidate, ...], findings: dict[str, Finding]
) -> Listed:
    name = entry.name
    if all(finding.error == MISSING for finding in findings.values()):
        raise UserError(f"{name}: there are no videos of its lists under {root}; {entry.hint}.")
    mirror_safe = entry.mirror_safe
    if mirror_safe is None:
        mirror_safe = (root / MIRROR_MARKER).is_file()
    manifest = manifest_path(name, root)
    return Listed(name, root, entry.folds, candidates, findings, manifest, mirror_safe)


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
        found.content,
    )


def _root(entry: Entry, root: Path | None) -> Path:
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
        console.print(f"{name}: {len(broken)} of {total} videos cannot be read and are left out:")
        for line in first_of([f"{file.path}: {file.reason}" for file in broken]):
            console.print(line)
    if missing:
        console.print(
            f"{name}: {len(missing)} of {total} videos are not there and are left out; "
            f"python -m repflow_pl.data verify {name} ROOT names them."
        )


def first_of(entries: Sequence[str]) -> Iterator[str]:
    """Lines for a person at a terminal, SHOWN of them, and how many more there are."""
    yield from (f"  {entry}" for entry in entries[:SHOWN])
    if len(entries) > SHOWN:
        yield f"  and {len(entries) - SHOWN} more"


@functools.cache  # a set is opened once for each of its splits
def tell_unread(name: str, root: Path) -> None:
    """Say which files under a folder look like videos and are passed over."""
    unread = unread_under(root)
    if unread:
        more = f" and {len(unread) - FEW} more" if len(unread) > FEW else ""
        console.print(
            f"{name}: {len(unread)} files look like videos and are not read: "
            f"{', '.join(unread[:FEW])}{more}; convert them (ffmpeg -i FILE FILE.mp4) or move them "
            "away."
        )


def _tell_twice(name: str, root: Path, candidates: Iterable[Candidate]) -> None:
    classes = Counter(path for path, _ in {(each.path, each.label) for each in candidates})
    twice = sorted(path for path, count in classes.items() if count > 1)
    if twice:
        _tell_once(
            root,
            f"{name}: {len(twice)} videos, as {twice[0]}, are in several classes of its lists, and "
            "count as each of them, in training and in the test; leave each in one class.",
        )


@functools.cache
def _tell_once(root: Path, said: str) -> None:
    console.print(said)


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
