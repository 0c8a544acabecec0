"""Numba's compiled code: one process at a time makes it, all later ones load it.

Numba keeps code beside its source, in the user's cache where that folder cannot be written, or in
NUMBA_CACHE_DIR, apart for every kind of processor and version. What is done here besides: whoever
waits is told so, once; a damaged file or a full disk costs a compilation and no run; and processes
that need the same code at once, such as the ranks of a training, compile it once. They must not
do it side by side: Numba names a file first and writes it afterwards, so that one process may load
what another has written for something else.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from filelock import FileLock, Timeout
from numba.core import event
from numba.core.caching import FunctionCache

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Seconds that a process waits for another's code without a word, and before it makes its own.
PATIENCE, LIMIT = 2.0, 600.0

_one_thread = threading.Lock()


class _Cache(FunctionCache):
    """Numba's cache of a function, of which no failure reaches the caller."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling damaged files may raise anything; the code is compiled anew
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            try:
                super().save_overload(sig, data)
            except OSError:
                raise
            except Exception:  # a damaged index, which nothing can be found by
                self.flush()
                super().save_overload(sig, data)
        except OSError as error:
            _say(
                f"Compiled code cannot be kept in {self.cache_path} ({error.strerror}), so that "
                "every process compiles it again: set NUMBA_CACHE_DIR to another folder."
            )


def jit(function: _Function, options: dict[str, Any]) -> _Function:
    """The function compiled on its first call, and kept; ``options`` are numba.njit's."""
    compiled = numba.njit(**options)(function)
    with suppress(RuntimeError):  # no folder can be written: every process compiles it
        if not _is_disabled():
            compiled._cache = _Cache(function)  # what njit(cache=True) does with Numba's own
    return cast(_Function, compiled)


def make_ready(kernel: Any, arguments: tuple[Any, ...], what: str) -> None:
    """Load or compile a function of :func:`jit` for such arguments, before it is called.

    ``what`` tells the user what is compiled and how long that takes: the sentence's beginning.
    """
    if _is_disabled():
        return
    folder = kernel.stats.cache_path
    kept = (
        f"it is kept in {folder}, from which later processes load it in about a second"
        if folder
        else "no folder was found to keep it in, so every process does this again: set "
        "NUMBA_CACHE_DIR to one that can be written"
    )
    with _one_thread:
        kernel.targetctx.refresh()  # half a second that no other process need wait for
        with (
            _one_process(folder, what),
            event.install_listener("numba:compile", _Announcer(kernel, f"{what}; {kept}.")),
        ):
            kernel.compile(tuple(map(numba.typeof, arguments)))


def _is_disabled() -> bool:
    """NUMBA_DISABLE_JIT: functions stay Python's, for a debugger."""
    return bool(numba.config.DISABLE_JIT)


class _Announcer(event.Listener):
    """Warns when a function is compiled, which it is not when it can be loaded."""

    def __init__(self, kernel: Any, sentence: str) -> None:
        self.kernel, self.sentence = kernel, sentence

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] is self.kernel:
            _say(self.sentence)

    def on_end(self, event: Any) -> None:
        pass


@contextmanager
def _one_process(folder: str | None, what: str) -> Iterator[None]:
    """Have a folder of compiled code for oneself; the system gives it back when the process dies.

    Where that cannot be had, one goes on without it: at worst, code is compiled twice.
    """
    if folder is None:
        yield
        return
    lock = FileLock(Path(folder) / "repflow_pl.lock")
    with suppress(OSError, NotImplementedError):  # a time-out; a file system without locks
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            _say(f"{what}; another process is at it, and this one waits for its code.")
            lock.acquire(timeout=LIMIT)
    try:
        yield
    finally:
        lock.release()


@functools.cache
def _say(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=2)
