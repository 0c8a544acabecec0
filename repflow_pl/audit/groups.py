"""A list of groups that keeps on one side of a split what shows the same."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from repflow_pl.audit.findings import Pair
from repflow_pl.audit.pairs import Place
from repflow_pl.data.sets.folder import GROUPS, without_suffix
from repflow_pl.files import atomic_write


def joined(places: Mapping[str, Place], pairs: Iterable[Pair]) -> dict[str, str]:
    """The group of each video: the one it has, or itself, joined with those of its pairs."""
    paths = sorted(places)
    number = {path: k for k, path in enumerate(paths)}
    first: dict[str, str] = {}
    alike = [(path, first.setdefault(places[path].group or path, path)) for path in paths]
    alike += [(pair.first, pair.second) for pair in pairs]
    ends = np.array([[number[path] for path in each] for each in alike]).T
    graph = coo_array((np.ones(len(alike)), ends), shape=(len(paths), len(paths)))
    _, together = connected_components(graph, directed=False)
    _, leaders = np.unique(together, return_index=True)
    # What has no pair keeps its part, which is by the hash of its path without suffix.
    names = [places[paths[k]].group or without_suffix(paths[k]) for k in leaders]
    return {path: names[group] for path, group in zip(paths, together, strict=True)}


def write_groups(places: Mapping[str, Place], pairs: Iterable[Pair], out: Path) -> str:
    """Write the list for a folder's root; its name."""
    with atomic_write(out / GROUPS) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", "group"))
        writer.writerows(joined(places, pairs).items())
    return GROUPS
