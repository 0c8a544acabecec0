"""The data sets by name: each is a function that names its files, and what is to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.data.listing.videos import Candidate
from repflow_pl.errors import unknown
from repflow_pl.specs import ClipSpec

CandidateFunction = Callable[[Path], Iterable[Candidate]]


@dataclass(frozen=True)
class Entry:
    """What `data_set` was told."""

    name: str
    candidates: CandidateFunction
    clip: ClipSpec
    mirror_safe: bool | None
    default_root: str | None
    generated: bool
    hint: str
    folds: int
    any_folder: bool


_registry: dict[str, Entry] = {}

MIRROR_MARKER = "mirror_safe"


def data_set(
    name: str,
    *,
    hint: str,
    clip: ClipSpec | None = None,
    mirror_safe: bool | None = None,
    default_root: str | None = None,
    generated: bool = False,
    folds: int = 1,
    any_folder: bool = False,
) -> Callable[[CandidateFunction], CandidateFunction]:
    """Register a function root -> candidates as the data set `name`.

    Args:
        hint: what to do when the root is missing or empty; ends an error's sentence.
        clip: how its videos best become clips, `ClipSpec()` if not said.
        mirror_safe: whether mirrored clips keep their class; None asks the user, who says yes by an
            empty file named `mirror_safe` in the root.
        default_root: folder in the cache where the set lies unless the user names another.
        generated: the function makes the root itself.
        folds: how many official splits the set has; its function yields a candidate for each file
            and split.
        any_folder: the name stands for whatever a user gives: `identity` tells the sets apart.
    """

    def register(function: CandidateFunction) -> CandidateFunction:
        if name in _registry:
            raise ValueError(f"the data set {name!r} is registered twice")
        told = (mirror_safe, default_root, generated, hint, folds, any_folder)
        _registry[name] = Entry(name, function, clip or ClipSpec(), *told)
        return function

    return register


def set_names() -> tuple[str, ...]:
    """The names that `open_set` knows."""
    return tuple(sorted(_registry))


def default_clip(name: str) -> ClipSpec:
    """How the videos of a data set best become clips."""
    return entry_of(name).clip


def fold_count(name: str) -> int:
    """How many official splits a data set has."""
    return entry_of(name).folds


def identity(name: str, fingerprint: str) -> str:
    """What tells a set from all others: its name, with its list of videos where any folder has it.

    No part of a path: two users' folders of one name are two sets, and a moved one is the same.
    """
    return f"{name}-{fingerprint}" if entry_of(name).any_folder else name


def candidates_of(name: str, root: Path) -> tuple[Candidate, ...]:
    """What a data set names in a folder, of all its official splits, before anybody looks."""
    return tuple(entry_of(name).candidates(root))


def entry_of(name: str) -> Entry:
    """What is known of a set. Errors: UserError for an unknown name."""
    if name not in _registry:
        raise unknown("data set", name, set_names())
    return _registry[name]
