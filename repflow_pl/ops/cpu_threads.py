"""One call on several threads at once: those of PyTorch's own operators, where they can be had.

For some milliseconds after an operator, the OpenMP threads that it ran on keep their cores busy
with waiting for the next one. Other threads have to share the cores with them: the flow of a
training step took a fifth longer on a pool of Python threads (two cores, GNU's OpenMP).
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import torch

_TeamMember = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

#: A forked child is another process: it inherits the pool and OpenMP's team, but no threads.
_PROCESS = os.getpid()


def on_threads(threads: int, call: Callable[[], None]) -> None:
    """Run `call` on this thread and on up to ``threads - 1`` others; returns when all have ended.

    `call` deals out the work itself: it may run on fewer threads.
    Errors: the first of those that `call` raised.
    """
    parallel = _openmp_parallel() if os.getpid() == _PROCESS else None
    if parallel is None:
        _on_pool(threads, call)
    else:
        _on_openmp(parallel, threads, call)


def _on_openmp(parallel: Any, threads: int, call: Callable[[], None]) -> None:
    begun: list[int] = []
    errors: list[BaseException] = []

    def member(_: Any) -> None:
        try:
            begun.append(threading.get_ident())
            call()
        except BaseException as error:  # else C code would receive and drop it
            errors.append(error)

    parallel(_TeamMember(member), None, threads, 0)
    if errors:
        raise errors[0]
    if threading.get_ident() not in begun:  # a Ctrl-C came as `member` began, and was dropped
        raise KeyboardInterrupt


@functools.cache
def _openmp_parallel() -> Any:
    """How compiled code begins ``#pragma omp parallel``, in the library that PyTorch is linked to.

    None where that is another library than GNU's or a compatible one, as on Windows and macOS.
    """
    library = ctypes.CDLL(torch._C.__file__)  # names are looked up in what it depends on too
    parallel = getattr(library, "GOMP_parallel", None)
    if parallel is not None:
        parallel.argtypes = [_TeamMember, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
    return parallel


def _on_pool(threads: int, call: Callable[[], None]) -> None:
    others = [_pool(threads - 1, os.getpid()).submit(call) for _ in range(threads - 1)]
    try:
        call()
    finally:  # nothing is left for those that have not begun
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()  # or its exception


@functools.cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """One for each process, see `_PROCESS`."""
    return ThreadPoolExecutor(threads, thread_name_prefix="repflow_pl.flow")
