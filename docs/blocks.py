"""Code blocks of a page: found, run, and shown with what they print."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FENCED = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/]+\.py)\n")


@dataclass(frozen=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that it is, where its first line names one, as `# experiments/table_x.py`."""
        named = FILE.match(self.text)
        return named[1] if named and self.language == "python" else None


def blocks(page: str) -> list[Block]:
    """All of a page, in order."""
    return [Block(language, text) for language, text in FENCED.findall(page)]


def commands(page: str) -> Iterator[str]:
    """Each line of the blocks that are for a shell; one that goes on in the next is one."""
    for block in blocks(page):
        if block.language == "sh":
            yield from filter(None, block.text.replace("\\\n", " ").splitlines())


def prose(page: str) -> str:
    """A page without its blocks."""
    return FENCED.sub("", page)


def run(block: Block, names: dict[str, Any]) -> str:
    """Run a block of Python with the names of those before it, to which it adds; what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, "<page>", "exec"), names)
    return printed.getvalue()


def executed(page: str) -> str:
    """A page with what each block of Python prints beneath it; those that are files are left.

    Errors: whatever a block raises, so that no page shows code that does not run.
    """
    names: dict[str, Any] = {"__name__": "page"}

    def shown(found: re.Match[str]) -> str:
        block = Block(found[1], found[2])
        if block.language != "python" or block.file is not None:
            return found[0]
        printed = run(block, names)
        return f"{found[0]}\n\n```text\n{printed}```" if printed else found[0]

    return FENCED.sub(shown, page)
