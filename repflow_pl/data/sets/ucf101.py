"""`ucf101`: 101 classes of web videos, three official splits.

K. Soomro, A. R. Zamir and M. Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in
The Wild", CRCV-TR-12-01, 2012. The clips of a class come from 25 source videos, its groups, and the
splits keep a group together: test groups are 1 to 7, 8 to 14 and 15 to 21.

    ROOT/.../v_<Class>_g<GG>_c<CC>.avi                in any folders, as unpacked or re-encoded
    ROOT/.../{trainlist0<k>,testlist0<k>}.txt        the official lists, where they are

With the lists missing clips can be named; without them the groups in the names of the files say
the same splits. Left and right carry no class.

Groups 22 to 25 are in no split's test part: `ucf101_validation` holds them out of training and
evaluates on them, so that a recipe can be chosen without a look at any test video.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from repflow_pl.data.index import SPLITS, Candidate, Split, data_set
from repflow_pl.data.listing.found import clip_name, files_by_stem
from repflow_pl.data.sets.lists import CLIP, given_text
from repflow_pl.errors import UserError

NAME = "ucf101"
FOLDS = 3
COUNTS: tuple[dict[Split, int], ...] = (
    {"train": 9537, "test": 3783},
    {"train": 9586, "test": 3734},
    {"train": 9624, "test": 3696},
)
"""Clips in each split; 13,320 together."""
HINT = (
    "give the folder that UCF101.rar was unpacked to, with the ucfTrainTestlist folder in it; "
    f"python -m repflow_pl.data prepare {NAME} ROOT OUT unpacks it"
)
FILE_NAME = re.compile(r"v_(?P<label>\w+)_g(?P<group>\d\d)_c\d\d", re.IGNORECASE)
GROUPS_PER_TEST = 7
NEVER_TESTED = GROUPS_PER_TEST * FOLDS
"""The groups after this one are for training in every split."""
FOLDER_OF = {"HandStandPushups": "HandstandPushups"}
"""One class is spelt one way in the names of its files and another way everywhere else."""


@data_set(NAME, hint=HINT, clip=CLIP, mirror_safe=True, folds=FOLDS)
def ucf101(root: Path) -> Iterator[Candidate]:
    """The clips of all three splits."""
    files = files_by_stem(root, fold_case=True)
    lists = _lists(root)
    yield from _listed(lists, files) if lists else _grouped(files)


def _lists(root: Path) -> dict[tuple[int, Split], list[str]]:
    """`<Class>/<clip>.avi [number]`, by official split and part; empty where there are none.

    Errors: UserError where some of them are missing or do not have the official counts.
    """
    found: dict[tuple[int, Split], list[str]] = {}
    for fold, counts in enumerate(COUNTS, start=1):
        for split, expected in counts.items():
            for path in sorted(root.rglob(f"{split}list0{fold}.txt"))[:1]:
                lines = given_text(path).splitlines()
                clips = [line.split()[0] for line in lines if line.strip()]
                if len(set(clips)) != expected:
                    raise UserError(
                        f"{NAME}: {path} lists {len(set(clips))} clips instead of {expected}; "
                        "fetch the official lists again."
                    )
                found[fold, split] = clips
    if found and len(found) < 2 * FOLDS:
        raise UserError(
            f"{NAME}: {root} has {len(found)} of the 6 official lists (trainlist01.txt to "
            "testlist03.txt); add the others, or remove all of them."
        )
    return found


def _listed(
    lists: dict[tuple[int, Split], list[str]], files: dict[str, str]
) -> Iterator[Candidate]:
    for (fold, split), clips in lists.items():
        for clip in clips:
            label, slash, name = clip.partition("/")
            if not slash or "/" in name:
                raise UserError(
                    f"{NAME}: a list names {clip!r}, which is no <Class>/<clip>.avi; fetch the "
                    "official lists again."
                )
            path = files.get(clip_name(name).casefold(), clip)
            match = FILE_NAME.fullmatch(clip_name(name))
            group = f"{label}/{match['group']}" if match else ""
            yield Candidate(path, label, split, fold, group)


@data_set(f"{NAME}_validation", hint=HINT, clip=CLIP, mirror_safe=True)
def ucf101_validation(root: Path) -> Iterator[Candidate]:
    """The same videos in one split for choosing a recipe: groups 22 to 25 are its validation part,
    and again its test part, which is evaluated as every test part is."""
    for path, label, number in _named(files_by_stem(root, fold_case=True)):
        for part in SPLITS[1:] if int(number) > NEVER_TESTED else SPLITS[:1]:
            yield Candidate(path, label, part, group=f"{label}/{number}")


def _grouped(files: dict[str, str]) -> Iterator[Candidate]:
    for path, label, number in _named(files):
        tested = (int(number) - 1) // GROUPS_PER_TEST + 1
        for fold in range(1, FOLDS + 1):
            part = SPLITS[2] if fold == tested else SPLITS[0]
            yield Candidate(path, label, part, fold, f"{label}/{number}")


def _named(files: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """(path, class, number of the group) of the files whose names are the set's."""
    for path in files.values():
        if match := FILE_NAME.fullmatch(Path(path).stem):
            yield path, FOLDER_OF.get(match["label"], match["label"]), match["group"]
