"""Whether a set's frames are kept: how much room there is, and whether to read them is faster."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

SHARE = 0.5
"""Of the memory, so that what is kept stays there beside a training; and of the free disk."""
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""A container's memory, of either version of Linux's control groups."""
READS = 16


def memory() -> int:
    """Bytes of this machine's memory, or of its container's where that has less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in LIMITS:
        with suppress(OSError, ValueError):  # no such file, or "max" in it
            found.append(int(Path(limit).read_text(encoding="ascii")))
    return min(found)


def free_disk(folder: Path) -> int:
    """Bytes that are free where a folder is, or is to be."""
    return shutil.disk_usage(next(f for f in (folder, *folder.parents) if f.exists())).free


def seconds_to_read(folder: Path, size: int) -> float:
    """Median time in which the disk below a folder gives so many bytes that are not in memory;
    infinite where the system cannot be told to forget a file."""
    if not hasattr(os, "posix_fadvise"):
        return float("inf")
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with tempfile.TemporaryFile(dir=folder) as stream:
        for _ in range(READS):
            stream.write(random.randbytes(size))
        stream.flush()
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for place in random.sample(range(READS), READS):
            began = time.perf_counter()
            os.pread(stream.fileno(), size, place * size)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)
