"""Files that are whole or absent: written beside their place, synced, then renamed."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from repflow_pl.errors import UserError


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path` for writing; on a clean exit it becomes `path`.

    A crash, a full disk or an exception leaves whatever stood at `path` before untouched.
    Errors: UserError where the place cannot be written or the disk is full.
    """
    part = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open(mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # mostly that it has become `path`
            part.unlink()


def write_json(path: Path, value: Any, allow_nan: bool = True) -> None:
    """Write a value as JSON that a person can read, whole or not at all.

    Errors: as `atomic_write`, and ValueError for a number that is not finite without `allow_nan`.
    """
    with atomic_write(path) as stream:
        json.dump(value, stream, indent=1, allow_nan=allow_nan)
        stream.write("\n")


def cache_dir() -> Path:
    """Where everything that can be made again is kept: $REPFLOW_CACHE or the user's cache.

    Errors: ImportError for the latter where platformdirs, of the extra `video`, is not installed.
    """
    if chosen := os.environ.get("REPFLOW_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("repflow_pl")


def check_name(path: str) -> None:
    """Errors: UserError for a name that is no text: bytes that are not UTF-8, such as Latin-1."""
    if not path.isascii() and any("\ud800" <= letter <= "\udfff" for letter in path):
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise UserError(
            f"the name of {shown} is not in UTF-8; rename it (convmv -r -f latin1 -t utf8 renames "
            "all files below a folder)."
        )


def check_writable(folder: Path) -> None:
    """Make a folder where there is none. Errors: UserError where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error


def is_fresh(made: Path, source: Path) -> bool:
    """Whether a file is there, and not older than what it is made of."""
    return made.is_file() and made.stat().st_mtime_ns >= source.stat().st_mtime_ns


def unwritable(path: Path, error: OSError) -> UserError:
    """The sentence for a place that cannot be written."""
    reason = error.strerror or str(error)
    return UserError(
        f"cannot write {path}: {reason}; free some space or choose another place, "
        "then run the same command again: finished work is kept."
    )
