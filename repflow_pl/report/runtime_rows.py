"""One row of the run times' table."""

from __future__ import annotations

from dataclasses import dataclass

from repflow_pl.quartiles import Quartiles
from repflow_pl.report.paper import PaperFigure


@dataclass(frozen=True)
class StepFigures:
    """Of a training step on the timed clip."""

    ms: Quartiles
    ratio: Quartiles
    """To the plain 2D network's."""
    kept_bytes: int
    """What it keeps for its backward pass."""


@dataclass(frozen=True)
class RuntimeRow:
    """A row's measured times beside the paper's. Ratios are to the plain 2D network."""

    name: str
    group: str | None
    rounds: int
    total_ms: Quartiles
    """Of a clip, TV-L1 included where the row needs it."""
    tvl1_ms: Quartiles
    """Of TV-L1 alone; 0 where there is none."""
    tvl1_share: float
    """Of TV-L1 in the total, between 0 and 1."""
    ratio: Quartiles
    parameters: int
    paper_ms: PaperFigure
    paper_sd: PaperFigure
    paper_ratio: float | None
    step: StepFigures | None = None
    """Where training was timed, too."""
