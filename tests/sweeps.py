"""Runs that tests make in their own process, and what is left of them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from repflow_pl.data.index import VideoSet
from repflow_pl.launching.launch import launch
from repflow_pl.launching.outcome import Failed
from repflow_pl.profiles import build_profile
from repflow_pl.specs import DataSpec
from repflow_pl.training.planning.jobs import Job, left_to_do
from repflow_pl.training.planning.machine import Machine

CLOCKED = ("latency", "train_seconds", "test_seconds", "versions")
"""What a clock or the checkout decides of a result."""


class Told(Console):
    """A console whose lines are read afterwards."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"file": io.StringIO(), "width": 2000, "markup": False, **options})

    @property
    def printed(self) -> str:
        assert isinstance(self.file, io.StringIO)
        return self.file.getvalue()


def rows(*names: str) -> list[Job]:
    """Jobs with specs of their own."""
    profile, data = build_profile("demo", "folder"), DataSpec("folder")
    return [
        Job("t", row, profile.flow_after(data, 3, n_iter=k), 0)
        for k, row in enumerate(names, start=1)
    ]


def sweep(
    jobs: Sequence[Job], videos: VideoSet, out: Path, **machine: Any
) -> tuple[list[Failed], str]:
    """Make those that are left to do: what failed, and what was printed."""
    console = Told()
    failures = launch(left_to_do(out, jobs), [videos], Machine(out, console=console, **machine))
    return failures, console.printed


def result_of(folder: Path) -> dict[str, Any]:
    """A run's result.json, less what is CLOCKED."""
    plain: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return {name: value for name, value in plain.items() if name not in CLOCKED}


def results(out: Path) -> dict[str, dict[str, Any]]:
    """Those of all runs, by `<hash>/seed<k>`."""
    paths = sorted(out.glob("runs/*/seed*/result.json"))
    return {f"{path.parts[-3]}/{path.parts[-2]}": result_of(path.parent) for path in paths}
