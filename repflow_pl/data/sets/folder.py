"""`folder`: any folder of videos, one sub-folder per class.

    ROOT/<class>/<video>                  split by a hash: 70 % train, 10 % val, 20 % test
    ROOT/{train,val,test}/<class>/<video>  split as it stands; val may be missing

Videos are found at any depth under their class; what starts with a dot is passed over, and parts
may be written in capitals. A hash of a video's path without suffix puts it into its part, so it
stays there whatever comes or goes beside it and however it is re-encoded. ROOT/groups.csv
(`path,group`, paths relative to ROOT), where it exists, says which videos are alike, as those of a
person, a scene, a source video: they count as one in intervals, and the hash is of the group, so
that they never straddle the split.

Clips are mirrored where their spec says so, which is part of a run's name. That is refused unless
an empty file ROOT/mirror_safe says that left and right are no classes; it changes nothing else.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from repflow_pl.data.index import SPLITS, Candidate, Split, data_set
from repflow_pl.data.listing.found import videos_under
from repflow_pl.errors import UserError

OTHER_NAMES = frozenset({"training", "testing", "valid", "validation", "eval", "evaluation", "dev"})
"""What parts are called elsewhere."""
TEST_SHARE = 0.2
VAL_SHARE = 0.1
GROUPS = "groups.csv"


@data_set(
    "folder", any_folder=True, hint="give a folder that holds one sub-folder of videos per class"
)
def folder(root: Path) -> Iterator[Candidate]:
    """List ROOT/<class>/... or ROOT/<part>/<class>/..."""
    yield from candidates_in(root, _refuse)


def candidates_in(root: Path, empty: Callable[[Path], None]) -> Iterator[Candidate]:
    """The same; `empty` is told of each class's folder without videos, and may raise."""
    places = _parts(root)
    groups = _read_groups(root / GROUPS) if (root / GROUPS).is_file() else None
    for part, place in places.items():
        for path, label in _classes(root, place, empty):
            group = "" if groups is None else _group_of(path, groups)
            split = part or split_of(group or without_suffix(path))
            yield Candidate(path, label, split, group=group)


def has_parts(root: Path) -> bool:
    """Whether the folder is split as it stands."""
    return any(place.name.lower() in SPLITS for place in _folders(root))


def split_of(key: str) -> Split:
    """The part of a video or group, by its name alone: no other video has a say in it."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < TEST_SHARE:
        return "test"
    return "val" if place < TEST_SHARE + VAL_SHARE else "train"


def _refuse(place: Path) -> None:
    raise UserError(
        f"folder: the class {place.name!r} has no videos in {place}; add some or remove the folder."
    )


def _parts(root: Path) -> dict[Split | None, Path]:
    """The folder of each part, where the set is split as it stands; else its own, of no part."""
    places = _folders(root)
    if not has_parts(root):
        names = [place.name for place in places]
        if names and OTHER_NAMES.issuperset(name.lower() for name in names):
            raise UserError(
                f"folder: {', '.join(names)} in {root} look like parts, not classes; call them "
                "train, val and test."
            )
        return {None: root}
    parts: dict[str, Path] = {}
    for place in places:
        part = place.name.lower()
        if part in parts:
            raise UserError(
                f"folder: {parts[part]} and {place.name} are one part; make one folder of them."
            )
        if part not in SPLITS and any(videos_under(place)):
            raise UserError(
                f"folder: {root} is split into parts, and {place.name!r} beside them is none of "
                f"{', '.join(SPLITS)}; rename it or move it away."
            )
        parts[part] = place
    for split in ("train", "test"):
        if split not in parts:
            raise UserError(
                f"folder: {root} is split into parts but has no folder {split!r}; add it, or put "
                "the class folders directly under the root to have them split (a class that is "
                "called like a part needs another name)."
            )
    return {split: parts[split] for split in SPLITS if split in parts}


def _classes(root: Path, parent: Path, empty: Callable[[Path], None]) -> Iterator[tuple[str, str]]:
    """(path relative to root, class) of every video in the class folders of `parent`."""
    for place in _folders(parent):
        below = place.relative_to(root).as_posix()
        path = None
        for path in videos_under(place):
            yield f"{below}/{path}", place.name
        if path is None:
            empty(place)


def _folders(parent: Path) -> list[Path]:
    """Those in a folder; a link that leads back to it, or to one that holds it, is none of them."""
    here = parent.resolve()
    return sorted(
        place
        for place in parent.iterdir()
        if place.is_dir()
        and not place.name.startswith(".")
        and not here.is_relative_to(place.resolve())
    )


def without_suffix(path: str) -> str:
    """What a video is called, however it is encoded."""
    return PurePosixPath(path).with_suffix("").as_posix()


def _read_groups(file: Path) -> dict[str, str]:
    """Group by path, and by path without suffix: a re-encoded video has another one."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, strict=True))
    except (ValueError, csv.Error) as error:
        raise UserError(f"folder: {file} is no CSV file in UTF-8 ({error}); save it as one.") from (
            error
        )
    groups: dict[str, str] = {}
    for row in rows:
        path, group = row.get("path"), row.get("group")
        if path is None or group is None:
            raise UserError(
                f"folder: the first line of {file} must be path,group, and every other one such a "
                "pair; complete it."
            )
        if any(row.get(None, ())):  # what is beyond the first line's columns
            raise UserError(
                f"folder: in {file} the line that begins with {path!r} has more columns than the "
                "first one; put a path with a comma in it into double quotes."
            )
        if groups.setdefault(path, group) != group:
            raise UserError(f"folder: {file} puts {path} into two groups; remove one of the lines.")
    for path in list(groups):
        groups.setdefault(without_suffix(path), groups[path])
    return groups


def _group_of(path: str, groups: Mapping[str, str]) -> str:
    group = groups.get(path, groups.get(without_suffix(path)))
    if group is None:
        raise UserError(
            f"folder: {GROUPS} has no line for the video {path}; add one, or remove the list."
        )
    return group
