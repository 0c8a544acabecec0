"""A list of groups that keeps on one side of a split what shows the same."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from repflow_pl.audit.findings import Pair
from repflow_pl.audit.pairs import Place
from repflow_pl.data.folder import GROUPS, without_suffix
from repflow_pl.files import atomic_write


def joined(places: Mapping[str, Place], pairs: Iterable[Pair]) -> dict[str, str]:
    """The group of each video: the one it has, or itself, joined with those of its pairs."""
    leader = {path: path for path in places}
    first: dict[str, str] = {}

    def of(path: str) -> str:
        while leader[path] != path:
            leader[path] = leader[leader[path]]
            path = leader[path]
        return path

    def join(one: str, other: str) -> None:
        low, high = sorted((of(one), of(other)))
        leader[high] = low

    for path, place in places.items():
        if place.group:
            join(path, first.setdefault(place.group, path))
    for pair in pairs:
        join(pair.first, pair.second)
    # What has no pair keeps its part, which is by the hash of its path without suffix.
    return {path: places[of(path)].group or without_suffix(of(path)) for path in sorted(places)}


def write_groups(places: Mapping[str, Place], pairs: Iterable[Pair], out: Path) -> str:
    """Write the list for a folder's root; its name."""
    with atomic_write(out / GROUPS) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "group"))
        writer.writerows(joined(places, pairs).items())
    return GROUPS
