"""Any video file as a data set of one video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from repflow_pl.data.decoding.decode import probe
from repflow_pl.data.decoding.decode_pyav import DecodeError
from repflow_pl.data.decoding.isolated import IsolatedProcess
from repflow_pl.data.index import Video, VideoSet
from repflow_pl.data.listing.found import videos_under
from repflow_pl.errors import UserError
from repflow_pl.files import check_name

TIMEOUT = 3600.0
"""Seconds that one video may take to be decoded from end to end."""


def one_video(path: Path, classes: Sequence[str], process: IsolatedProcess) -> VideoSet:
    """A video as the test part of a set, decoded from end to end in `process` to measure it.

    Errors: UserError where it is not there or cannot be decoded.
    """
    check_file(path)
    try:
        found = process.call(probe, path)
    except DecodeError as error:
        raise unreadable(path, error) from error
    video = Video(
        path.name,
        0,
        "test",
        found.frames,
        found.fps,
        found.width,
        found.height,
        path.stat().st_size,
        found.access,
    )
    return VideoSet("video", path.parent, tuple(classes), (video,), (), mirror_safe=False)


def check_file(path: Path) -> None:
    """Errors: UserError for what is no file."""
    check_name(str(path))
    if not path.is_file():
        raise UserError(f"there is no video {path}: check its name.")


def unreadable(path: Path, error: Exception) -> UserError:
    """The sentence for a video that cannot be decoded."""
    reason = " ".join(str(error).removeprefix(f"{path}: ").split()).rstrip(".")
    return UserError(f"{path} cannot be read: {reason}.")


def videos_of(paths: Iterable[Path]) -> Iterator[Path]:
    """The files as they stand, and of a folder the videos in it. Errors: UserError for none."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        below = None
        for below in videos_under(path):
            yield path / below
        if below is None:
            raise UserError(f"there are no videos in the folder {path}.")
