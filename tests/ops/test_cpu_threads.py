"""Threads of the fused CPU backend: PyTorch's own, or a pool where those cannot be had."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from repflow_pl.ops import cpu_threads
from repflow_pl.ops.cpu_threads import on_threads

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="PyTorch uses GNU's OpenMP on Linux")


@pytest.fixture(params=[pytest.param("openmp", marks=LINUX), "pool"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pool":
        monkeypatch.setattr(cpu_threads, "_openmp_parallel", lambda: None)


both_ways = pytest.mark.usefixtures("_way")


class Meeting:
    """A call that ends when so many threads are in it: none of them can have run it twice."""

    def __init__(self, threads: int) -> None:
        self.barrier = threading.Barrier(threads)
        self.idents: list[int] = []

    def __call__(self) -> None:
        self.barrier.wait(timeout=60)
        self.idents.append(threading.get_ident())


@both_ways
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_runs_on_this_and_other_threads_at_once(threads: int) -> None:
    for _ in range(3):
        meeting = Meeting(threads)
        on_threads(threads, meeting)
        assert len(set(meeting.idents)) == threads
        assert threading.get_ident() in meeting.idents


def _threads_made_by(call: Callable[[], object]) -> int:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    before = threads()
    call()
    return threads() - before


@LINUX
def test_the_threads_are_those_of_torch() -> None:
    made = []

    def new_thread() -> None:  # which has no team of OpenMP's yet
        torch.set_num_threads(3)  # of the operators that this thread calls
        made.append(_threads_made_by(lambda: torch.ones(1_000_000).sin()))
        made.append(_threads_made_by(lambda: on_threads(3, Meeting(3))))

    before = torch.get_num_threads()
    try:
        thread = threading.Thread(target=new_thread)
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert made == [2, 0]


@both_ways
def test_an_error_is_raised_when_all_have_ended() -> None:
    ended = []
    change = threading.Lock()

    def call() -> None:
        with change:
            first = not failed
            failed.append(1)
        if first:
            raise MemoryError("no room")
        time.sleep(0.05)
        ended.append(1)

    for _ in range(3):
        failed: list[int] = []
        ended.clear()
        with pytest.raises(MemoryError, match="no room"):
            on_threads(3, call)
        assert len(ended) == len(failed) - 1


@both_ways
def test_ctrl_c_is_raised() -> None:
    def call() -> None:
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # may be ignored here
    try:
        with pytest.raises(KeyboardInterrupt):
            on_threads(2, call)
    finally:
        signal.signal(signal.SIGINT, before)


@LINUX
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_raised_though_it_comes_as_python_is_entered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There ctypes drops it: no Python code is running yet that could catch it."""
    ran = []

    def parallel(member: Any, *_: Any) -> None:
        def interrupt(frame: Any, event: str, _: Any) -> None:
            if event == "call" and frame.f_code.co_name == "member":
                sys.setprofile(None)
                raise KeyboardInterrupt

        sys.setprofile(interrupt)
        try:
            member(None)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(cpu_threads, "_openmp_parallel", lambda: parallel)
    with pytest.raises(KeyboardInterrupt):
        on_threads(2, lambda: ran.append(1))
    assert ran == []


def _in_child(answers: multiprocessing.queues.Queue[int]) -> None:
    meeting = Meeting(2)
    on_threads(2, meeting)
    answers.put(len(set(meeting.idents)))


@both_ways
@LINUX
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    on_threads(2, Meeting(2))  # there are threads, which the child does not get
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_child, args=(answers,))
    child.start()
    try:
        assert answers.get(timeout=60) == 2
    finally:
        child.join(timeout=10)
        child.kill()
