"""The table of run times: what a clip costs in each row, beside the paper's milliseconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from repflow_pl.quartiles import Quartiles, quartiles, quartiles_over
from repflow_pl.report.page import Rendered, csv_of, how_measured, page_text, write_page
from repflow_pl.report.paper import NOT_KNOWN, UNVERIFIED_MARK, PaperFigure, PaperTable
from repflow_pl.report.plot_runtime import runtime_figure
from repflow_pl.report.plot_style import drawn
from repflow_pl.report.rows import Row
from repflow_pl.report.runtime_rows import RuntimeRow, StepFigures
from repflow_pl.report.times_beside import NAME
from repflow_pl.report.wording import bracketed, grid_of, significant, where, where_in_full
from repflow_pl.training.costs.clip_times import ModelTimes
from repflow_pl.training.costs.step_costs import StepCost
from repflow_pl.training.recording.result import Versions

TITLE = "Run time per clip"
STEPS = (
    "Training steps: forward pass, loss and backward pass on the same clip, with rounds of their "
    "own; of a late fusion those of its members in sum, and the memory of the one that keeps most."
    " Fields, which training keeps from epoch to epoch, are no part of them."
)
PAPERS_RGB = "RGB"
"""The paper's plain network among the rows that it has times of."""


@dataclass(frozen=True)
class RuntimeContext:
    """Where the times were taken."""

    data: str
    profile: str
    folder: str
    """Of the tables of this data set and profile."""
    command: str
    """The command that measures the same; without paths of the user."""
    device: str
    """Its name; the networks ran on it, TV-L1 on the CPU beside it."""
    on_gpu: bool
    threads: int
    """CPU threads of the networks."""
    clip: str
    """What was timed: frames and pixels of the clip."""
    one_split: int | None
    """The official split whose clip was timed, where the other tables are averages over all."""
    tvl1: str
    """How TV-L1 was computed."""
    versions: Versions
    changes: str = ""
    """What of the profile is another: `frames 16`."""

    of: str = ""
    """The table whose rows are timed, where it is not the paper's comparison: `today`."""
    fields: str = "TV-L1"
    """What the fields are called whose making is part of a row's time."""
    notes: tuple[str, ...] = ()
    """Sentences about how they are made."""

    @property
    def name(self) -> str:
        """Of its files: a GPU's times stand beside a CPU's, not in their place."""
        card = re.sub("[^a-z0-9]+", "_", self.device.lower()).strip("_").removeprefix("nvidia_")
        return "_".join([NAME, *filter(None, [self.of]), *([card] if self.on_gpu else [])])

    @property
    def title(self) -> str:
        """With the GPU, where it is one."""
        title = f"{TITLE}, the rows of {self.of}" if self.of else TITLE
        return f"{title} on {self.device}" if self.on_gpu else title


def runtime_rows(
    rows: Sequence[Row],
    timed: Sequence[ModelTimes],
    reference: ModelTimes,
    paper: PaperTable | None,
    steps: Sequence[StepCost] = (),
) -> list[RuntimeRow]:
    """The figures of every row; ratios are to the plain network's times, round by round.

    `steps`: of every row and, last, of the plain network, where training steps were timed.

    `paper`: None where the paper has no such times.

    Errors: UserError where the paper has no row of a row's name.
    """
    base = reference.times
    paper_base = _of_the_paper(paper, PAPERS_RGB, "runtime_ms").value
    found = []
    trained: list[StepFigures | None] = [
        StepFigures(quartiles(cost.ms), quartiles_over(cost.ms, steps[-1].ms), cost.kept_bytes)
        for cost in steps[:-1]
    ] or [None] * len(rows)
    for row, model, step in zip(rows, timed, trained, strict=True):
        times = model.times
        totals = [t.total_ms for t in times]
        paper_ms = _of_the_paper(paper, row.paper or row.name, "runtime_ms")
        found.append(
            RuntimeRow(
                name=row.name,
                group=row.group,
                rounds=len(times),
                total_ms=quartiles(totals),
                tvl1_ms=quartiles([t.tvl1_ms for t in times]),
                tvl1_share=quartiles([t.tvl1_ms / t.total_ms for t in times]).median,
                ratio=quartiles_over(totals, [t.total_ms for t in base]),
                parameters=model.parameters,
                paper_ms=paper_ms,
                paper_sd=_of_the_paper(paper, row.paper or row.name, "runtime_sd"),
                paper_ratio=paper_ms.value / paper_base if paper_ms.value and paper_base else None,
                step=step,
            )
        )
    return found


def _of_the_paper(paper: PaperTable | None, row: str, column: str) -> PaperFigure:
    return PaperFigure(None, "verified") if paper is None else paper.figure(row, column)


def render_runtime(rows: Sequence[RuntimeRow], context: RuntimeContext, out: Path) -> Rendered:
    """Write `<out>/<folder>/runtime[_<GPU>].{md,csv,png}`, as `write_page` does."""
    # Everything is made before anything is written: a mistake leaves the old three files in step.
    page = markdown_runtime(rows, context)
    lines = csv_of(tidy_runtime(rows, context))
    title = f"{context.title}: {where(context.data, context.profile, changes=context.changes)}"
    picture = drawn(lambda: runtime_figure(rows, title, context.fields))
    return write_page(out / context.folder / context.name, page, lines, picture)


def markdown_runtime(rows: Sequence[RuntimeRow], context: RuntimeContext) -> str:
    """The whole page. What stands before its first `##` can be shown alone."""
    said = [
        "Medians, with the quartiles in brackets.",
        f"{context.fields[0].upper()}{context.fields[1:]} is part of the time of the rows that "
        "need it; its share is the median over rounds.",
        "× RGB is the median over rounds of the time over that of the plain 2D network on RGB in "
        "the same round.",
    ]
    if _has_paper(rows):
        said.append(
            "The paper's milliseconds (± sd) are of another machine and other clips, so its ratio "
            "is what compares."
        )
    said.append(f"All figures: [{context.name}.csv]({context.name}.csv).")
    parts = [*_agreement(rows), _main_table(rows, context.fields)]
    if any(row.paper_ms.unverified or row.paper_sd.unverified for row in rows):
        parts.append(f"{UNVERIFIED_MARK} unverified: not checked against the paper's table.")
    parts.append(" ".join(said))
    place = where_in_full(context.data, context.profile, changes=context.changes)
    title = f"{context.title}: {place}"
    shows = "Time of each row over that of the RGB row, with quartiles"
    parts += how_measured(_measured(rows, context))
    return page_text(title, shows, context.name, parts)


def tidy_runtime(rows: Sequence[RuntimeRow], context: RuntimeContext) -> pd.DataFrame:
    """One line a row."""
    return pd.DataFrame(
        [
            {
                "table": "_".join(filter(None, [NAME, context.of])),
                "data": context.data,
                "profile": context.profile,
                "group": row.group,
                "row": row.name,
                "n": row.rounds,
                **_spread("ms", row.total_ms),
                **_spread("tvl1_ms", row.tvl1_ms),
                "tvl1_share": round(row.tvl1_share, 4),
                **_spread("ratio_to_rgb", row.ratio),
                "parameters": row.parameters,
                **_step_columns(row.step),
                "device": context.device,
                "paper_runtime_ms": row.paper_ms.value,
                "paper_runtime_sd": row.paper_sd.value,
                "paper_ratio_to_rgb": row.paper_ratio and round(row.paper_ratio, 4),
                "paper_status": row.paper_ms.status,
            }
            for row in rows
        ]
    )


def _step_columns(step: StepFigures | None) -> dict[str, float]:
    """What training costs: columns only where it was measured."""
    if step is None:
        return {}
    spreads = _spread("step_ms", step.ms) | _spread("step_ratio_to_rgb", step.ratio)
    return {**spreads, "kept_bytes": step.kept_bytes}


def _spread(name: str, spread: Quartiles) -> dict[str, float]:
    return {column: round(value, 4) for column, value in spread.columns(name).items()}


def _agreement(rows: Sequence[RuntimeRow]) -> list[str]:
    """How far the rows' order is the paper's."""
    both = [(row.ratio.median, row.paper_ratio) for row in rows if row.paper_ratio is not None]
    if len(both) < 3 or len({ours for ours, _ in both}) == 1:  # all alike have no order
        return []
    rho = float(spearmanr(*zip(*both, strict=True)).statistic)
    return [
        f"The order of these {len(both)} times and that of the paper's: Spearman's rank "
        f"correlation {rho:.2f} (1 is the same order)."
    ]


def _has_paper(rows: Sequence[RuntimeRow]) -> bool:
    return any(row.paper_ms.value is not None for row in rows)


def _main_table(rows: Sequence[RuntimeRow], fields: str) -> str:
    lines = []
    for row in rows:
        line = {
            "row": row.name,
            "ms per clip": bracketed(row.total_ms),
            f"of it {fields}": f"{row.tvl1_share:.0%}" if row.tvl1_ms.median else NOT_KNOWN,
            "× RGB": bracketed(row.ratio),
            "parameters": f"{significant(row.parameters / 1e6)} M",
        }
        if row.step is not None:
            line["training step, ms"] = bracketed(row.step.ms)
            line["its × RGB"] = bracketed(row.step.ratio)
            line["MB it keeps"] = significant(row.step.kept_bytes / 1e6)
        if _has_paper(rows):
            sd = "" if row.paper_sd.value is None else f" ± {row.paper_sd}"
            ratio = row.paper_ratio
            line["paper: ms per clip"] = f"{row.paper_ms}{sd}"
            line["paper: × RGB"] = NOT_KNOWN if ratio is None else significant(ratio)
        lines.append(line)
    return grid_of(lines, groups=[row.group for row in rows])


def _measured(rows: Sequence[RuntimeRow], context: RuntimeContext) -> list[str]:
    v = context.versions
    split = context.one_split
    of_split = "" if split is None else f" of split {split}, which stands for the others"
    device = f"Device: {context.device}"
    if not context.on_gpu:
        device += (
            f", {context.threads} threads. Milliseconds on a CPU are of this machine alone; "
            "elsewhere only the ratios mean anything, and these too move with the machine"
        )
    return [
        f"Made by `{context.command}`.",
        f"{rows[0].rounds} rounds after a warm-up, each of which times every row once, one after "
        "the other: what disturbs the machine meets all rows alike.",
        f"Timed: one forward pass in evaluation mode at batch 1, of {context.clip}{of_split}; "
        "of a late fusion all members, one after the other. Decoding is not part of it.",
        "The networks are freshly initialised: weights do not change how long a pass takes.",
        *([STEPS] if any(row.step for row in rows) else []),
        f"TV-L1: {context.tvl1}; computed anew in every round for every row that needs it.",
        *context.notes,
        f"{device}.",
        f"Versions: repflow_pl {v.repflow_pl} (commit {v.commit}), Python {v.python}, "
        f"torch {v.torch}.",
    ]
