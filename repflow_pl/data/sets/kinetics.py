"""`kinetics400` and `tiny_kinetics`: 10-second YouTube clips, a class for each.

W. Kay et al., "The Kinetics Human Action Video Dataset", arXiv 1705.06950, 2017: 400 classes.
Tiny-Kinetics has 150 of them, by the lists that the paper's authors released: 86,365 clips to train
and 7,102 to validate. In both sets the official training part trains and the official validation
part is the test part, as in the paper; nothing is chosen by it. Kinetics' own test part is not
used.

    ROOT/.../<id>_<start>_<end>.mp4                    in any folders; start and end in seconds
    ROOT/[*/]*{train,val,validate}.csv                 the annotation, where it is
    ROOT/{train,val}/<class>/<id>_<start>_<end>.mp4    needed without the annotation
    ROOT/[*/]minikinetics_{train,val,cls}.json         tiny_kinetics: lists of the authors' form in
                                                       the place of the package's

Left and right carry no class.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from repflow_pl.data.index import Candidate, Split, data_set
from repflow_pl.data.listing.found import files_by_stem
from repflow_pl.data.sets.lists import CLIP, given_text, read_lines, read_rows
from repflow_pl.errors import UserError, unknown

HINT = (
    "give the folder that holds the clips <id>_<start>_<end>.mp4 and, where they are not in class "
    "folders under train/ and val/, the annotation's train.csv and val.csv"
)
SECONDS = 10
CLIP_NAME = re.compile(r"(?:rgb_)?(?P<id>.{11})_(?P<start>\d+)_(?P<end>\d+)")
PARTS: dict[str, Split] = {
    "train": "train",
    "val": "test",
    "validate": "test",
    "validation": "test",
}
"""Official parts and folders by what they are here."""
COLUMNS = {"label", "youtube_id", "time_start", "time_end"}
TINY_COUNTS: dict[Split, int] = {"train": 86_365, "test": 7_102}

ClipKey = tuple[str, int]
"""(YouTube id, first second): names a clip, however its file writes the seconds."""


@data_set("kinetics400", hint=HINT, clip=CLIP, mirror_safe=True)
def kinetics400(root: Path) -> Iterator[Candidate]:
    """By the annotation where there is one, else by class folders."""
    annotation = _annotation(root)
    if annotation:
        yield from _annotated(annotation, clips_by_key(root))
    else:
        yield from _in_class_folders(root)


@data_set("tiny_kinetics", hint=HINT, clip=CLIP, mirror_safe=True)
def tiny_kinetics(root: Path) -> Iterator[Candidate]:
    """The 150-class lists over a folder of Kinetics clips."""
    files = clips_by_key(root)
    for part, label, name, start in _tiny_lists(root):
        yield _candidate(files, part, label, name, start, start + SECONDS)


def clips_by_key(root: Path) -> dict[ClipKey, str]:
    """The clips under a folder, paths relative to it."""
    found: dict[ClipKey, str] = {}
    for stem, path in files_by_stem(root).items():
        match = CLIP_NAME.fullmatch(stem)
        if match:
            found.setdefault((match["id"], int(match["start"])), path)
    return found


def file_stem(name: str, start: int, end: int) -> str:
    """The file name of the common distribution, without suffix."""
    return f"{name}_{start:06d}_{end:06d}"


def _candidate(
    files: dict[ClipKey, str], part: str, label: str, name: str, start: int, end: int
) -> Candidate:
    nominal = f"{part}/{label}/{file_stem(name, start, end)}.mp4"
    return Candidate(files.get((name, start), nominal), label, PARTS[part])


def known_label(folder: str) -> str:
    """The class that a folder's name stands for, whether it has spaces or underscores.

    Errors: UserError for a name that is none of the 400.
    """
    labels = _labels()
    if _plain(folder) not in labels:
        raise unknown("class of Kinetics-400", folder, sorted(labels.values()))
    return labels[_plain(folder)]


@functools.cache  # asked for each class folder
def _labels() -> dict[str, str]:
    return {_plain(label): label for label in read_lines("kinetics400_labels.txt")}


def _near(root: Path, pattern: str) -> list[Path]:
    """Files in a folder or one below it: the clips' own folders are too many to look into."""
    return [*sorted(root.glob(pattern)), *sorted(root.glob(f"*/{pattern}"))]


def _plain(label: str) -> str:
    return "".join(letter for letter in label.casefold() if letter.isalnum())


def _annotation(root: Path) -> list[tuple[str, Path]]:
    """(part, CSV) of the annotation, first of each part; empty where there is none.

    Errors: UserError where one of the two parts is missing.
    """
    found: dict[Split, tuple[str, Path]] = {}
    for path in _near(root, "*.csv"):
        part = re.split(r"[^a-z]", path.stem.lower())[-1]
        if part in PARTS:
            found.setdefault(PARTS[part], (part, path))
    if len(found) == 1:
        ((_, path),) = found.values()
        raise UserError(
            f"kinetics400: of the annotation {root} has only {path.name}; add the other of "
            "train.csv and val.csv."
        )
    return list(found.values())


def _annotated(
    annotation: list[tuple[str, Path]], files: dict[ClipKey, str]
) -> Iterator[Candidate]:
    for part, path in annotation:
        rows = csv.DictReader(io.StringIO(given_text(path), newline=""))
        try:
            read = list(rows)
        except csv.Error as error:  # of a zero byte, before Python 3.11
            raise UserError(
                f"kinetics400: {path} is damaged, {error}; fetch the annotation again."
            ) from error
        if not set(rows.fieldnames or ()) >= COLUMNS:
            raise UserError(
                f"kinetics400: {path} needs the columns {', '.join(sorted(COLUMNS))}; "
                "fetch the annotation again."
            )
        for line, row in enumerate(read, 2):
            try:
                label, name = row["label"].strip('"'), row["youtube_id"]
                start, end = int(row["time_start"]), int(row["time_end"])
            except (ValueError, TypeError, AttributeError) as error:  # None, of what is cut off
                raise UserError(
                    f"kinetics400: line {line} of {path} is not whole; fetch the annotation again."
                ) from error
            yield _candidate(files, part, label, name, start, end)


def _in_class_folders(root: Path) -> Iterator[Candidate]:
    for part, split in PARTS.items():
        if not (root / part).is_dir():
            continue
        for place in sorted((root / part).iterdir()):
            files = sorted(files_by_stem(place).values()) if place.is_dir() else []
            if files:
                label = known_label(place.name)
                for path in files:
                    yield Candidate(f"{part}/{place.name}/{path}", label, split)


def _tiny_lists(root: Path) -> Iterator[tuple[str, str, str, int]]:
    """(official part, class, YouTube id, first second) of every clip."""
    given = {part: _near(root, f"minikinetics_{part}.json") for part in ("train", "val")}
    classes = _near(root, "minikinetics_cls.json")
    if not any(given.values()):
        for part, label, name, start in read_rows("tiny_kinetics"):
            yield part, label, name, int(start)
        return
    if not (all(given.values()) and classes):
        raise UserError(
            f"tiny_kinetics: {root} has some of minikinetics_train.json, minikinetics_val.json and "
            "minikinetics_cls.json; add the others, or remove them to use the package's own lists."
        )
    labels = {number: label.strip('"') for label, number in _numbers(classes[0]).items()}
    for part, paths in given.items():
        for file, number in _numbers(paths[0]).items():
            match = CLIP_NAME.fullmatch(Path(file).stem)
            if match is None or number not in labels:
                raise UserError(
                    f"tiny_kinetics: {paths[0]} has the entry {file!r}: {number}, which is no "
                    "rgb_<id>_<start>_<end>.mp4 with a class; fetch the list again."
                )
            yield part, labels[number], match["id"], int(match["start"])


def _numbers(path: Path) -> dict[str, int]:
    """A JSON object of whole numbers. Errors: UserError where the file is something else."""
    text = given_text(path)
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(n, int) for n in found.values()):
        raise UserError(
            f"tiny_kinetics: {path} is damaged or cut off, it is no JSON object of numbers; fetch "
            "the list again."
        )
    return found
