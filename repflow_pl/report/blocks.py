"""A page's Markdown as text and tables: what its HTML and its LaTeX are made of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Names of classes and reasons of failures are a user's: what looks like HTML in them is text.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


Cell = tuple[Token, ...]
"""What stands in a table's cell: the children of one inline token."""


@dataclass(frozen=True)
class Line:
    """A line of a table."""

    cells: tuple[Cell, ...]

    @property
    def is_heading(self) -> bool:
        """Whether it names the group of the lines below: one cell, in italics."""
        first, *rest = self.cells
        return bool(rest and first and first[0].type == "em_open") and not any(rest)


@dataclass(frozen=True)
class Grid:
    """A table."""

    header: Line
    numeric: tuple[bool, ...]
    """Of each column: those that are flush right hold figures."""
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Prose:
    """What stands between two tables."""

    parts: tuple[Token, ...]


Block = Grid | Prose
Follow = Callable[[str], str | None]
"""Where a link leads from the page that is made; None where it leads nowhere."""


def blocks(text: str, follow: Follow = lambda target: target) -> list[Block]:
    """The page in parts, with its links as `follow` has them; one that leads nowhere is its text.

    A picture becomes a link to itself, whole.
    """
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        token.children = list(_followed(token.children or [], follow))
    found: list[Block] = []
    inside = False
    part: list[Token] = []
    for token in tokens:
        if token.type in ("table_open", "table_close"):
            kept = tuple(part)
            found += [_grid(kept)] if inside else [Prose(kept)] if kept else []
            inside, part = not inside, []
        else:
            part.append(token)
    return [*found, Prose(tuple(part))] if part else found


def title(parts: Sequence[Block]) -> str:
    """The text of the first heading; empty where there is none."""
    tokens = (token for block in parts if isinstance(block, Prose) for token in block.parts)
    return next((plain(after) for token, after in itertools.pairwise(tokens) if is_top(token)), "")


def is_top(token: Token) -> bool:
    """Whether a page's title begins here."""
    return token.type == "heading_open" and token.tag == "h1"


def plain(token: Token) -> str:
    """The text of an inline token alone."""
    return "".join(each.content for each in token.children or [] if each.type != "image")


def html(parts: Sequence[Token]) -> str:
    """Of text between tables, or of a cell, whose tokens are inline ones."""
    return str(_MARKDOWN.renderer.render(parts, _MARKDOWN.options, {}))


def inline(text: str) -> Cell:
    """A line of Markdown."""
    (token,) = _MARKDOWN.parseInline(text)
    return tuple(token.children or ())


def sentences(token: Token) -> list[str]:
    """The Markdown of a paragraph, sentence by sentence."""
    return re.split(r"(?<=[.!?]) (?=[A-Z×†–])", token.content)


def _followed(parts: Sequence[Token], follow: Follow) -> Iterator[Token]:
    leads: list[bool] = []  # of each link that is open
    for token in parts:
        if token.type == "link_open":
            target = follow(str(token.attrs["href"]))
            leads.append(target is not None)
            if target is None:
                continue
            token.attrs["href"] = target
        elif token.type == "link_close" and not leads.pop():
            continue
        if token.type == "image" and not leads:
            source = token.attrs["src"]
            yield Token("link_open", "a", 1, attrs={"href": source})
            yield token
            yield Token("link_close", "a", -1)
        else:
            yield token


def _grid(tokens: Sequence[Token]) -> Grid:
    lines: list[list[Cell]] = []
    numeric: list[bool] = []
    for token in tokens:
        if token.type == "tr_open":
            lines.append([])
        elif token.type == "th_open":
            numeric.append("right" in str(token.attrs.get("style", "")))
        elif token.type == "inline":
            lines[-1].append(tuple(token.children or ()))
    header, *rest = (Line(tuple(cells)) for cells in lines)
    return Grid(header, tuple(numeric), tuple(rest))
