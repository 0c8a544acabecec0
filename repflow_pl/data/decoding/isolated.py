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
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from repflow_pl.data.decoding.decode_pyav import DecodeError
from repflow_pl.data.parallel import progress_bar
from repflow_pl.ending import die_with_parent
from repflow_pl.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

TIMEOUT = 120.0
"""Seconds that one call may take, if nobody says otherwise."""
AHEAD = 8
"""Results that may wait for an earlier one, for each process."""
SERVE = (
    "import sys; sys.path = [place for place in sys.path if place];"  # without what `-c` adds: a
    "from repflow_pl.data.decoding.isolated import serve; serve()"  # queue.py that lies here
)


class Lost(DecodeError):
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
        self._streaming = 0
        """The process in which a stream is being read; another one goes to a child beside."""
        self._beside: IsolatedProcess | None = None

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
        if self._streaming == os.getpid():
            self._beside = self._beside or IsolatedProcess(self.timeout)
            yield from self._beside.stream(function, arguments)
            return
        self._streaming = os.getpid()
        waiting: deque[int] = deque()
        done = 0
        try:
            while done < len(arguments):
                try:
                    for argument in arguments[done + len(waiting) : done + 2]:
                        waiting.append(self._send(function, argument))
                    value = self._receive(waiting.popleft())
                except (EOFError, OSError, pickle.UnpicklingError):
                    value = self._lost()
                    waiting.clear()  # what was asked ahead is asked again
                done += 1
                yield value
        finally:
            self._streaming = 0
            if waiting:  # left early
                self._end(at_once=True)

    def _send(self, function: Callable[[Item], Result], argument: Item) -> int:
        """Ask a question; returns its number."""
        pipe = self._started().stdin
        assert pipe is not None
        self._asked += 1
        pickle.dump((self._asked, function, argument, self.timeout), pipe, pickle.HIGHEST_PROTOCOL)
        pipe.flush()
        return self._asked

    def _receive(self, number: int) -> Any:
        """The answer to the question of that number, which every answer carries: no frames are
        ever taken for another video's.

        Errors: EOFError where the child is gone, also by a `stop` of another thread.
        """
        process = self._process
        if process is None or process.stdout is None:
            raise EOFError
        answered, answer = pickle.load(process.stdout)
        if answered != number:
            raise EOFError
        return answer

    def _lost(self) -> Lost:
        status = self._end()
        if status == -signal.SIGALRM:
            return Lost(f"no answer in {self.timeout:g} seconds")
        return Lost(f"the process that read it died ({_how(status)})")

    def stop(self, at_once: bool = False) -> None:
        """End the children, in some seconds whatever they are at."""
        if self._beside is not None:
            self._beside.stop(at_once)
        self._end(at_once)

    def _end(self, at_once: bool = False) -> int:
        """End the child; returns its exit status."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return 0
        if at_once:
            process.kill()
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
            answer = function(argument)
        except Exception as error:
            answer = error
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            pickle.dump((number, answer), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except OSError:  # the parent is gone
            os._exit(0)


def isolated_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    label: str,
    workers: int | None = None,
    timeout: float = TIMEOUT,
) -> Iterator[tuple[Item, Result | DecodeError]]:
    """Yield (item, `function(item)`) for every item, in order, computed in `workers` processes.

    A DecodeError is a result like any other; where a process hung or died it is `Lost`.
    `workers=None` takes every core; 0 computes in this process, without that protection.
    """
    if workers is not None and workers < 0:
        raise UserError(f"--workers {workers}: it takes 0 or more; leave it out for every core.")
    if not items:
        return
    workers = default_workers() if workers is None else workers
    made: Iterator[tuple[Item, Result | DecodeError]] = (
        _spread(function, items, min(workers, len(items)), timeout)
        if workers
        else ((item, _tried(function, item)) for item in items)
    )
    with progress_bar(label, len(items)) as advance:
        for item, outcome in made:
            advance()
            yield item, outcome


def default_workers() -> int:
    """As many as there are cores."""
    import joblib

    cores: int = joblib.cpu_count()
    return cores


def _spread(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, timeout: float
) -> Iterator[tuple[Item, Result | DecodeError]]:
    """`isolated_map`'s processes: one for each of `workers` threads, which only wait."""
    mine = threading.local()
    processes: list[IsolatedProcess] = []

    def compute(item: Item) -> Result | DecodeError:
        if not hasattr(mine, "process"):
            mine.process = IsolatedProcess(timeout)
            processes.append(mine.process)
        return _tried(partial(mine.process.call, function), item)

    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[Item, Future[Result | DecodeError]]] = deque()
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
            process.stop(at_once=bool(waiting))  # interrupted: it is done again the next time


def _tried(function: Callable[[Item], Result], item: Item) -> Result | DecodeError:
    try:
        return function(item)
    except DecodeError as error:
        return error


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
