"""Empty, tiny and unbalanced classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from repflow_pl.audit.findings import ClassCount
from repflow_pl.data.index import SPLITS, Split, VideoSet

UNBALANCED = 3.0
"""Times as many videos as the smallest class, from which the largest one is a remark."""


def counts_of(split: VideoSet) -> Iterator[ClassCount]:
    """How many videos each class has."""
    counted = Counter((video.label, video.split) for video in split.videos)
    for number, name in enumerate(split.classes):
        train, val, test = (counted[number, part] for part in SPLITS)
        yield ClassCount(name, split.fold, train, val, test)


def remarks_on(
    counts: Sequence[ClassCount], empty: Sequence[Path], splits: Sequence[VideoSet]
) -> Iterator[str]:
    """What is wrong with classes, a sentence each.

    Args:
        empty: folders of classes that have no videos.
    """
    for place in empty:
        yield f"the class {place.name!r} has no videos in {place}."
    for split in splits:
        of = f" of split {split.fold}" if len(splits) > 1 else ""
        own = [count for count in counts if count.fold == split.fold]
        parts: tuple[Split, ...] = ("train", "test")
        for part in parts:
            for count in own:
                number = getattr(count, part)
                if number < 2:
                    has = "no readable video" if number == 0 else "one video"
                    yield f"the class {count.name!r} has {has} in the {part} part{of}."
        largest = max(own, key=lambda count: count.train)
        smallest = min(own, key=lambda count: count.train)
        if largest.train > UNBALANCED * max(1, smallest.train):
            yield (
                f"the classes are unbalanced{of}: {largest.train} training videos of "
                f"{largest.name!r} and {smallest.train} of {smallest.name!r}."
            )
