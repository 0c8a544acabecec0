"""`hmdb51`: 51 classes of film and web clips, three official splits.

H. Kuehne, H. Jhuang, E. Garrote, T. Poggio and T. Serre, "HMDB: A Large Video Database for Human
Motion Recognition", ICCV 2011. Each split has 70 training and 30 test clips of every class; the
other clips are unused in it. The usual figure is the average of the three.

    ROOT/.../<clip>.avi                              in any folders, as unpacked or re-encoded
    ROOT/.../<class>_test_split<k>.txt               the authors' lists (153 files), where they are
    ROOT/.../hmdb51_split<k>_{train,test}.txt        or lists of `file class`, where they are

Without lists under ROOT those of the package count, which say the same. Left and right carry no
class. What stands before the class in a clip's name is the film or web video that it was cut from:
clips of one class and source are a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from repflow_pl.data.index import Candidate, Split, data_set
from repflow_pl.data.listing.found import clip_name, files_by_stem
from repflow_pl.data.sets.lists import CLIP, given_text, read_rows
from repflow_pl.errors import UserError

NAME = "hmdb51"
FOLDS = 3
COUNTS: dict[Split, int] = {"train": 3570, "test": 1530}
"""Clips in every split."""
HINT = (
    f"give the folder of the unpacked clips; python -m repflow_pl.data prepare {NAME} ROOT OUT "
    "unpacks the archives"
)
AUTHORS_FILE = re.compile(r"(?P<label>\w+)_test_split(?P<fold>[123])\.txt")
PART: dict[str, Split] = {"1": "train", "2": "test"}

Listed = tuple[str, str, Split, int]
"""(class, clip without suffix, part, official split)."""


@data_set(NAME, hint=HINT, clip=CLIP, mirror_safe=True, folds=FOLDS)
def hmdb51(root: Path) -> Iterator[Candidate]:
    """The clips of all three splits."""
    files = files_by_stem(root)
    if not files and any(root.rglob("*.rar")):
        raise UserError(
            f"{NAME}: the clips under {root} are still packed; unpack them by "
            f"python -m repflow_pl.data prepare {NAME} {root} OUT and give OUT."
        )
    for label, clip, part, fold in read_lists(root):
        source = clip.partition(f"_{label}_")[0]
        path = files.get(clip, f"{label}/{clip}.avi")
        yield Candidate(path, label, part, fold, group=f"{label}/{source}")


def read_lists(root: Path) -> list[Listed]:
    """The splits by the authors' files under `root`, or `file class` lists, or the package's.

    Errors: UserError where a split has other than 3,570 training and 1,530 test clips.
    """
    listed = _authors_lists(root) or _plain_lists(root) or _own_lists()
    for fold in range(1, FOLDS + 1):
        for split, expected in COUNTS.items():
            count = len({x[:2] for x in listed if x[2:] == (split, fold)})
            if count != expected:
                raise UserError(
                    f"{NAME}: the lists under {root} give split {fold} {count} {split} clips "
                    f"instead of {expected}; fetch them again, or remove them to use the "
                    "package's own."
                )
    return listed


def _authors_lists(root: Path) -> list[Listed]:
    """`<clip>.avi <0, 1 or 2>` in one file for each class and split."""
    return [
        (match["label"], clip, PART[use], int(match["fold"]))
        for path in sorted(root.rglob("*_test_split[123].txt"))
        if (match := AUTHORS_FILE.fullmatch(path.name))
        for clip, use in _pairs(path)
        if use in PART
    ]


def _plain_lists(root: Path) -> list[Listed]:
    """`<clip>.avi <class>` in one file for each part and split."""
    return [
        (label, clip, split, fold)
        for fold in range(1, FOLDS + 1)
        for split in COUNTS
        for path in sorted(root.rglob(f"hmdb51_split{fold}_{split}.txt"))[:1]
        for clip, label in _pairs(path)
    ]


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """(clip without suffix, what a list says of it)."""
    for line in given_text(path).splitlines():
        clip, _, said = line.strip().rpartition(" ")
        if clip:
            yield clip_name(clip.strip()), said


def _own_lists() -> list[Listed]:
    return [
        (label, clip, PART[use], fold)
        for label, clip, uses in read_rows("hmdb51")
        for fold, use in enumerate(uses, start=1)
        if use in PART
    ]
