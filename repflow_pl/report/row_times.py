"""Times per clip that were taken of all rows of a table in turns, from the page that has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write

NAME = "runtime"
"""Of a page of times."""
COLUMNS = ["ms_median", "ms_q25", "ms_q75", "tvl1_ms_median", "ratio_to_rgb_median"]
"""Of its CSV, in the order of RowTime's."""


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


def page_of(table: str) -> str:
    """The name of the page of a table's times: `runtime_today`."""
    return f"{NAME}_{table}"


def bring_times(source: Path, folder: Path, table: str) -> None:
    """Copy the page of a table's times, where a folder has one and the other has none."""
    for ending in (".md", ".png", ".csv"):
        there, here = ((each / page_of(table)).with_suffix(ending) for each in (source, folder))
        if there.is_file() and not here.exists():
            with atomic_write(here, "wb") as stream:
                stream.write(there.read_bytes())


def times_beside(folder: Path, table: str) -> dict[str, RowTime]:
    """By row, those of `runtime_<table>.csv`, taken on a CPU; none where there is no such file.

    Errors: UserError where it is damaged.
    """
    path = folder / f"{page_of(table)}.csv"
    if not path.is_file():
        return {}
    try:
        lines = pd.read_csv(path).set_index("row")[COLUMNS].astype(float)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it, or measure the times again."
        ) from error
    return {str(row): RowTime(*line) for row, *line in lines.itertuples()}
