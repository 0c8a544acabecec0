"""A data set as it was fetched -> one that trains fast: unpacked, made small, with its flow.

Every file is written beside its place and renamed, so that what has its final name is whole, and a
call that was interrupted goes on with what is not there yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from repflow_pl.data.decoding.decode_pyav import DecodeError, reason_of
from repflow_pl.data.decoding.isolated import isolated_map
from repflow_pl.data.fields.flow_files import (
    VIDEO_TIMEOUT,
    flow_file,
    is_current,
    make_fields,
    settings_here,
)
from repflow_pl.data.index import MIRROR_MARKER, Broken, candidates_of, tell_unread
from repflow_pl.data.upkeep.reencode import reencode
from repflow_pl.data.upkeep.unpack import archives, unpack_all
from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write, check_name, check_writable, is_fresh, write_json

UNPACKED = ".unpacked"
STAMP = "prepared.json"
LISTS = ("*.txt", "*.csv", "*.json", MIRROR_MARKER)


@dataclass(frozen=True)
class Options:
    """What `prepare` does."""

    short_side: int | None = None
    """Re-encode to H.264 with this short side, in pixels; by default sizes stay."""
    fps: float | None = None
    """Re-encode at this frame rate; by default rates stay."""
    flow: bool = False
    """Compute TV-L1 flow, kept as 8 bit."""
    flow_stride: int = 1
    """Frames from one of a flow's pair to the other: the clips' stride."""

    def __post_init__(self) -> None:
        """Errors: UserError for a size, rate or stride that is none, or that means nothing."""
        for option, value, least in (
            ("--short-side", self.short_side, 2),
            ("--fps", self.fps, 1e-3),
            ("--flow-stride", self.flow_stride, 1),
        ):
            if value is not None and not value >= least:
                raise UserError(f"{option} {value} is too small: it must be {least} or more.")
        if self.short_side is None and self.fps is not None:
            raise UserError("--fps needs --short-side, as it means to re-encode.")
        if not self.flow and self.flow_stride != 1:
            raise UserError("--flow-stride is of --flow, which is not asked for: name both.")


def prepare(
    name: str, root: Path, out: Path, options: Options, workers: int | None = None
) -> tuple[int, list[Broken]]:
    """Prepare a data set; returns how many videos it has now and which were left out.

    Errors: UserError for what `unpack_all` refuses, a root without videos, two videos that would
    become one, and an `out` that was prepared in another way or cannot take what is made.
    """
    root, out = root.expanduser().absolute(), out.expanduser().absolute()
    if not root.is_dir():
        raise UserError(f"{name}: there is no folder {root}; check the path.")
    packed = bool(archives(root))
    if not packed:
        _check_unpacked(name, root, out, options)
    check_name(str(root))
    check_name(str(out))
    check_writable(out)
    _stamp(out / STAMP, name, options)
    source = root
    if packed:
        source = out / UNPACKED if options.short_side else out
        unpack_all(root, source)
    for place in dict.fromkeys((root, source)):
        if place != out:
            _copy_lists(place, out)
    tell_unread(name, source)
    paths = _paths(name, source)
    failed: list[Broken] = []
    if options.short_side is not None:
        places = encoded_paths(paths)
        videos = [
            (source / path, out / place, options.short_side, options.fps)
            for place, path in places.items()
            if not is_fresh(out / place, source / path)
        ]
        failed += _left_out(_reencode, videos, f"Encoding {name}", source, workers)
        paths = [place for place in places if (out / place).is_file()]
    if options.flow:
        settings = settings_here(options.flow_stride)
        files = [(out / path, flow_file(out, path, options.flow_stride)) for path in paths]
        fields = [
            (video, file, options.flow_stride)
            for video, file in files
            if not is_current(file, video, settings)
        ]
        failed += _left_out(make_fields, fields, f"TV-L1 of {name}", out, workers)
    return len(paths), failed


def _check_unpacked(name: str, root: Path, out: Path, options: Options) -> None:
    """Errors: UserError where `out` cannot be made of the videos in `root` with these options."""
    if options.short_side is not None:
        if out == root or root in out.parents:
            raise UserError(
                f"{name}: {out} lies in {root}, and what is made there would be taken for what it "
                "is made of; choose a folder beside it."
            )
    elif not options.flow:
        raise UserError(
            f"{name}: there is nothing to do: {root} has no archives; say --short-side or --flow."
        )
    elif out != root:
        raise UserError(
            f"{name}: the flow of videos is kept beside them; give {root} as OUT as well, or say "
            "--short-side to re-encode them to another folder."
        )


def _stamp(path: Path, name: str, options: Options) -> None:
    """Refuse to mix two ways of re-encoding in one folder; what was done stands in a file."""
    # Flow may be added to what is there.
    encoding = {"set": name, "short_side": options.short_side, "fps": options.fps}
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{path} is damaged; remove it if {path.parent} was prepared in this same way, and "
                "choose another folder if not."
            ) from error
        if before != encoding:
            raise UserError(f"{path.parent} was prepared as {before}; choose another folder.")
        return
    write_json(path, encoding)


def _paths(name: str, root: Path) -> list[str]:
    """The set's videos that are there."""
    paths = sorted({candidate.path for candidate in candidates_of(name, root)})
    there = [path for path in paths if (root / path).is_file()]
    if not there:
        raise UserError(f"{name}: there are no videos of its lists under {root}; check the path.")
    return there


def encoded_paths(paths: Sequence[str]) -> dict[str, str]:
    """What each re-encoded video is made of, by its path: all become mp4.

    Errors: UserError where two videos would become one.
    """
    places: dict[str, str] = {}
    for path in paths:
        place = PurePosixPath(path).with_suffix(".mp4").as_posix()
        if place in places:
            raise UserError(
                f"{places[place]} and {path} would both become {place}; rename or remove one."
            )
        places[place] = path
    return places


def _left_out(
    make: Callable[[Any], None],
    jobs: Sequence[tuple[Any, ...]],
    label: str,
    root: Path,
    workers: int | None,
) -> list[Broken]:
    """Do the jobs on videos below `root`, each the first of its job; which could not be done."""
    return [
        Broken(video.relative_to(root).as_posix(), reason_of(failed, video))
        for (video, *_), failed in isolated_map(make, jobs, label, workers, VIDEO_TIMEOUT)
        if failed
    ]


def _reencode(job: tuple[Path, Path, int, float | None]) -> None:
    try:
        reencode(*job)
    except UserError:  # a disk that is full is no fault of the video
        raise
    except (OSError, ValueError) as error:
        raise DecodeError(f"{job[0]}: {error}") from error


def _copy_lists(source: Path, out: Path) -> None:
    """What lies beside the videos and says how they are used: `out` is a data set by itself."""
    unpacked = out in source.parents
    for path in (path for pattern in LISTS for path in source.rglob(pattern)):
        made = out in path.parents and not unpacked
        if path.name == STAMP or not path.is_file() or made:
            continue
        target, content = out / path.relative_to(source), path.read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            with atomic_write(target, "wb") as stream:
                stream.write(content)
