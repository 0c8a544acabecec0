"""Mistakes a user can mend: one clear sentence, no trace-back."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143
"""Exit status of a program ended by Ctrl-C, and by SIGTERM."""


MOST_NAMED = 30
"""Of the known names in a sentence: nobody reads the 400 classes of Kinetics there."""


class UserError(ValueError):
    """A mistake in the input or the environment, as one sentence that says what to do."""


class Lacking(UserError):
    """What some runs need is not here: those fail by this sentence, and the others are made."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, by which a scheduler or `kill` asks a program to end; ends it as Ctrl-C does."""


def terminate(signum: int, frame: FrameType | None) -> NoReturn:
    """The handler of SIGTERM. Errors: Terminated, always."""
    raise Terminated


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
    """The error for a name that is not among the known ones, with the close matches.

    >>> print(unknown("backbone", "resnet43", ["resnet18", "resnet34"]))
    unknown backbone 'resnet43': did you mean resnet34 or resnet18? Known: resnet18, resnet34.
    """
    names = list(known)
    lowered = {n.lower(): n for n in names}
    close = [lowered[m] for m in difflib.get_close_matches(str(name).lower(), lowered, n=3)]
    hint = f": did you mean {' or '.join(close)}?" if close else "."
    shown = ", ".join(names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return UserError(f"unknown {kind} {name!r}{hint} Known: {shown}{more}.")
