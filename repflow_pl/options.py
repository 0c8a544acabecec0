"""Command lines: what jsonargparse complains of becomes a sentence."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser, Namespace

from repflow_pl.errors import UserError


def add_options(parser: ArgumentParser, options: type[Any], skip: Collection[str] = ()) -> None:
    """Give a parser an option for every field of a dataclass, but for those in `skip`.

    `data_root` is --data-root; the docstring below a field is its help; a bool is a switch. Every
    field has a default.
    """
    types = get_type_hints(options)
    documented = docstring_parser.parse_from_object(options).params
    helps = {each.arg_name: " ".join((each.description or "").split()) for each in documented}
    for field in dataclasses.fields(options):
        if field.name in skip:
            continue
        name, text = f"--{field.name.replace('_', '-')}", helps.get(field.name)
        if types[field.name] is bool:
            parser.add_argument(name, action="store_true", help=text)
        else:
            parser.add_argument(name, type=types[field.name], default=field.default, help=text)


def read(parser: ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """The arguments, by default the program's own, as the parser reads them.

    The parser is to be one with `exit_on_error=False`.
    Errors: UserError, one sentence; --help exits by itself.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    for argument in given:
        _refuse_misspelt(argument.partition("=")[0], parser._option_string_actions)
    try:
        return parser.parse_args(given)
    except (UserError, SystemExit):
        raise
    except Exception as error:
        raise UserError(f"{' '.join(str(error).split())}; see --help.") from error


def _refuse_misspelt(name: str, known: Iterable[str]) -> None:
    """Errors: UserError for what looks like an option and is not one, where one is close."""
    options = list(known)
    if name.startswith("--") and len(name) > 2 and name not in options:
        close = difflib.get_close_matches(name.replace("_", "-"), options, n=1)
        if close:
            raise UserError(f"unknown option {name}: did you mean {close[0]}?")
