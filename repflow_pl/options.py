"""Command lines: what jsonargparse complains of becomes a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser, Namespace

from repflow_pl.errors import UserError


def read(parser: ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """The arguments, by default the program's own, as the parser reads them.

    The parser is to be one with `exit_on_error=False`.
    Errors: UserError, one sentence; --help exits by itself.
    """
    try:
        return parser.parse_args(arguments)
    except (UserError, SystemExit):
        raise
    except Exception as error:
        raise UserError(f"{' '.join(str(error).split())}; see --help.") from error
