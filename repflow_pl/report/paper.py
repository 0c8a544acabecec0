"""The paper's own figures, read from paper_figures/*.csv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from repflow_pl.errors import UserError, unknown

PAPER_FOLDER = Path(__file__).parent / "paper_figures"

Status = Literal["verified", "unverified", "ordering"]

PAPER_ORDER = (
    "placement",
    "learned",
    "iterations",
    "fusion",
    "architecture",
    "volumetric",
    "motion",
    "runtime",
    "sota",
)
"""Of its tables."""

UNVERIFIED_MARK = "†"
NOT_KNOWN = "–"

_TITLES = {
    "tiny_kinetics": "Tiny-Kinetics",
    "lowres_hmdb": "low-res HMDB51",
    "kinetics": "Kinetics",
    "hmdb": "HMDB51",
    "hmdb_plus_kinetics": "HMDB51 + Kinetics",
    "runtime_ms": "ms per clip",
    "runtime_sd": "its sd",
}
_TIMES = ("runtime_ms", "runtime_sd")


@dataclass(frozen=True)
class PaperFigure:
    """One figure: per cent of top-1, or milliseconds in the two run-time columns."""

    value: float | None
    status: Status
    text: str = ""
    """As the paper prints it, with its decimals."""

    @property
    def unverified(self) -> bool:
        """Whether there is a figure and it needs the mark."""
        return self.value is not None and self.status == "unverified"

    def __str__(self) -> str:
        if self.value is None:
            return NOT_KNOWN
        return (self.text or f"{self.value:g}") + (UNVERIFIED_MARK if self.unverified else "")


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables."""

    stem: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[PaperFigure, ...]]
    """By name; the figures are in the order of the columns."""

    def figure(self, row: str, column: str) -> PaperFigure:
        """The figure in a row and a column. Errors: UserError with the close matches."""
        if row not in self.rows:
            raise unknown(f"row of the paper's table {self.stem}", row, self.rows)
        if column not in self.columns:
            raise unknown(f"column of the paper's table {self.stem}", column, self.columns)
        return self.rows[row][self.columns.index(column)]


def in_papers_order(names: Iterable[str]) -> list[str]:
    """Names of tables as the paper orders them; any others after them, by name. `runtime_<GPU>`
    stands with `runtime`."""
    rank = {name: index for index, name in enumerate(PAPER_ORDER)}
    return sorted(names, key=lambda name: (rank.get(name.split("_")[0], len(rank)), name))


def column_title(column: str) -> str:
    """A column's name as people write it."""
    return _TITLES.get(column, column.replace("_", " "))


def is_accuracy(column: str) -> bool:
    """Whether a column holds per cent of top-1, as opposed to times."""
    return column not in _TIMES


def paper_figures(stem: str, folder: Path = PAPER_FOLDER) -> PaperTable:
    """Read one of the paper's tables.

    The rows' names stand in the column `row`, or in the first one where there is none of that name.
    Errors: UserError where the file is missing, has no status column, or an unknown status.
    """
    path = folder / f"{stem}.csv"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.csv"))
        raise unknown(f"table of the paper (in {folder})", stem, known)
    # A row of the paper is called "None": pandas must not read it as an absent value.
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    if "status" not in frame:
        raise UserError(f"{path} has no column 'status': every figure of the paper needs one.")
    key = "row" if "row" in frame else frame.columns[0]
    columns = tuple(name for name in frame.columns if name not in (key, "group", "status"))
    rows = {}
    for line in frame.to_dict("records"):
        if line["status"] not in get_args(Status):
            raise unknown(f"status in {path}", line["status"], get_args(Status))
        try:
            rows[line[key]] = tuple(_figure(line[column], line["status"]) for column in columns)
        except ValueError as error:
            raise UserError(f"{path}, row {line[key]!r}: {error}.") from error
    return PaperTable(stem, columns, rows)


def _figure(text: str, status: Status) -> PaperFigure:
    """One field of the CSV. Errors: ValueError where it is no number."""
    return PaperFigure(float(text) if text else None, status, text)
