"""Plain JSON values back into the frozen dataclasses that they were written from, strictly."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")


def parse(kind: type[T], plain: Any) -> T:
    """The value of type `kind` that `plain`, as `json.load` gives it, stands for.

    Known are dataclasses, their unions, tuples, Mapping[str, ...], Literal, None, bool, int, float
    and str. A float is finite. A field with a default may be absent, since a file may be older than
    an option; `kind` may not, where it tells the members of a union apart. An integer will do for a
    float and stays one, so that a spec keeps its hash.

    >>> parse(tuple[int, ...], [1, 2])
    (1, 2)

    Errors: ValueError that names the place, for unknown or missing fields and for other types.
    """
    value: T = _parse(kind, plain, "")
    return value


def _parse(kind: Any, plain: Any, place: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return _parse_union(typing.get_args(kind), plain, place)
    if origin is Literal:
        values = typing.get_args(kind)
        if (type(plain), plain) not in [(type(value), value) for value in values]:
            raise _wrong(place, plain, f"one of {values}")
        return plain
    if origin is tuple:
        return _parse_tuple(typing.get_args(kind), plain, place)
    if origin is Mapping:
        return _parse_mapping(typing.get_args(kind), plain, place)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _parse_fields(kind, plain, place)
    accepted = (int, float) if kind is float else (kind,)
    if type(plain) not in accepted:  # not isinstance: True is no count
        raise _wrong(place, plain, "null" if kind is type(None) else kind.__name__)
    if kind is float and not math.isfinite(plain):
        raise _wrong(place, plain, "a finite number")
    return plain


def _parse_union(members: tuple[Any, ...], plain: Any, place: str) -> Any:
    """By the fields where several members are dataclasses, else by the first type that fits."""
    records = [m for m in members if isinstance(m, type) and dataclasses.is_dataclass(m)]
    if isinstance(plain, dict) and records:
        fitting = [record for record in records if _is_meant(record, plain)]
        if len(fitting) != 1:
            names = " or ".join(record.__name__ for record in records)
            raise _wrong(place, sorted(plain), f"the fields of {names}")
        return _parse(fitting[0], plain, place)
    for member in members:
        try:
            return _parse(member, plain, place)
        except ValueError:
            continue
    raise _wrong(place, plain, " or ".join(str(member) for member in members))


def _is_meant(record: Any, plain: dict[str, Any]) -> bool:
    """Whether all that a dataclass must have is there, and `kind`, where it has one, is its own."""
    return all(
        plain.get("kind") == field.default
        if field.name == "kind"
        else field.name in plain or not _is_required(field)
        for field in dataclasses.fields(record)
    )


def _parse_fields(kind: Any, plain: Any, place: str) -> Any:
    if not isinstance(plain, dict):
        raise _wrong(place, plain, f"the fields of {kind.__name__}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    inside = f"{place}." if place else ""
    for name in plain:
        if name not in fields:
            raise ValueError(f"unknown field {inside}{name}")
    for name, field in fields.items():
        if name not in plain and _is_required(field):
            raise ValueError(f"there is no field {inside}{name}")
    hints = _hints(kind)
    try:
        return kind(**{name: _parse(hints[name], plain[name], inside + name) for name in plain})
    except TypeError as error:  # from a check of the dataclass's own
        raise ValueError(f"{place or kind.__name__}: {error}") from error


_hints = cache(typing.get_type_hints)  # annotations are text, which is compiled anew each time


def _parse_tuple(members: tuple[Any, ...], plain: Any, place: str) -> Any:
    if not isinstance(plain, list):
        raise _wrong(place, plain, "a list")
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(plain)
    if len(plain) != len(members):
        raise _wrong(place, plain, f"a list of {len(members)}")
    return tuple(
        _parse(member, item, f"{place}[{k}]")
        for k, (member, item) in enumerate(zip(members, plain, strict=True))
    )


def _parse_mapping(kinds: tuple[Any, ...], plain: Any, place: str) -> Any:
    if not isinstance(plain, dict):
        raise _wrong(place, plain, "named values")
    return {name: _parse(kinds[1], value, f"{place}[{name!r}]") for name, value in plain.items()}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _wrong(place: str, plain: Any, expected: str) -> ValueError:
    return ValueError(f"{place or 'value'}: {plain!r} is not {expected}")
