"""What a set is made of: files that it names, videos that were read, files that cannot be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repflow_pl.data.decoding.decode_pyav import Access
from repflow_pl.errors import UserError
from repflow_pl.files import check_name

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


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
    content: str = ""
    """16 hexadecimal digits that stand for its file's bytes; "" where nobody looked."""


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
    def known(self) -> tuple[Video, ...]:
        """What something that is tested may know: the train and val parts, without what is in the
        test part as well, as in a set for choosing a recipe."""
        tested = {video.path for video in self.part("test")}
        return tuple(v for v in self.videos if v.split != "test" and v.path not in tested)

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that stand for the list of videos, wherever it lies on disk."""
        return digest(
            f"{video.split}\t{self.classes[video.label]}\t{video.path}\t{video.bytes}"
            for video in self.videos
        )


def digest(lines: Iterable[str]) -> str:
    """12 hexadecimal digits that stand for a set of lines, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:12]
