"""What the benchmarks' commands share: a device, a folder."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repflow_pl.extras import needs

with needs("train", program=True, signals=True):
    from repflow_pl.errors import UserError
    from repflow_pl.files import check_writable
    from repflow_pl.options import arguments_of
    from repflow_pl.report.page import YOURS

if TYPE_CHECKING:
    import torch


def chosen_device(name: str) -> torch.device:
    """Errors: UserError where a GPU is asked for and there is none."""
    import torch  # takes seconds, which a mistake in the options need not wait for

    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise UserError("--device cuda needs a GPU that torch sees: take --device cpu here.")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def shown_command(script: str, options: Any) -> str:
    """The command that measures the same; folders of the user are not shown."""
    return shlex.join(["python", f"experiments/{script}", *arguments_of(options)])


def folder_of(out: Path, quick: bool) -> Path:
    """Where a benchmark's page will stand; figures that mean nothing have a folder of their own.

    Errors: UserError where nothing can be written to it.
    """
    folder = out / YOURS / ("bench-quick" if quick else "bench")
    check_writable(folder)
    return folder


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)
