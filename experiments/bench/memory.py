"""Peak memory of a call beyond its inputs, measured in a fresh process for each backend.

On a GPU: torch's own count. On a CPU there is none that sees torch's allocator, autograd's graph,
oneDNN and NumPy's scratch alike, so it is the process's resident memory: the kernel's high-water
mark (VmHWM) is reset, the call made, and what it rose by is read. Blocks of 64 KiB and more are
made to come from and go back to the system at once, or freed memory would hide what a call takes.

    python -m bench.memory JOB    # JOB as written by `measure`; a line of JSON for each pass
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import torch

from bench.cells import PASSES, Cell, Pass, call_of, flow_of, synchronise
from bench.timing import seconds_of
from repflow_pl.ending import die_with_parent

#: Of the processes: malloc as said above, and waiting threads that leave the core to the others.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_WAIT_POLICY": "PASSIVE",
}
_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_HIGH_WATER = "5"  # proc(5)
_KNOWN = 64 * 2**20
_SMALL = Cell(pairs=1, channels=2, side=8, n_iter=2)


@dataclass(frozen=True)
class Measured:
    """One pass of one cell; `extra_bytes` is None where `why` says so."""

    cell: Cell
    which: Pass
    first_seconds: float
    """The first call, compilation included."""
    extra_bytes: int | None
    why: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a backend's process came to; `why` says what is missing and is empty if nothing is."""

    measured: tuple[Measured, ...]
    why: str = ""


@dataclass(frozen=True)
class Job:
    """All passes of some cells on one backend, and how many seconds they may take."""

    backend: str
    cells: Sequence[Cell]
    limit: float


def measure(jobs: Sequence[Job], device: torch.device, threads: int) -> dict[str, Outcome]:
    """Do every job in a fresh process, two at a time, for memory is not time; by backend.

    A process is a group of its own, so that at the limit a compiler's processes end with it.
    """
    started: list[subprocess.Popen[str]] = []
    stopped = Event()

    def outcome_of(job: Job) -> Outcome:
        with _start(job, device, threads) as process:
            started.append(process)
            if stopped.is_set():
                _end(process)
            try:
                return _outcome(process, job.limit)
            finally:
                _end(process)

    with ThreadPoolExecutor(2) as pool:
        try:
            outcomes = list(pool.map(outcome_of, jobs))
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in started:
                _end(process)
            raise
    return {job.backend: outcome for job, outcome in zip(jobs, outcomes, strict=True)}


def _start(job: Job, device: torch.device, threads: int) -> subprocess.Popen[str]:
    wanted = {**dataclasses.asdict(job), "device": device.type, "threads": threads}
    here = Path(__file__).parents[1]
    paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.memory", json.dumps(wanted)],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _outcome(process: subprocess.Popen[str], limit: float) -> Outcome:
    why = ""
    try:
        printed, complaint = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        _end(process)
        printed, complaint = process.communicate()
        why = f"it took longer than {limit:.3g} s"
    if not why and process.returncode != 0:
        lines = complaint.strip().splitlines()
        why = lines[-1] if lines else f"its process ended with {process.returncode}"
    return Outcome(tuple(_read(line) for line in printed.splitlines() if line[:1] == "{"), why)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _read(line: str) -> Measured:
    fields = json.loads(line)
    return Measured(**{**fields, "cell": Cell(**fields["cell"])})


# --- in the fresh process ------------------------------------------------------------------------


def main(job: str) -> None:
    """Print a line of JSON for each pass of each cell."""
    die_with_parent()
    wanted = json.loads(job)
    torch.set_num_threads(wanted["threads"])
    device = torch.device(wanted["device"])
    try:
        flow = flow_of(wanted["backend"], device)
    except ValueError as error:
        sys.exit(str(error))
    why = untrusted(device)
    wait = partial(synchronise, device)
    compiles = wanted["backend"] == "compile"
    first = (
        {} if compiles else {p: seconds_of(call_of(flow, _SMALL, p, device), wait) for p in PASSES}
    )
    for fields in wanted["cells"]:
        cell = Cell(**fields)
        for which in PASSES:
            call = call_of(flow, cell, which, device)
            try:
                # Code compiled for one shape must be there before that shape is measured; the
                # others do with a small call.
                seconds = seconds_of(call, wait) if compiles else first[which]
                extra = None if why else extra_bytes(call, device)
            except Exception as error:
                sys.exit(_sentence(error))
            result = Measured(cell, which, seconds, extra, why)
            print(json.dumps(dataclasses.asdict(result)), flush=True)


def untrusted(device: torch.device) -> str:
    """Why memory cannot be measured here; empty where a known amount is measured as such."""
    if device.type == "cuda":
        return ""
    try:
        extra_bytes(lambda: None, device)
        seen = extra_bytes(lambda: torch.ones(_KNOWN // 4).sum().item(), device)
    except (OSError, ValueError):
        return "the system has no high-water mark of memory that can be reset"
    if not 0.95 * _KNOWN < seen < 1.1 * _KNOWN:
        return f"the high-water mark is off: 64 MiB were seen as {seen / 2**20:.0f}"
    return ""


def extra_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Peak bytes during a call beyond those held before it."""
    gc.collect()
    if device.type == "cuda":
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    _CLEAR_REFS.write_text(_RESET_HIGH_WATER)
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise ValueError(f"{_STATUS} has no {name}")


def _sentence(error: Exception) -> str:
    """An exception in a line: a compiler's complaint fills pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160] if lines else 'without a message'}"


if __name__ == "__main__":
    main(sys.argv[1])
