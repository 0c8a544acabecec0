"""Command lines from dataclasses of options, and back; a mistake becomes a sentence."""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from argparse import SUPPRESS, Action
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace

from repflow_pl.errors import UserError

T = TypeVar("T")

PLAIN = "setting"
"""The field whose own fields are options as they are; of another nested dataclass they have the
field's name in front: --recipe.epochs."""


CONFIG, PRINT_CONFIG = "--config", "--print-config"


class Help(DefaultHelpFormatter):
    """Says a default once: in an option's own words or, where they have none, after them."""

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        if action.default == SUPPRESS and action.option_strings:  # of --help itself
            return super()._get_help_string(action)
        said = "default" in text.lower() or not action.option_strings
        return text if said else f"{text} (default: %(default)s)"


def new_parser(description: str | None, **more: Any) -> ArgumentParser:
    """A parser for `read`."""
    return ArgumentParser(
        description=description,
        exit_on_error=False,
        formatter_class=Help,
        print_config=PRINT_CONFIG,
        **more,
    )


class OptionsFile(ActionConfigFile):
    """Reads options from a file. Errors: UserError, which names the file."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: Any = None) -> None:
        try:
            super().__call__(parser, cfg, values, option_string)
            _refuse_others(parser, cfg)
            parser.validate(cfg, skip_required=True)
        except Exception as error:
            said = _sentence(error, parser).removeprefix(f'Parser key "{self.dest}": ')
            if said.startswith("Unexpected config"):  # and then all that is in the file
                said = "it holds none"
            raise UserError(f"cannot take options from {values}: {said}; see --help.") from error


def add_options(
    parser: Any, options: type[Any], skip: Collection[str] = (), prefix: str = ""
) -> None:
    """Give a parser, or a group of it, an option for every field of a dataclass not in `skip`.

    `data_root` is --data-root, or --<prefix>data-root; the docstring below a field is its help; a
    bool is a switch; a dataclass is a group of its own. Every other field has a default. A parser
    reads the options from a file as well, and prints such a file.
    """
    if isinstance(parser, ArgumentParser) and CONFIG not in parser._option_string_actions:
        add_config(parser)
    types = get_type_hints(options)
    helps = _helps(options)  # type: ignore[arg-type]  # a class is hashable
    for field in dataclasses.fields(options):
        if field.name in skip:
            continue
        name = f"--{prefix}{spelt(field.name)}"
        kind, text = types[field.name], helps.get(field.name)
        if dataclasses.is_dataclass(kind):
            group = parser.add_argument_group((kind.__doc__ or "").rstrip("."))
            add_options(group, kind, prefix=f"{prefix}{field.name}.")  # type: ignore[arg-type]
        elif kind is bool:
            parser.add_argument(name, action="store_true", help=text)
        else:
            shown = _values(kind)
            parser.add_argument(name, type=kind, default=field.default, help=text, metavar=shown)


@cache  # the source file is read and parsed for it
def _helps(options: type[Any]) -> dict[str, str]:
    """What the docstrings below a dataclass's fields say, by field."""
    documented = docstring_parser.parse_from_object(options).params
    return {each.arg_name: " ".join((each.description or "").split()) for each in documented}


def parse(
    options: type[T],
    arguments: Sequence[str] | None,
    skip: Collection[str] = (),
    about: str | None = None,
) -> T:
    """The command line as a dataclass of options, as `parser_for` says.

    Errors: UserError, one sentence; --help exits by itself.
    """
    plain = get_type_hints(options).get(PLAIN)
    given = read(parser_for(options, skip, about), arguments).as_dict()
    if plain is not None:
        given[PLAIN] = take(plain, given)
    made: T = take(options, given)
    return made


def parser_for(
    options: type[Any], skip: Collection[str] = (), about: str | None = None
) -> ArgumentParser:
    """A parser of a dataclass of options; see PLAIN for those that its fields hold.

    What is in `skip`, on either level, is no option and keeps its default. `about`: what --help
    begins with, by default the dataclass's docstring.
    """
    parser = new_parser(about or options.__doc__)
    plain = get_type_hints(options).get(PLAIN)
    if plain is not None:
        add_options(parser, plain, skip)
    add_options(parser, options, {*skip, PLAIN})
    return parser


def take(options: Any, given: dict[str, Any]) -> Any:
    """A dataclass of those of the values that are its fields', which are removed from `given`."""
    kinds = get_type_hints(options)
    values = {f.name: given.pop(f.name) for f in dataclasses.fields(options) if f.name in given}
    for name, value in values.items():
        kind = kinds[name]
        if dataclasses.is_dataclass(kind) and not isinstance(value, kind):  # type: ignore[arg-type]
            values[name] = take(kind, dict(value or {}))  # a file may have a group's name alone
    return options(**values)


def parser_of(function: Callable[..., Any], **more: Any) -> ArgumentParser:
    """A parser of a function's arguments, of which the docstring is the help."""
    documented = docstring_parser.parse_from_object(function)
    parser = new_parser(documented.short_description, **more)
    add_arguments(parser, function)
    return parser


def add_arguments(parser: ArgumentParser, function: Callable[..., Any]) -> None:
    """Give a parser a function's arguments: what has no default is given by its place."""
    add_config(parser)
    parser.add_function_arguments(function, as_group=False, as_positional=True)


def call(function: Callable[..., T], arguments: Sequence[str] | None, **more: Any) -> T:
    """Call a function with a command line. Errors: those of `parse`, and the function's own."""
    return function(**read(parser_of(function, **more), arguments).as_dict())


def arguments_of(options: Any, prefix: str = "") -> list[str]:
    """The command line that asks for these options: what differs from its default.

    Folders are left out: they are a user's own.
    """
    parts: list[str] = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            inner = "" if field.name == PLAIN else f"{field.name}."
            parts += arguments_of(value, f"{prefix}{inner}")
        elif value != field.default and not isinstance(value, Path):
            switch = value is True and field.default is False
            parts += [f"--{prefix}{spelt(field.name)}", *([] if switch else [typed(value)])]
    return parts


def add_config(parser: ArgumentParser) -> None:
    """Let a parser of `new_parser` read options from a file, and print such a file."""
    parser.add_argument(
        CONFIG,
        action=OptionsFile,
        metavar="FILE",
        help="A YAML file of options; by default none. What stands behind it on the command line "
        "goes before it.",
    )
    shown = parser._option_string_actions[PRINT_CONFIG]
    shown.help = "Print all options with their values, by default too, as a FILE for --config."
    shown.metavar = ""


def typed(value: Any) -> str:
    """A value as one types it, a number to its last digit: another one would name another run."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{','.join(map(typed, value))}]"
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def read(parser: ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """The arguments, by default the program's own, as the parser reads them.

    Errors: UserError, one sentence; --help exits by itself.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    for argument in given:
        _refuse_misspelt(argument.partition("=")[0], parser._option_string_actions)
    try:
        found = parser.parse_args(given)
    except (UserError, SystemExit):
        raise
    except Exception as error:
        raise UserError(f"{_sentence(error, parser)}; see --help.") from error
    found.pop("config", None)  # where options came from is none of them
    for action in parser._actions:
        if action.dest in found:
            found[action.dest] = _meant(action, found[action.dest])
    return found


def _meant(action: Action, given: Any) -> Any:
    """An option's value: by default where a file leaves it empty, in the user's folder behind a ~
    that no shell has seen, as in --out=~/here."""
    value = action.default if given is None else given
    in_home = isinstance(value, Path) and value.parts[:1] == ("~",)
    return value.expanduser() if in_home else value


def _refuse_others(parser: ArgumentParser, given: Namespace) -> None:
    """Errors: UserError for what a file says of a group or a switch and jsonargparse lets pass."""
    for key, value in given.items():
        for action in parser._actions:
            if value is not None and action.dest.startswith(f"{key}."):
                raise UserError(f"{key} has options of its own and takes no {value}")
            if action.dest == key and action.const is True and not isinstance(value, bool | None):
                raise UserError(f"{action.option_strings[0]} {value}: it takes true or false")


def _sentence(error: Exception, parser: ArgumentParser) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    return _refused(said, parser) or said


def _refused(said: str, parser: ArgumentParser) -> str | None:
    """Of jsonargparse's sentence about a value of the wrong type: the option, and what it takes."""
    found = _VALUE.match(said)
    for action in parser._actions:
        kind = getattr(action, "_typehint", action.type)
        if found and action.dest == found["name"] and kind is not None:
            option = next(iter(action.option_strings), action.dest)
            value = found["value"]
            quoted = f"{value!r} in quotes" if value in get_args(kind) else _taken(kind)
            return f"{option} {value}: it takes {quoted}"
    return None


_VALUE = re.compile(r'Parser key "(?P<name>[^"]+)": .*(?:Got|Given) value: (?P<value>.*)')
_TAKEN = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _taken(kind: Any) -> str:
    """What an option of a type takes, in words."""
    parts = [part for part in get_args(kind) if part is not NoneType]
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_taken, parts))
    if get_origin(kind) is Literal:
        return " or ".join(map(str, parts))
    if get_origin(kind) is tuple:
        return f"[{','.join(map(_part, parts))}]"
    return _TAKEN.get(kind, "a file or folder")


def _part(kind: Any) -> str:
    if kind is ...:
        return "..."
    return "|".join(get_args(kind)) if get_origin(kind) is Literal else kind.__name__.upper()


def spelt(name: str) -> str:
    """A field's name as its option is typed."""
    return name.replace("_", "-")


def _values(kind: Any) -> str | None:
    """`{pyav,decord}` where a Literal may be left out; one that may not is shown so anyway."""
    for part in get_args(kind):
        if get_origin(part) is Literal:
            return f"{{{','.join(get_args(part))}}}"
    return None


def _refuse_misspelt(name: str, known: Iterable[str]) -> None:
    """Errors: UserError for what looks like an option and is not one, where one is close."""
    options = list(known)
    if name.startswith("--") and len(name) > 2 and name not in options:
        close = difflib.get_close_matches(name.replace("_", "-"), options, n=1)
        if close:
            raise UserError(f"unknown option {name}: did you mean {close[0]}?")
