"""Times per clip that were taken of all rows of a table in turns, from the page that has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from repflow_pl.errors import UserError
from repflow_pl.report.page import write

NAME = "runtime"
"""Of a page of times."""
COLUMNS = ["ms_median", "ms_q25", "ms_q75", "tvl1_ms_median", "ratio_to_rgb_median"]
"""Of its CSV, in the order of RowTime's; then those that it has where training was timed, too."""
STEP_COLUMNS = ["step_ratio_to_rgb_median", "kept_bytes"]


@dataclass(frozen=True)
class RowTime:
    """Of one row, in milliseconds."""

    median_ms: float
    q25_ms: float
    q75_ms: float
    tvl1_ms: float
    """Part of the median that makes the clip's fields."""
    ratio: float
    """Over the plain RGB network, round by round."""
    step_ratio: float | None = None
    """Of a training step, over the plain network's, where that was timed."""
    kept_bytes: int | None = None
    """Of one clip, what such a step keeps for its backward pass."""


def page_of(table: str) -> str:
    """The name of the page of a table's times: `runtime_today`."""
    return f"{NAME}_{table}"


def gpu_pages(folder: Path, table: str) -> list[str]:
    """Those of a table's times that were taken on GPUs, one a card: `runtime_today_<its name>`."""
    return sorted(path.stem for path in folder.glob(f"{page_of(table)}_*.md"))


def bring_times(source: Path, folder: Path, table: str) -> None:
    """Copy the page of a table's times, where a folder has one and the other has none."""
    for ending in (".md", ".png", ".csv"):
        there, here = ((each / page_of(table)).with_suffix(ending) for each in (source, folder))
        if there.is_file() and not here.exists():
            write(here, there.read_bytes())


def times_beside(folder: Path, table: str) -> dict[str, RowTime]:
    """By row, those of `runtime_<table>.csv`, taken on a CPU; none where there is no such file.

    Errors: UserError where it is damaged.
    """
    path = folder / f"{page_of(table)}.csv"
    if not path.is_file():
        return {}
    try:
        frame = pd.read_csv(path).set_index("row")
        times = frame[COLUMNS].astype(float)
        steps = frame.reindex(columns=STEP_COLUMNS).astype(float)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it, or measure the times again."
        ) from error
    found = {}
    for row, *figures, step_ratio, kept in times.join(steps).itertuples():
        stepped = not (math.isnan(step_ratio) or math.isnan(kept))
        found[str(row)] = RowTime(*figures, *((step_ratio, int(kept)) if stepped else ()))
    return found
