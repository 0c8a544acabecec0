"""The pairs of a set's videos that show the same, and on which sides of its splits they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from repflow_pl.audit.candidates import Candidate, candidates
from repflow_pl.audit.compare import Fit, fits
from repflow_pl.audit.findings import Kind, Leak, Pair, Straddle
from repflow_pl.audit.thumbs import Thumbs
from repflow_pl.data import index
from repflow_pl.data.index import SPLITS, Split

ALIKE = 0.7
"""Of a likeness, from which two videos show the same. See tests/audit for how often that is so."""
STEPS = 1.5
"""Steps from picture to picture by which a copy's pictures may be off in time."""
MOST = 0.8
"""Of the pictures, which are not."""


@dataclass(frozen=True)
class Place:
    """Where a video stands in its set."""

    label: str
    group: str
    parts: Mapping[int, Split]
    """By official split."""


def places_of(listed: Sequence[index.Candidate]) -> dict[str, Place]:
    """By path. What is validated and tested counts as tested."""
    parts: dict[str, dict[int, Split]] = {}
    for each in sorted(listed, key=lambda each: SPLITS.index(each.split)):
        parts.setdefault(each.path, {})[each.fold] = each.split
    return {each.path: Place(each.label, each.group, parts[each.path]) for each in listed}


def find_pairs(places: Mapping[str, Place], thumbs: Mapping[str, Thumbs]) -> tuple[Pair, ...]:
    """All pairs, those on two sides of a split first, the most alike first.

    Videos of one group that are on one side share their scene, as the set itself says: they are no
    finding.
    """
    paths = sorted(thumbs)
    pictures = [thumbs[path].pictures for path in paths]
    asked = [
        pair
        for pair in candidates(pictures)
        if _is_open(places[paths[pair.first]], places[paths[pair.second]])
    ]
    best: dict[tuple[int, int], tuple[Fit, Candidate]] = {}
    for pair, found in zip(asked, fits(pictures, asked), strict=True):
        key = pair.first, pair.second
        if found.likeness >= ALIKE and (key not in best or best[key][0].likeness < found.likeness):
            best[key] = found, pair
    pairs = [_pair(paths, places, thumbs, found, pair) for found, pair in best.values()]
    return tuple(sorted(pairs, key=lambda pair: (not pair.straddles, -pair.likeness, pair.first)))


def straddles(first: Place, second: Place) -> tuple[Straddle, ...]:
    """The official splits that have the two videos in different parts."""
    return tuple(
        Straddle(fold, first.parts[fold], second.parts[fold])
        for fold in sorted(first.parts.keys() & second.parts.keys())
        if first.parts[fold] != second.parts[fold]
    )


def leaks_of(
    pairs: Sequence[Pair], places: Mapping[str, Place], sizes: Mapping[tuple[int, Split], int]
) -> tuple[Leak, ...]:
    """The parts that are not trained on and that share videos or scenes with another one.

    Args:
        sizes: videos of each official split's parts.
    """
    seen: dict[tuple[int, Split], set[str]] = {}
    by: dict[tuple[int, Split], set[Split]] = {}
    for pair in pairs:
        for each in pair.straddles:
            # A validation video in the test part is the test part's.
            path, part, other = pair.first, each.first, each.second
            if SPLITS.index(each.second) > SPLITS.index(each.first):
                path, part, other = pair.second, each.second, each.first
            seen.setdefault((each.fold, part), set()).add(path)
            by.setdefault((each.fold, part), set()).add(other)
    leaks = []
    for (fold, part), paths in sorted(seen.items()):
        groups = {places[path].group for path in paths} - {""}
        alike = paths | {
            path
            for path, place in places.items()
            if place.group in groups and place.parts.get(fold) == part
        }
        parts = tuple(sorted(by[fold, part]))
        leaks.append(Leak(fold, part, len(paths), len(alike), sizes[fold, part], parts))
    return tuple(leaks)


def _is_open(first: Place, second: Place) -> bool:
    """Whether nobody has said that these two are alike, or they are on two sides."""
    return not first.group or first.group != second.group or bool(straddles(first, second))


def _pair(
    paths: Sequence[str],
    places: Mapping[str, Place],
    thumbs: Mapping[str, Thumbs],
    found: Fit,
    pair: Candidate,
) -> Pair:
    first, second = paths[pair.first], paths[pair.second]
    times = thumbs[first].seconds, thumbs[second].seconds
    shown = tuple(float(time[k]) for time, k in zip(times, found.places[0], strict=True))
    return Pair(
        first,
        second,
        kind_of(thumbs[first], thumbs[second], found),
        pair.mirrored,
        round(found.likeness, 3),
        (round(shown[0], 2), round(shown[1], 2)),
        places[first].label == places[second].label,
        straddles(places[first], places[second]),
    )


def kind_of(first: Thumbs, second: Thumbs, found: Fit) -> Kind:
    """Most of a copy's pictures match at times that are as far apart; those of another film of the
    scene match at any times."""
    apart = np.array([first.seconds[k] - second.seconds[j] for k, j in found.places])
    step = max(float(np.diff(each.seconds).max(initial=0.0)) for each in (first, second))
    as_far = np.abs(apart - np.median(apart)) <= STEPS * step
    return "copy" if as_far.mean() >= MOST else "scene"
