"""How every command line of the project ends: with a status and, where a person can mend what
stopped it, one sentence."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from repflow_pl.ending import ended_by_signals
from repflow_pl.errors import INTERRUPTED, TERMINATED, Terminated, UserError

MISTAKE = 2
GO_ON = "interrupted: run the same command again and it goes on where it stopped."
CANNOT_WRITE = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT)


def status_of(
    work: Callable[[], int | None], interrupted: str = "interrupted.", full: str = "free some space"
) -> int:
    """Do the work of a program: its own status, none being 0; 2 for a mistake or a disk that takes
    no more; 1 where nobody reads what it prints; 130 or 143 for Ctrl-C and SIGTERM.

    `interrupted` is said for the last, unless it is empty; `full`: what to do about the disk.
    """
    try:
        with ended_by_signals():
            try:
                status = work() or 0
            except SystemExit:  # after --help
                sys.stdout.flush()
                raise
            sys.stdout.flush()  # what fails when Python ends is a trace-back
            return status
    except UserError as error:
        sentence = str(error)
    except KeyboardInterrupt as stop:
        if interrupted:
            print(interrupted, file=sys.stderr)
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    except BrokenPipeError:  # what is printed goes to a program that has read enough
        _print_or_give_up()
        return 1
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        _print_or_give_up()
        place = f" {error.filename}" if error.filename else ""
        sentence = f"cannot write{place}: {error.strerror}; {full}."
    print(f"error: {sentence}", file=sys.stderr)
    return MISTAKE


def _print_or_give_up() -> None:
    """What cannot be printed: Python would try it again when it ends, and say so."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
