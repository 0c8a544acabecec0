"""A benchmark's page, the same for all: words, record and picture, and where they are written."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from bench.command import folder_of, shown_command
from bench.timing import csv_of
from repflow_pl.report.join import join_yours
from repflow_pl.report.page import how_measured, page_text, write_page
from repflow_pl.report.paper import NOT_KNOWN
from repflow_pl.report.wording import duration

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """What a benchmark has to say."""

    stem: str
    """Name of its files."""
    title: str
    shows: str
    """What the picture shows."""
    small: str
    """What a quick run is on."""
    parts: Sequence[str]
    """What stands before how it was measured; what stands before its first `##` can be shown
    alone."""
    device: torch.device
    threads: int | None
    """CPU threads; None where processes share out the work."""
    took: float
    """Seconds."""
    sentences: Sequence[str]
    """How it was measured, beside the command, the time and the machine."""
    record: Sequence[Mapping[str, object]]
    """The lines of the CSV, by their columns' names."""
    picture: Callable[[str], bytes]
    """A PNG; it is told what to put behind its title."""


def publish(page: Page, script: str, options: Any) -> None:
    """Write the three files, show the page and join it to the others below `options.out`."""
    text = markdown_of(page, shown_command(script, options), options.quick)
    picture = page.picture(" (quick run)" * options.quick)
    stem = folder_of(options.out, options.quick) / page.stem
    files = write_page(stem, text, csv_of(page.record), picture)
    print(text)
    print(files.said)
    print(f"wrote {join_yours(options.out)}")


def markdown_of(page: Page, command: str, quick: bool) -> str:
    """The whole page."""
    threads = "" if page.threads is None else f"; CPU threads: {page.threads}"
    measured = [
        f"Made by `{command}` on {datetime.date.today().isoformat()}, in {duration(page.took)}.",
        f"Device: {device_name(page.device)}{threads}; torch {torch.__version__}, "
        f"Python {platform.python_version()}.",
        *page.sentences,
    ]
    small = f"**A quick run on {page.small}: the figures mean nothing.**"
    parts = [*([small] if quick else []), *page.parts]
    return page_text(page.title, page.shows, page.stem, [*parts, *how_measured(measured)])


def shown(value: T | None, how: Callable[[T], str]) -> str:
    """A figure, or that there is none."""
    return NOT_KNOWN if value is None else how(value)


def verdict(reached: bool | None) -> str:
    """Of an aim; nothing where there is none."""
    return "" if reached is None else "reached" if reached else "missed"


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's where the system tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return f"CPU ({line.split(':', 1)[1].strip()})"
    return f"CPU ({platform.processor() or platform.machine()})"
