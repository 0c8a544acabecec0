"""How the C library deals with memory that training gives back."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

#: mallopt(3): parameters, and the most that glibc takes for each.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEEP_ALL, _LARGEST_BLOCK = 2**31 - 1, 2**25
#: What both are at the start of a process.
_DEFAULT = 128 * 1024


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within, glibc keeps freed blocks of up to 32 MiB for the next ones; elsewhere, nothing.

    A training step takes the same blocks again and again. Between two steps glibc may hand them to
    the system and have them back page by page, cleared: up to a fifth of a step on a CPU, in some
    processes and not in others.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
    mallopt(_TRIM_THRESHOLD, _KEEP_ALL)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, _DEFAULT)
        mallopt(_TRIM_THRESHOLD, _DEFAULT)
