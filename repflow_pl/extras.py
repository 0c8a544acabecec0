"""What is installed only where it is asked for, and the sentence that says how.

The layer needs torch and numpy. Whatever needs more is in an extra of pyproject.toml and says so
here: a part of the package when it is imported, a single package where it is used.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from repflow_pl.errors import UserError


class NotInstalled(UserError, ModuleNotFoundError):
    """Something that a part of the package needs is missing; the sentence says what brings it."""


@dataclass(frozen=True)
class Extra:
    """`pip install 'repflow-pl[<name>]'`."""

    name: str
    modules: tuple[str, ...] = ()
    """What its packages are imported as; all that it is for needs them."""
    sometimes: tuple[str, ...] = ()
    """The same; others do as well, or all is slower without."""


VIDEO = Extra(
    "video",
    (
        *("PIL", "docstring_parser", "jinja2", "joblib", "jsonargparse"),
        *("platformdirs", "rich", "shtab", "torchvision"),
    ),
    sometimes=("av", "safetensors"),  # or decord; a run's own checkpoint
)
EXTRAS = (
    Extra("cpu", sometimes=("numba",)),
    VIDEO,
    Extra("decord", ("decord",)),
    Extra("tvl1", ("cv2",)),
    Extra(
        "train",
        (
            *VIDEO.modules,
            *("lightning", "torchmetrics", "pandas", "scipy", "sklearn"),
            *("matplotlib", "markdown_it"),
        ),
    ),
    Extra("wandb", ("wandb",)),
    Extra("tensorboard", ("tensorboard",)),
    Extra("slurm", ("submitit",)),
    Extra("export", sometimes=("onnx", "onnxruntime", "onnxscript")),
)


def needs(name: str, program: bool = False, signals: bool = False) -> AbstractContextManager[None]:
    """Check that an extra is there, at the top of what it is for. In the context it gives stand the
    imports that come after the check; a program that is interrupted in it ends without a word.

    `signals`: so are the signals of Linux and macOS, by which programs are ended.

    Errors: NotInstalled. A program ends with the sentence and status 2, also one that is started as
    `python -m`: nobody could catch the error there.
    """
    absent = _absent(name)
    error = _not_installed(absent, name) if absent else None
    if signals and not hasattr(signal, "SIGALRM"):
        error = NotInstalled(
            "videos are read and networks trained on Linux and macOS; on Windows run this in WSL."
        )
    if error is not None:
        if not program and sys.argv[:1] != ["-m"]:  # so it is until the module has been found
            raise error
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    return _ended_by_ctrl_c() if program else nullcontext()


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """To import a trainer takes seconds. Nothing is begun yet: a trace-back would say nothing."""
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()  # others set no handler
    if not in_main or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_complete(name: str) -> bool:
    """Whether all of an extra is there."""
    return not _absent(name)


def _absent(name: str) -> list[str]:
    (extra,) = (extra for extra in EXTRAS if extra.name == name)
    return [module for module in extra.modules if not is_installed(module)]


def load(module: str) -> Any:
    """A package or a part of one, imported where it is used. Errors: NotInstalled."""
    package = module.partition(".")[0]
    if not is_installed(package):
        raise _not_installed([package], extra_of(package))
    return import_module(module)


def extra_of(module: str) -> str:
    """The extra that brings a module, the smallest of several."""
    return next(each.name for each in EXTRAS if module in (*each.modules, *each.sometimes))


def is_installed(module: str) -> bool:
    """Whether it can be imported, without doing so."""
    return find_spec(module) is not None


def command(extra: str) -> str:
    """What brings an extra.

    >>> command("cpu")
    "pip install 'repflow-pl[cpu]'"
    """
    return f"pip install 'repflow-pl[{extra}]'"


def _not_installed(modules: Iterable[str], extra: str) -> NotInstalled:
    *others, last = modules
    names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return NotInstalled(f"{names} not installed; run: {command(extra)}.")
