"""What a decoder may do, in a module that a child process imports quickly."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from repflow_pl.data.manifest import Finding, decode


def awkward(number: int) -> int:
    """Twice the number; 13 hangs, 14 dies, 15 raises."""
    if number == 13:
        time.sleep(1000)
    if number == 14:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 15:
        raise ValueError("an odd number")
    print("libraries print things")
    return 2 * number


def open_and_decode(job: tuple[Path, str, str]) -> Finding:
    """`decode` after an opening that a named pipe without a writer lets hang."""
    (job[0] / job[1]).open("rb").close()
    return decode(job)


def obey(argument: tuple[str, int]) -> int:
    """What a file may do to a decoder."""
    how, number = argument
    if how == "error":
        raise ValueError(number)
    if how == "death":
        os._exit(3)
    return number
