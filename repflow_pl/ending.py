"""Ctrl-C, SIGTERM and SIGHUP end a command and every process that it started, in LIMIT seconds."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from repflow_pl.errors import terminate

LIMIT = 8.0
"""Seconds after which a process that was asked to end is ended, whatever it is at."""
SAVING = 5.0
"""Seconds of these in which the processes that it started may save what they are at."""
LEFT = 0
"""In the place of a signal's number: the block has been left."""
PR_SET_PDEATHSIG = 1


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Terminated in the block, as Ctrl-C raises KeyboardInterrupt.

    Python's handlers, and what they raise, may come late or never: in a call of C, in a finaliser,
    while a process is waited for that hangs. So a thread of its own counts from the signal on. What
    is ignored when the block begins, as SIGHUP under nohup, goes on being ignored.
    """
    asked = {signal.SIGTERM: terminate, signal.SIGHUP: _as_sigterm}
    before = {
        how: signal.signal(how, handler)
        for how, handler in asked.items()
        if signal.getsignal(how) != signal.SIG_IGN
    }
    heard, told = os.pipe()
    os.set_blocking(told, False)
    listener = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    left = threading.Event()
    threading.Thread(target=_count, args=(heard, left), daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        _end_loaders()
        raise
    finally:
        left.set()
        signal.set_wakeup_fd(listener)
        os.write(told, bytes([LEFT]))
        os.close(told)
        for how, handler in before.items():
            signal.signal(how, handler)


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """Have the system send this process a signal when the thread that started it ends, however that
    ends. Linux alone can; elsewhere nothing is done."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how, 0, 0, 0)


def outlive_signals() -> None:
    """For a process that another one cannot finish its step without, where a terminal or a
    scheduler asks all of them to end: it has LIMIT seconds more, and dies with its parent."""
    signal.set_wakeup_fd(-1)  # a fork has its parent's
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for how in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(how, _begin_to_end)
    die_with_parent()


def _begin_to_end(signum: int, frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, LIMIT)


def _as_sigterm(signum: int, frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)  # whoever handles that one just now


def _count(heard: int, left: threading.Event) -> None:
    ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    with open(heard, "rb", buffering=0) as signals:
        for how in iter(lambda: signals.read(1)[0], LEFT):
            if how in ending and not left.wait(LIMIT):
                for pid in descendants(os.getpid()):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                os._exit(128 + how)


def _end_loaders() -> None:
    """A loader that is at something would be waited for when Python exits."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's raises where a loader died
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    signal.signal(signal.SIGCHLD, before)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and theirs, as far as /proc tells."""
    children = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = path.read_text().rpartition(")")[2].split()[1]
            children[int(parent)].append(int(path.parent.name))
    found = list(children[pid])
    for each in found:
        found += children[each]
    return found
