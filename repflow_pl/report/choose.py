"""Rows of tables, chosen as people call them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from repflow_pl.errors import UserError
from repflow_pl.report.rows import Row, Table

Numbered = tuple[int, Table, Row]
"""A row with its number, counted from 1 over all tables, and its table."""


ALL = "all"


def choose_rows(tables: Sequence[Table], asked: str = ALL) -> list[Numbered]:
    """The rows that are asked for, each once, in the order asked, or all of them.

    `asked` is a name, a part of a name that no other has, or a number, or several of these with
    commas between, though names have commas too: as much as is one name is taken for it. Rows of
    several tables under one name are chosen together. Letters' case does not matter.

    Errors: UserError with the closest names for what is no row's, or several's.
    """
    rows = [(table, row) for table in tables for row in table.rows]
    names = [row.name for _, row in rows]
    chosen = range(len(rows)) if asked == ALL else _chosen(asked, names)
    return [(k + 1, *rows[k]) for k in dict.fromkeys(chosen)]


def _chosen(text: str, names: Sequence[str]) -> list[int]:
    """The places that a text with commas means."""
    pieces, found = text.split(","), []
    while pieces:
        for count in range(len(pieces), 0, -1):
            places = _places(",".join(pieces[:count]).strip(), names)
            if len({names[k] for k in places}) == 1:
                break
        else:
            raise _not_one(pieces[0].strip(), [names[k] for k in places], names)
        found += places
        del pieces[:count]
    return found


def _places(text: str, names: Sequence[str]) -> list[int]:
    """Where the name stands, or what has the number, or else has the text in its name."""
    lowered, wanted = [name.casefold() for name in names], text.casefold()
    if wanted in lowered:
        return [k for k, name in enumerate(lowered) if name == wanted]
    if text.isdecimal() and 1 <= int(text) <= len(names):
        return [int(text) - 1]
    return [k for k, name in enumerate(lowered) if wanted and wanted in name]


def _not_one(text: str, found: Sequence[str], names: Sequence[str]) -> UserError:
    if found:
        several = list(dict.fromkeys(found))
        more = f" and {len(several) - 3} more" if len(several) > 3 else ""
        return UserError(
            f"{text!r} is in the names of {len(several)} rows, {', '.join(several[:3])}{more}: "
            "write more of the one you mean, or its number in --list."
        )
    lowered = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(text.casefold(), lowered, n=3)
    meant = f"did you mean {' or '.join(lowered[name] for name in close)}? " if close else ""
    return UserError(f"unknown row {text!r}: {meant}--list shows all rows with their numbers.")
