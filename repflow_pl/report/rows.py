"""What a table is: its rows, the paper's claims about them, and where it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from repflow_pl.errors import UserError, unknown
from repflow_pl.report.wording import where
from repflow_pl.specs import RunSpec

PlotKind = Literal["bars", "curve", "scatter"]


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    spec: RunSpec
    paper: str | None = None
    """The row's name in the paper's CSV; None where the paper has no such row."""
    paper_column: str | None = None
    """Where the paper's table is a matrix (fusion x position), the column of this row's figure.
    The table then has a single column for the paper."""
    control: bool = False
    """A control goes into a table of its own: it tests the data, not the method."""
    group: str | None = None
    """Heading under which the row stands; rows of one group follow one another."""
    series: str | None = None
    """Which line of a curve the row's point is on."""
    x: float | None = None
    """Where on a curve's logarithmic axis it is; a row without one is a level line."""
    other_splits: tuple[RunSpec, ...] = ()
    """The same on the data set's other official splits; the row's figures are the averages."""


@dataclass(frozen=True)
class Ordering:
    """A claim that one row beats another: the paper's, where the table is of the paper."""

    claim: str
    better: str
    worse: str


@dataclass(frozen=True)
class Table:
    """A table of the paper, as this project measures it."""

    name: str
    """Names the files: `placement`."""
    title: str
    rows: tuple[Row, ...]
    paper_csv: str | None = None
    """Stem of the CSV in report/paper_figures; None where the paper has no such table."""
    orderings: tuple[Ordering, ...] = ()
    notes: tuple[str, ...] = ()
    plot: PlotKind = "bars"
    """`bars`: top-1 of each row; `curve`: top-1 over the rows' `x`; `scatter`: top-1 over time."""
    x_title: str = ""
    """What a curve's `x` is: `iterations`."""
    source: str = ""
    """Where the paper says so: `Section 4.2`."""
    to_choose: bool = False
    """For who chooses among the rows: with columns of what training costs, the best of each time
    marked in a scatter, and each ordering as a sentence at the page's end."""
    script: str = ""
    """The file of experiments/ that makes it; by default `table_<name>.py`."""

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"table {self.name} has two rows named {name!r}: rename one.")
        for ordering in self.orderings:
            for name in (ordering.better, ordering.worse):
                if name not in names:
                    raise unknown(f"row in an ordering of table {self.name}", name, names)
        if self.paper_csv is None and any(row.paper for row in self.rows):
            raise UserError(f"table {self.name} names rows of the paper but no CSV of it.")
        groups = [group for group, _ in groupby(row.group for row in self.main_rows)]
        for group in groups:
            if groups.count(group) > 1:
                raise UserError(
                    f"table {self.name}: the rows of group {group!r} are apart; put them together."
                )
        if self.plot == "curve" and not any(row.x is not None for row in self.main_rows):
            raise UserError(f"table {self.name} is a curve, and no row of it has an x: give some.")
        if any(row.x is not None and row.x <= 0 for row in self.rows):
            raise UserError(f"table {self.name}: an x is on a logarithmic axis, so more than 0.")

    @property
    def main_rows(self) -> tuple[Row, ...]:
        """The rows that are no controls."""
        return tuple(row for row in self.rows if not row.control)


@dataclass(frozen=True)
class MetadataBaseline:
    """A classifier that sees only file facts (length, size, rate): it should be at chance."""

    accuracy: float
    half_width: float
    """Half of its 95 % interval, over the forest's seeds alone."""


@dataclass(frozen=True)
class Context:
    """Where a table was measured: what its result files do not say. Accuracies are fractions."""

    data: str
    """The data set's name."""
    profile: str
    """`demo` or `paper`."""
    command: str
    """The command that made the table, as one would type it; without paths of the user."""
    chance: float
    """Accuracy of guessing."""
    metadata: MetadataBaseline | None = None
    ceiling: float | None = None
    """Accuracy of a model that knows all appearance and no motion, where the set has such a bound:
    1 / number of motions on motion_shapes."""
    selection: str = "last epoch, no selection; the test part selects nothing"
    """How the checkpoint was chosen."""
    notes: tuple[str, ...] = ()
    """Sentences about the data: its protocol, its preparation."""
    backbone: str | None = None
    """The backbone, where it is not the profile's own."""
    folder: str | None = None
    """Where its tables stand, so that none overwrites another's; None for the data set's name."""
    changes: str = ""
    """What of the profile is another: `epochs 20, batch 8`."""
    classes: tuple[str, ...] = ()
    """Names by label; none where the results are older than the names in the data set's facts."""

    @property
    def where(self) -> str:
        """The data set and the setting, in short."""
        return where(self.data, self.profile, self.backbone, self.changes)
