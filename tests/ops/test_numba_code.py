"""Compiled code is kept, compiled by one process alone, and no fault of its files costs a run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

pytest.importorskip("numba")

import numba
from numba.core import caching

from repflow_pl.ops import numba_code

ROOT = Path(__file__).parents[2]


def triple(x: int) -> int:
    return 3 * x


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Call the function as a new process does; what is said by that."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def called() -> list[str]:
        numba_code._say.cache_clear()
        kernel: Any = numba_code.jit(triple, {"nogil": True})
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            numba_code.make_ready(kernel, (5,), "It is compiled")
            assert kernel(5) == 15
        return [str(warning.message) for warning in said]

    return called


def test_it_is_compiled_once_and_said_so(call: Callable[[], list[str]], tmp_path: Path) -> None:
    (said,) = call()
    assert said.startswith("It is compiled; it is kept in ") and str(tmp_path) in said
    assert call() == []


@pytest.mark.filterwarnings("ignore:It; ")
def test_threads_make_it_ready_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba's registries, which `refresh` reads, fail where two threads read them at once."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    kernel: Any = numba_code.jit(triple, {"nogil": True})
    inside: list[int] = []
    most: list[int] = []

    def refresh() -> None:
        inside.append(1)
        time.sleep(0.05)
        most.append(len(inside))
        inside.pop()

    monkeypatch.setattr(kernel.targetctx, "refresh", refresh)
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(numba_code.make_ready, kernel, (5,), "It") for _ in range(3)]:
            done.result()
    assert len(most) >= 3 and set(most) == {1}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"no pickle"])
def test_a_damaged_file_is_made_anew(
    call: Callable[[], list[str]], tmp_path: Path, suffix: str, content: bytes
) -> None:
    call()
    (damaged,) = tmp_path.rglob(f"*.{suffix}")
    damaged.write_bytes(content)
    assert len(call()) == 1
    assert call() == []


def test_a_lost_file_is_made_anew(call: Callable[[], list[str]], tmp_path: Path) -> None:
    call()
    next(tmp_path.rglob("*.nbc")).unlink()
    assert len(call()) == 1
    assert call() == []


def test_a_full_disk_fails_no_call(
    call: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(caching.IndexDataCacheFile, "_save_data", full)
        _, said = call()
        assert "cannot be kept in" in said and "(No space left on device)" in said
        assert "set NUMBA_CACHE_DIR" in said
    assert len(call()) == 1, "nothing was kept"
    assert call() == []


def test_without_any_folder_it_is_compiled_each_time(
    call: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    for _ in range(2):
        (said,) = call()
        assert "so every process does this again: set NUMBA_CACHE_DIR to one" in said


def test_another_process_is_waited_for(
    call: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba_code, "PATIENCE", 0.01)
    monkeypatch.setattr(numba_code, "LIMIT", 0.1)
    call()
    (index,) = tmp_path.rglob("*.nbi")
    for each in (index, *tmp_path.rglob("*.nbc")):
        each.unlink()
    with FileLock(index.with_name("repflow_pl.lock")):
        waits, compiles = call()  # not for ever
    assert "another process is at it, and this one waits" in waits and "it is kept" in compiles


def test_a_file_system_without_locks_is_done_without(
    call: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", refused)
    assert len(call()) == 1
    assert call() == []


# --- processes -----------------------------------------------------------------------------------

SMALL = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import small
from repflow_pl.ops.numba_code import make_ready
while len(sys.argv) > 2 and not Path(sys.argv[2]).exists():
    time.sleep(0.01)
make_ready(small.kernel, (5,), "It is compiled")
assert small.kernel(5) == 15
"""
MODULE = """
from repflow_pl.ops.numba_code import jit
def triple(x):
    return 3 * x
kernel = jit(triple, {})
"""


def _start(code: str, folder: Path, *arguments: object, **environment: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder / "kept"), **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _done(process: Any) -> tuple[str, str]:
    printed, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return printed, said


@pytest.mark.long
def test_of_processes_that_start_at_once_one_compiles(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(MODULE, encoding="utf-8")
    processes = [_start(SMALL, tmp_path, tmp_path, tmp_path / "go") for _ in range(3)]
    (tmp_path / "go").touch()
    said = [_done(process)[1] for process in processes]
    assert sum("it is kept in" in each for each in said) == 1


@pytest.mark.slow
def test_code_of_another_processor_is_neither_used_nor_lost(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(MODULE, encoding="utf-8")
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    compiled = [
        "it is kept in" in _done(_start(SMALL, tmp_path, tmp_path, **environment))[1]
        for environment in ({}, other, {}, other)
    ]
    assert compiled == [True, True, False, False]


FLOW = """
import time, torch, torch._dynamo  # which the first call of any operator imports
from repflow_pl.ops import central_kernels, representation_flow
frame = torch.rand(1, 2, 5, 5)
scalars = [torch.tensor(v) for v in (0.3, 0.15, 0.25)]
for _ in range(2):
    before = time.process_time()
    representation_flow(frame, frame, central_kernels(2), *scalars, 3)
    print(time.process_time() - before)
"""


@pytest.mark.slow
def test_the_flow_is_ready_in_a_moment_the_second_time(tmp_path: Path) -> None:
    first, said = _done(_start(FLOW, tmp_path))
    assert said.count("Numba compiles the flow layer for this processor, about 15 s") == 1
    assert f"it is kept in {tmp_path / 'kept'}" in said
    second, nothing = _done(_start(FLOW, tmp_path))
    assert nothing == ""
    compiled, loaded = float(first.split()[0]), float(second.split()[0])
    assert loaded < compiled / 4, "seconds of the processor"
