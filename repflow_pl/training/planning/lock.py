"""One process at a time in a run's folder, whoever started it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from repflow_pl.files import unwritable


class BusyError(Exception):
    """Another process is making this run."""


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """Have a run's folder for oneself; the system gives it back when the process dies.

    The file `lock` stays where it is: removed, it could be locked twice.

    Errors: BusyError where another process has it, UserError where nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BusyError(folder) from error
    except OSError as error:
        raise unwritable(folder / "lock", error) from error
    try:
        yield folder
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether another process has it just now."""
    if not (folder / "lock").exists():
        return False
    try:
        with held(folder):
            return False
    except BusyError:
        return True
