"""A tiny sweep, checked in under sweep/<row>/seed<k>, placed where its specs' hashes want it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from repflow_pl.report.table import Context, MetadataBaseline, Ordering, Row, Table, render
from repflow_pl.specs import (
    ClipSpec,
    DataSpec,
    FlowSpec,
    ModelSpec,
    RecipeSpec,
    RunSpec,
    Stream,
    late,
    spec_hash,
)

SWEEP = Path(__file__).parent / "sweep"


def cells_of(page: str) -> list[list[str]]:
    """What the lines of a page's tables say, without marks; of a group's heading one cell."""
    found = []
    for line in re.findall(r"^\|(.*)\|$", page, re.MULTILINE):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        if not re.fullmatch(r"[:-]+", cells[0]):
            is_heading = re.fullmatch(r"\*[^*]+\*", cells[0]) and not any(cells[1:])
            shown = [re.sub(r"\*+|`|\\(?=\|)", "", cell) for cell in cells]
            found.append(shown[:1] if is_heading else shown)
    return found


def spec(block: int | None = None, stream: Stream = "rgb", shuffled: bool = False) -> RunSpec:
    """A spec that differs from the others in one thing."""
    flow = None if block is None else FlowSpec(after_block=block)
    clip = ClipSpec(order="shuffled" if shuffled else "forward")
    return RunSpec(
        ModelSpec("narrow", stream=stream, flow=flow),
        DataSpec("motion_shapes", clip, fingerprint="5f3a9c01"),
        RecipeSpec(epochs=2, batch=8, lr=0.01),
    )


ROWS = {
    "rgb": Row("RGB CNN", spec(), paper="RGB CNN"),
    "two_stream": Row("Two-stream CNN", late(spec(), spec(stream="tvl1")), paper="Two-stream CNN"),
    "block3": Row("After block 3", spec(block=3), paper="After block 3"),
    "block4": Row("After block 4", spec(block=4), paper="After block 4"),
    "extra": Row("Not in the paper", spec(block=5)),
    "shuffled": Row("After block 3, shuffled", spec(block=3, shuffled=True), control=True),
}


@pytest.fixture
def rows() -> dict[str, Row]:
    """The rows by the name of their folder in the sweep."""
    return ROWS


@pytest.fixture
def table() -> Table:
    return Table(
        name="placement",
        title="Where the flow layer goes",
        rows=tuple(ROWS.values()),
        paper_csv="placement",
        orderings=(
            Ordering("After block 3 beats RGB", "After block 3", "RGB CNN"),
            Ordering("RGB beats two streams", "RGB CNN", "Two-stream CNN"),
            Ordering("After block 3 beats two streams", "After block 3", "Two-stream CNN"),
            Ordering("After block 3 beats after block 4", "After block 3", "After block 4"),
        ),
        notes=("Two-stream averages the class probabilities of two runs.",),
    )


@pytest.fixture
def context() -> Context:
    return Context(
        data="motion_shapes",
        profile="demo",
        command="python experiments/table_placement.py --seeds 0,1,2",
        chance=1 / 16,
        metadata=MetadataBaseline(accuracy=0.05, half_width=0.0375),
        ceiling=1 / 4,
        notes=("Clips are rendered, then read back from H.264 files.",),
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """runs/<hash>/seed<k> from the sweep; the hash is filled in, so that it may change freely."""
    folder = tmp_path / "runs"
    for source in sorted(SWEEP.glob("*/seed*/*")):
        name = spec_hash(ROWS[source.parents[1].name].spec)
        target = folder / name / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text()
        if source.suffix == ".json":
            text = json.dumps({**json.loads(text), "spec": name})
        target.write_text(text)
    return folder


@pytest.fixture
def paper_folder(tmp_path: Path) -> Path:
    """Invented figures of a paper: no test depends on those of the real one."""
    folder = tmp_path / "paper"
    folder.mkdir()
    (folder / "placement.csv").write_text(
        "row,tiny_kinetics,lowres_hmdb,status\n"
        "RGB CNN,50.0,30.5,verified\n"
        "Two-stream CNN,51.5,,unverified\n"
        "After block 3,61.25,40.0,unverified\n"
        "After block 4,60.0,41.0,unverified\n"
    )
    return folder


@pytest.fixture
def page_of(context: Context, runs: Path, paper_folder: Path, tmp_path: Path) -> Callable[..., str]:
    """What a table's page says: of the whole sweep, beside the invented figures, if not asked
    otherwise."""

    def text(table: Table, seeds: Sequence[int] = (0, 1, 2), **others: Any) -> str:
        kept = tmp_path / f"seeds {seeds}"  # further ones would count too
        shutil.rmtree(kept, ignore_errors=True)
        for seed in seeds:
            for folder in runs.glob(f"*/seed{seed}"):
                shutil.copytree(folder, kept / folder.relative_to(runs))
        given = {"context": context, "runs": kept, "paper_folder": paper_folder, **others}
        files = render(table, seeds=seeds, out=tmp_path / "tables", **given)
        return files.markdown.read_text(encoding="utf-8")

    return text
