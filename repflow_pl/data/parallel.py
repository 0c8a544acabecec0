"""Work on many files at once, with a progress bar that says how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

console = Console(stderr=True)
"""Messages for the person at the terminal; standard output is left to results."""


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the time that is left; gives the function that moves it on by one."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total)
        yield lambda: bar.advance(task)


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    label: str,
    workers: int | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order, computed in `workers` processes.

    The processes are fresh ones (joblib's loky), not forks: a fork of a process that has threads,
    as one with torch or a decoder in it does, can hang. `workers=None` takes every core; one
    worker computes in this process.
    """
    import joblib

    if not items:
        return
    workers = min(workers or joblib.cpu_count(), len(items))
    with progress_bar(label, len(items)) as advance:
        if workers == 1:
            results: Iterator[Result] = map(function, items)
        else:
            parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
            results = parallel(joblib.delayed(function)(item) for item in items)
        for result in results:
            advance()
            yield result
