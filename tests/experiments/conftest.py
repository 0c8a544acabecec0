"""The scripts of experiments/ can be imported; what quick benchmarks write and set."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from repflow_pl.report.page import YOURS

sys.path[:0] = [str(Path(__file__).parents[2] / "experiments")]


def quick_page(out: Path, stem: str) -> tuple[str, list[dict[str, str]]]:
    """The page and the record of a quick run, which wrote them and the picture alone."""
    folder = out / YOURS / "bench-quick"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{stem}.{ending}" for ending in ("csv", "md", "png")}
    page = (folder / f"{stem}.md").read_text(encoding="utf-8")
    assert "figures mean nothing" in page and str(out) not in page
    with (folder / f"{stem}.csv").open() as stream:
        return page, list(csv.DictReader(stream))


@pytest.fixture
def threads_kept() -> Iterator[None]:
    """A benchmark sets how many threads torch has; afterwards they are as many as before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
