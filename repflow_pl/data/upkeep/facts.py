"""What a table says about its data set, kept beside the results it was measured with.

With it a table is rendered anew without the videos: `runs/data/<name>-<fingerprint>.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from repflow_pl.data.fields.flow_files import fields_beside
from repflow_pl.data.index import VideoSet
from repflow_pl.data.upkeep.metadata import metadata_baseline
from repflow_pl.errors import UserError
from repflow_pl.files import write_json
from repflow_pl.strict import parse


@dataclass(frozen=True)
class DataFacts:
    """What only the list of videos can tell. Accuracies are fractions."""

    name: str
    fingerprint: str
    chance: float
    """Of always naming the most frequent class of the test part."""
    metadata_accuracy: float
    """Of a classifier that sees no pixels, see `metadata_baseline`."""
    metadata_half_width: float
    """Half of its 95 % interval."""
    split: int = 1
    """Which of the set's official splits."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """How the fields beside the videos were made, by `stride<k>`, when a run last began."""
    classes: tuple[str, ...] = ()
    """Their names, by label; facts of older versions have none."""


def facts_path(runs: Path, name: str, fingerprint: str) -> Path:
    """Where the facts of a list of videos are kept."""
    return runs / "data" / f"{name}-{fingerprint}.json"


def facts_of(video_set: VideoSet, runs: Path) -> DataFacts:
    """The facts of an open data set: read where `runs` has them, else found out and kept there."""
    path = facts_path(runs, video_set.name, video_set.fingerprint)
    if path.is_file():
        known = read_facts(path)
    else:
        baseline = metadata_baseline(video_set)
        known = DataFacts(
            name=video_set.name,
            fingerprint=video_set.fingerprint,
            chance=baseline.chance,
            metadata_accuracy=baseline.accuracy_mean,
            metadata_half_width=baseline.half_width,
            split=video_set.fold,
        )
    facts = replace(known, fields=fields_beside(video_set), classes=video_set.classes)
    if facts != known:  # as of a new set, which has classes
        write_json(path, asdict(facts))
    return facts


def read_facts(path: Path) -> DataFacts:
    """Read them strictly. Errors: UserError where the file is damaged or of another version."""
    try:
        return parse(DataFacts, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(
            f"{path} is not what this version knows of a data set ({error}): remove it and run a "
            "table on that data set again."
        ) from error


def kept_facts(runs: Path, name: str, split: int = 1) -> tuple[DataFacts, ...]:
    """The facts of every list of videos that runs were made with under this name and split.

    Errors: UserError where there are none.
    """
    named = re.compile(re.escape(name) + r"-[0-9a-f]+\.json")  # other files are none of ours
    files = [path for path in sorted((runs / "data").glob("*.json")) if named.fullmatch(path.name)]
    found = [facts for facts in map(read_facts, files) if facts.split == split]
    if not found:
        raise UserError(
            f"there are no results on {name} in {runs}: run a table on it first, or name another "
            "folder of results or another data set."
        )
    return tuple(found)
