"""Work in processes that may hang or die: that costs the piece of work, not the program.

A decoder is C code that meets damaged files. It runs in a child process, which a timer of the
system ends when a call takes too long; whatever ends the child, the caller gets `Lost` and starts
another one.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from repflow_pl.data.parallel import progress_bar
from repflow_pl.ending import die_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

TIMEOUT = 120.0
"""Seconds that one call may take, if nobody says otherwise."""
AHEAD = 8
"""Results that may wait for an earlier one, for each process."""
SERVE = "from repflow_pl.data.decoding.isolated import serve; serve()"


class Lost(Exception):
    """The process was lost at this piece of work; the message says how, in a few words."""


class IsolatedProcess:
    """A child process that computes one call at a time; started when it is first needed.

    An object that was copied into another process (by a fork, or pickled) starts a child of its
    own there.
    """

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._asked = 0
        self._open: set[int] = set()
        """Numbers of the questions whose answers somebody waits for, of the child that runs."""
        self._answers: dict[int, Any] = {}
        """Those that came while another stream was waiting."""

    def call(self, function: Callable[[Item], Result], argument: Item) -> Result:
        """`function(argument)`, a function that the child can import by its name.

        Errors: Lost where the child hung or died; whatever the function raises.
        """
        (answer,) = self.stream(function, [argument])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stream(
        self, function: Callable[[Item], Result], arguments: Sequence[Item]
    ) -> Iterator[Result | Exception]:
        """`function` of each argument; the child works on the next while one is being used.

        What `call` would raise is yielded in the place of a result.
        """
        asked: deque[int] = deque()
        try:
            k = 0
            while k < len(arguments):
                if asked and asked[0] not in self._open:  # lost with a child by another stream
                    asked.clear()
                try:
                    while len(asked) < 2 and k + len(asked) < len(arguments):
                        asked.append(self._send(function, arguments[k + len(asked)]))
                    value = self._receive(asked[0])
                    asked.popleft()
                except (EOFError, OSError, pickle.UnpicklingError):
                    # The child computes in order: it was lost at the first open question.
                    at = min(self._open - self._answers.keys(), default=None)
                    others = at is not None and at not in asked
                    value = self._lost()
                    asked.clear()
                    if others:
                        continue
                k += 1
                yield value
        finally:
            self._open.difference_update(asked)  # left early: nobody waits for these

    def _send(self, function: Callable[[Item], Result], argument: Item) -> int:
        """Ask a question; returns its number."""
        pipe = self._started().stdin
        assert pipe is not None
        self._asked += 1
        pickle.dump((self._asked, function, argument, self.timeout), pipe, pickle.HIGHEST_PROTOCOL)
        pipe.flush()
        self._open.add(self._asked)
        return self._asked

    def _receive(self, number: int) -> Any:
        """The answer to a question; answers to other streams' questions are kept for them.

        Errors: EOFError where the child that was asked is gone.
        """
        while number not in self._answers:
            if number not in self._open:
                raise EOFError
            pipe = self._started().stdout
            assert pipe is not None
            answered, value = pickle.load(pipe)
            if answered in self._open:
                self._answers[answered] = value
        self._open.discard(number)
        return self._answers.pop(number)

    def _lost(self) -> Lost:
        status = self.stop()
        if status == -signal.SIGALRM:
            return Lost(f"no answer in {self.timeout:g} seconds")
        return Lost(f"the process that read it died ({_how(status)})")

    def stop(self) -> int:
        """End the child, whatever it is at; returns its exit status."""
        process, self._process = self._process, None
        self._open.clear()
        if process is None or self._owner != os.getpid():
            return 0
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        try:
            return process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def __getstate__(self) -> dict[str, Any]:
        return IsolatedProcess(self.timeout).__dict__.copy()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._open.clear()
            self._answers.clear()
            path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # One thread each: the work is shared out among processes already.
                env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path},
            )
            _widen(self._process.stdout)
        return self._process


def serve() -> NoReturn:
    """The child's side: calls from standard input, answers to standard output, until its end."""
    die_with_parent()
    # A terminal and a scheduler ask all processes: the parent handles it, and then closes the pipe.
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(how, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends a process that hangs, wherever it does
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    while True:
        try:
            number, function, argument, seconds = pickle.load(requests)
        except EOFError:
            os._exit(0)  # at once: to take down what was imported keeps a core busy for seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            answer = (number, function(argument))
        except Exception as error:
            answer = (number, error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except OSError:  # the parent is gone
            os._exit(0)


def isolated_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    label: str,
    workers: int | None = None,
    timeout: float = TIMEOUT,
) -> Iterator[tuple[Item, Result | Lost]]:
    """Yield (item, `function(item)`) for every item, in order, computed in `workers` processes.

    Where a process hung or died the result is the `Lost` that says so. `workers=None` takes every
    core; 0 computes in this process, without that protection.
    """
    if not items:
        return
    workers = default_workers() if workers is None else workers
    with progress_bar(label, len(items)) as advance:
        if workers == 0:
            for item in items:
                result = function(item)
                advance()
                yield item, result
            return
        for item, outcome in _spread(function, items, min(workers, len(items)), timeout):
            advance()
            yield item, outcome


def default_workers() -> int:
    """As many as there are cores."""
    import joblib

    cores: int = joblib.cpu_count()
    return cores


def _spread(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, timeout: float
) -> Iterator[tuple[Item, Result | Lost]]:
    """`isolated_map`'s processes: one for each of `workers` threads, which only wait."""
    mine = threading.local()
    processes: list[IsolatedProcess] = []

    def compute(item: Item) -> Result | Lost:
        if not hasattr(mine, "process"):
            mine.process = IsolatedProcess(timeout)
            processes.append(mine.process)
        try:
            result: Result = mine.process.call(function, item)
        except Lost as lost:
            return lost
        return result

    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[Item, Future[Result | Lost]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(compute, item)))
            if len(waiting) > AHEAD * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            running = process._process
            if waiting and running is not None:
                running.kill()  # interrupted: what it is at is done again the next time
            process.stop()


def _widen(pipe: Any) -> None:
    """Let a whole clip pass through a pipe at once, where the system can (Linux)."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)


def _how(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
