"""What `repflow audit` is asked for. Imports neither torch nor a decoder: --help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AuditOptions:
    """Say what to know of a set of videos before any figure on it is trusted: what its splits leak.

    Videos that show the same, also re-encoded, cropped, mirrored or trimmed, and on which sides of
    a split; classes, files, and what tells the classes without a look at motion. The exit status is
    1 where a split leaks. An interrupted audit goes on.
    """

    data: str = "folder"
    """The kind of set that ROOT is, as --data of the tables: folder, ucf101, hmdb51 and others."""
    out: Path = Path("audit")
    """Folder for index.html, audit.json and the pictures of the pairs."""
    workers: int | None = None
    """Processes that read videos; by default as many as there are cores."""
