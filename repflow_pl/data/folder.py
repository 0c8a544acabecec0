"""`folder`: any folder of videos, one sub-folder per class.

    ROOT/<class>/<video>                  split by a fixed seed: 70 % train, 10 % val, 20 % test
    ROOT/{train,val,test}/<class>/<video>  split as it stands; val may be missing

Videos are .mp4, .avi, .mkv, .mov or .webm files, at any depth under their class; what starts with
a dot is passed over. Where ROOT/groups.csv (`path,group`, paths relative to ROOT) exists, videos of
one group (a person, a scene, a source video) never straddle the split. The clips are mirrored in
training only where an empty file ROOT/mirror_safe says that left and right are no classes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from repflow_pl.data.found import SUFFIXES
from repflow_pl.data.index import SPLITS, Candidate, Split, data_set
from repflow_pl.errors import UserError

SEED = 0
TEST_SHARE = 0.2
VAL_SHARE = 0.1


@data_set("folder", hint="give a folder that holds one sub-folder of videos per class")
def folder(root: Path) -> Iterator[Candidate]:
    """List ROOT/<class>/... or ROOT/<part>/<class>/..."""
    if any((root / split).is_dir() for split in SPLITS):
        yield from _given(root)
        return
    videos = _classes(root, root)
    if not videos:
        return
    groups = root / "groups.csv"
    if groups.is_file():
        splits = group_split(videos, _read_groups(groups, [path for path, _ in videos]))
    else:
        splits = stratified_split([label for _, label in videos])
    for (path, label), split in zip(videos, splits, strict=True):
        yield Candidate(path, label, split)


def stratified_split(labels: Sequence[str], seed: int = SEED) -> list[Split]:
    """A part for each video, class by class, at least one of each class for testing."""
    rng = np.random.default_rng(seed)
    parts: list[Split] = ["train"] * len(labels)
    for label in sorted(set(labels)):
        members = rng.permutation([i for i, other in enumerate(labels) if other == label])
        test = max(1, round(TEST_SHARE * len(members)))
        val = round(VAL_SHARE * len(members))
        for i in members[:test]:
            parts[i] = "test"
        for i in members[test : test + val]:
            parts[i] = "val"
    return parts


def group_split(
    videos: Sequence[tuple[str, str]], groups: Sequence[str], seed: int = SEED
) -> list[Split]:
    """A part for each (path, class), whole groups at a time, classes balanced where they can be."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = np.array([label for _, label in videos])
    names = np.array(groups)
    if len(set(groups)) < 2:
        raise UserError("folder: groups.csv has one group only; a split needs two or more.")

    def one_fold(among: np.ndarray, share: float) -> np.ndarray:
        folds = min(round(1 / share), len(set(names[among])))
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        _, chosen = next(splitter.split(among, labels[among], names[among]))
        return np.asarray(among[chosen])

    parts: list[Split] = ["train"] * len(videos)
    everything = np.arange(len(videos))
    test = one_fold(everything, TEST_SHARE)
    rest = np.setdiff1d(everything, test)
    for i in test:
        parts[i] = "test"
    if len(set(names[rest])) >= 3:
        for i in one_fold(rest, VAL_SHARE / (1 - TEST_SHARE)):
            parts[i] = "val"
    return parts


def _given(root: Path) -> Iterator[Candidate]:
    for split in ("train", "test"):
        if not (root / split).is_dir():
            raise UserError(
                f"folder: {root} is split into parts but has no folder {split!r}; add it, or put "
                "the class folders directly under the root to have them split."
            )
    for split in SPLITS:
        if (root / split).is_dir():
            for path, label in _classes(root, root / split):
                yield Candidate(path, label, split)


def _classes(root: Path, parent: Path) -> list[tuple[str, str]]:
    """(path relative to root, class) of every video in the class folders of `parent`, sorted."""
    found = []
    for place in sorted(parent.iterdir()):
        if not place.is_dir() or place.name.startswith("."):
            continue
        videos = [path.relative_to(root) for path in sorted(place.rglob("*")) if _is_video(path)]
        videos = [path for path in videos if not any(p.startswith(".") for p in path.parts)]
        if not videos:
            raise UserError(
                f"folder: the class {place.name!r} has no videos in {place}; "
                "add some or remove the folder."
            )
        found += [(path.as_posix(), place.name) for path in videos]
    return found


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _read_groups(file: Path, paths: Sequence[str]) -> list[str]:
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        if not {"path", "group"} <= set(rows.fieldnames or ()):
            raise UserError(f"folder: the first line of {file} must be: path,group.")
        groups = {row["path"]: row["group"] for row in rows}
    for path in paths:
        if path not in groups:
            raise UserError(f"folder: {file} has no line for the video {path}; add one.")
    return [groups[path] for path in paths]
