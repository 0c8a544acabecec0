"""Blocks that are taken again and again come from the process, not anew from the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from repflow_pl.training import memory

FAULTS = """
import resource
import numpy as np
from repflow_pl.training.memory import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [np.full(3 * 2**20, 1, np.float32) for _ in range(6)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

without = faults()
with freed_memory_kept():
    faults()
    within = faults()
print(without, within, faults())
"""


def test_freed_blocks_are_taken_again() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("a C library without mallopt")
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    without, within, afterwards = map(int, run.stdout.split())
    assert within < 0.1 * without and within < 0.1 * afterwards


def test_without_mallopt_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: None)
    with memory.freed_memory_kept():
        pass
