"""What an audit finds out, as it is written to audit.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from repflow_pl.audit.decoders import Disagreement
from repflow_pl.audit.probes import Probe
from repflow_pl.audit.recipe import Suggestion
from repflow_pl.data.index import Broken, Split

Kind = Literal["copy", "scene"]
"""The same film (re-encoded, cropped, mirrored, trimmed), or one of the same scene; where little
moves, a copy may count as the latter."""


@dataclass(frozen=True)
class Straddle:
    """A pair is on two sides of a split."""

    fold: int
    """Which of the official splits, from 1."""
    first: Split
    second: Split


@dataclass(frozen=True)
class Pair:
    """Two videos that show the same."""

    first: str
    """Its path."""
    second: str
    kind: Kind
    mirrored: bool
    likeness: float
    """Correlation of details where the two lie over each other best, 1 at most."""
    seconds: tuple[float, float]
    """Where in each of them the two are most alike."""
    one_class: bool
    straddles: tuple[Straddle, ...]
    """Empty where both are on one side of every split."""
    picture: str = ""
    """Of the two, relative to the page."""


@dataclass(frozen=True)
class ClassCount:
    """How many readable videos a class has."""

    name: str
    fold: int
    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Leak:
    """How much of a split's test or validation part is seen in another part."""

    fold: int
    part: Split
    seen: int
    """Videos of the part that are in a pair with one of another part."""
    alike: int
    """These and all others of the part that are in their groups, which are alike by the set's own
    word."""
    videos: int
    """Of the part."""
    by: tuple[Split, ...]
    """The parts that the others are in."""


@dataclass(frozen=True)
class Findings:
    """Of a set of videos."""

    name: str
    videos: int
    """Readable ones, each once."""
    classes: tuple[ClassCount, ...]
    pairs: tuple[Pair, ...]
    leaks: tuple[Leak, ...]
    split_groups: tuple[str, ...]
    """Groups that the set itself names and that have videos in several parts of a split."""
    unreadable: tuple[Broken, ...]
    missing: tuple[str, ...]
    not_sought: tuple[str, ...]
    """Files in which seeking gives other frames than reading from the start, or none."""
    probes: tuple[Probe, ...]
    """What tells the classes without motion, of each split."""
    tried: int
    """Files that other decoders were tried on."""
    decoders: tuple[Disagreement, ...]
    suggestion: Suggestion | None
    """For a first run on the first split."""
    remarks: tuple[str, ...] = ()
    """On classes and parts, a sentence each."""
