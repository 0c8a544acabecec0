"""A table for who chooses: what training costs, the front of its scatter, its last sentences."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from repflow_pl.errors import UserError
from repflow_pl.report.collect import collect
from repflow_pl.report.costs import costs_of
from repflow_pl.report.plot_scatter import Point, _measured, front, scatter
from repflow_pl.report.table import Context, Ordering, Row, Table, render
from repflow_pl.report.times_beside import COLUMNS, times_beside
from repflow_pl.specs import late, spec_hash
from repflow_pl.training.recording.result import read_result, write_result

SEEDS = [0, 1, 2]


@pytest.fixture
def choice(table: Table) -> Table:
    left_out = ("Not in the paper", "Two-stream CNN")  # whose clips are too short for its stack
    rows = tuple(
        dataclasses.replace(row, paper=None) for row in table.rows if row.name not in left_out
    )
    asked = (
        Ordering("", "After block 3", "RGB CNN"),
        Ordering("", "RGB CNN", "After block 3"),
        Ordering("", "After block 3", "After block 4"),
    )
    return dataclasses.replace(
        table, rows=rows, paper_csv=None, plot="scatter", to_choose=True, orderings=asked
    )


def give(
    runs: Path,
    row: Row,
    source: Row,
    kept_bytes: int | None = None,
    top1: Sequence[float] = (0.8, 0.801, 0.802),
) -> None:
    """Give a row another's results with far more correct answers, in every seed."""
    for seed in SEEDS:
        path = runs / spec_hash(source.spec) / f"seed{seed}" / "result.json"
        result = dataclasses.replace(
            read_result(path),
            spec=spec_hash(row.spec),
            top1=top1[seed],
            kept_bytes=kept_bytes,
        )
        target = runs / spec_hash(row.spec) / f"seed{seed}" / "result.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_result(target, result)
        for kept in target.parent.glob("predictions*"):
            kept.unlink()


def test_a_page_has_costs_and_ends_in_sentences(
    choice: Table, context: Context, runs: Path, tmp_path: Path
) -> None:
    rows = {row.name: row for row in choice.rows}
    give(runs, rows["After block 3"], rows["RGB CNN"], kept_bytes=1_234_000)
    files = render(choice, context, runs, SEEDS, tmp_path / "tables")
    page = files.markdown.read_text()
    header = next(line for line in page.splitlines() if line.startswith("| row |"))
    assert header.endswith("| × RGB | training | training step × RGB | MB a clip in training |")
    lines = page[page.index("## What this says to who chooses") :].strip().splitlines()[2:]
    assert [line.split(":")[0] for line in lines] == [
        "- After block 3 beats RGB CNN",
        "- RGB CNN falls behind After block 3",
        "- After block 3 and After block 4",
    ]
    assert re.search(r": \+\d.* \(.* to .*\) points, at 1\.0 times its time per clip\.$", lines[0])
    assert lines[2].endswith(": nothing is known of both yet.")
    frame = pd.read_csv(files.csv).set_index("row")
    assert frame["kept_bytes"].dropna().to_dict() == {"After block 3": 1_234_000}
    cells = {line.split("|")[1].strip(" *"): line for line in page.splitlines() if "|" in line}
    assert cells["After block 3"].endswith(" | 1.23 |")
    assert cells["After block 4"].endswith(" | – |"), "no result has it"


def test_a_pair_that_is_not_told_apart_has_its_p(
    choice: Table, context: Context, runs: Path, tmp_path: Path
) -> None:
    rows = {row.name: row for row in choice.rows}
    give(runs, rows["After block 3"], rows["RGB CNN"])
    give(runs, rows["After block 4"], rows["RGB CNN"], top1=(0.7, 0.75, 0.81))
    page = render(choice, context, runs, SEEDS, tmp_path / "tables").markdown.read_text()
    said = r"- After block 3 and After block 4 are not told apart, p (0\.\d{3}): \+4\.8 \("
    found = re.search(said, page)
    assert found and "| undecided | +4.8 (" in page and f" | {found[1]} | 3 |" in page
    for folder in runs.glob("*/seed[12]"):
        shutil.rmtree(folder)
    alone = render(choice, context, runs, [0], tmp_path / "alone").markdown.read_text()
    assert "- After block 3 and After block 4 are not told apart, by one seed: " in alone


def test_times_on_gpus_are_linked(
    choice: Table, context: Context, runs: Path, tmp_path: Path
) -> None:
    files = render(choice, context, runs, SEEDS, tmp_path / "tables")
    assert "On a GPU" not in files.markdown.read_text()
    for page in ("runtime_placement_h100", "runtime_placement_a100", "runtime_today_h100"):
        files.markdown.with_name(f"{page}.md").touch()
    found = render(choice, context, runs, SEEDS, tmp_path / "tables", replace=True)
    links = "[runtime_placement_a100](runtime_placement_a100.md), "
    links += "[runtime_placement_h100](runtime_placement_h100.md)"
    assert f" On a GPU: {links}. " in found.markdown.read_text()


@pytest.mark.long
def test_times_are_those_that_were_taken_in_turns(
    choice: Table, context: Context, runs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tables"
    alone = render(choice, context, runs, SEEDS, out)
    assert "timed in turns with it" in alone.markdown.read_text()
    rows = {row.name: row for row in choice.rows}
    give(runs, rows["After block 3"], rows["RGB CNN"])
    times = alone.csv.with_name("runtime_placement.csv")
    figures = {"row": COLUMNS} | {row.name: [9.0, 8.0, 9.5, 0.0, 4.0] for row in choice.main_rows}
    figures["RGB CNN"], figures["After block 3"] = (
        [2.0, 1.9, 2.1, 0.0, 1.0],
        [3.5, 3.4, 3.6, 1.25, 1.75],
    )
    lines = [",".join(map(str, (name, *line))) for name, line in figures.items()]
    times.write_text("\n".join(lines[:-1]))
    other = render(choice, context, runs, SEEDS, out, replace=True)
    assert "of all rows in turns" not in other.markdown.read_text(), (
        "times of some rows are of none"
    )
    times.write_text("\n".join(lines))
    files = render(choice, context, runs, SEEDS, out, replace=True)
    frame = pd.read_csv(files.csv).set_index("row")
    shown = frame.loc[["RGB CNN", "After block 3"], ["median_ms", "tvl1_ms", "ratio_to_rgb"]]
    assert shown.to_numpy().tolist() == [[2.0, 0.0, 1.0], [3.5, 1.25, 1.75]]
    page = files.markdown.read_text()
    assert "of all rows in turns" in page and "[runtime_placement](runtime_placement.md)." in page
    assert "points, at 1.8 times its time per clip" in page
    untrained = next(line for line in page.splitlines() if line.startswith("| After block 4 |"))
    assert untrained.startswith("| After block 4 | FAILED | 0 of 3 |")
    assert untrained.endswith("| 9.00 | 4.00 | – | – | – |"), "its time needs no training"
    assert frame.loc["After block 4", "median_ms"] == 9.0
    collected = [
        dataclasses.replace(
            collect(runs, row, SEEDS), time=times_beside(times.parent, "placement").get(row.name)
        )
        for row in (rows["RGB CNN"], rows["After block 3"])
    ]
    assert [point.time for each in collected if (point := _measured(each))] == [2.0, 3.5]
    elsewhere = render(choice, context, runs, SEEDS, tmp_path / "elsewhere")
    assert elsewhere.csv.read_bytes() != files.csv.read_bytes()
    shutil.copytree(times.parent, runs.parent / times.parent.name)  # as results are published
    elsewhere = render(choice, context, runs, SEEDS, tmp_path / "elsewhere", replace=True)
    assert elsewhere.csv.read_bytes() == files.csv.read_bytes()
    assert elsewhere.csv.with_name(times.name).read_bytes() == times.read_bytes()
    steps = {name: (f"{k + 1}.5", str(2_000_000 + k)) for k, name in enumerate(list(figures)[1:])}
    steps["row"] = ("step_ratio_to_rgb_median", "kept_bytes")
    times.write_text(
        "\n".join(
            f"{line},{','.join(steps[name])}" for name, line in zip(figures, lines, strict=True)
        )
    )
    files = render(choice, context, runs, SEEDS, out, replace=True)
    frame = pd.read_csv(files.csv).set_index("row")
    assert frame.loc["RGB CNN", ["step_ratio_to_rgb", "kept_bytes"]].tolist() == [1.5, 2_000_000]
    shown = next(li for li in files.markdown.read_text().splitlines() if "| After block 4 |" in li)
    assert shown.endswith(f"| {float(steps['After block 4'][0]):.2f} | 2.00 |")
    times.write_text("row,ms_median\nRGB CNN,2.0\n")
    with pytest.raises(UserError, match="is damaged"):
        render(choice, context, runs, SEEDS, out)


def test_other_pages_stay_as_they_are(
    table: Table, context: Context, runs: Path, tmp_path: Path, paper_folder: Path
) -> None:
    files = render(table, context, runs, SEEDS, tmp_path / "tables", paper_folder)
    page = files.markdown.read_text()
    assert "who chooses" not in page and "MB a clip" not in page
    assert "kept_bytes" not in files.csv.read_text()


def test_late_fusion_costs_its_members(choice: Table, runs: Path) -> None:
    """Their time together, and the larger memory: they are trained one by one."""
    rgb = choice.rows[0]
    flow = next(row for row in choice.rows if row.name == "After block 3")
    both = Row("both", late(rgb.spec, flow.spec))
    give(runs, both, rgb)
    give(runs, flow, rgb, kept_bytes=2_000_000)
    give(runs, rgb, rgb, kept_bytes=1_000_000)
    found = costs_of(runs, [collect(runs, row, SEEDS) for row in (rgb, flow, both)])
    one, other, together = found.values()
    mean = np.mean([result.train_seconds for result in collect(runs, rgb, SEEDS).results])
    assert one.train_seconds == other.train_seconds == pytest.approx(mean)
    assert together.train_seconds == pytest.approx(2 * mean)
    assert (one.kept_bytes, other.kept_bytes, together.kept_bytes) == (1e6, 2e6, 2e6)
    give(runs, rgb, rgb)
    assert costs_of(runs, [collect(runs, both, SEEDS)])["both"].kept_bytes is None
    (runs / spec_hash(flow.spec) / "seed1" / "result.json").unlink()
    assert costs_of(runs, [collect(runs, both, SEEDS)])["both"].train_seconds is None


def test_the_front_is_what_no_other_point_beats() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = [
            Point(str(k), None, float(time), (0, 0), float(top1), (0, 0))
            for k, (time, top1) in enumerate(rng.integers(0, 5, (8, 2)))
        ]
        found = front(points)
        for point in points:
            beaten = any(
                (o.time < point.time and o.top1 >= point.top1)
                or (o.time <= point.time and o.top1 > point.top1)
                for o in points
            )
            assert (point in found) == (not beaten)
        assert [p.time for p in found] == sorted(p.time for p in found)


def test_a_scatter_rings_its_front(choice: Table, context: Context, runs: Path) -> None:
    collected = [collect(runs, row, SEEDS) for row in choice.rows]
    ringed, plain = (
        scatter(dataclasses.replace(choice, to_choose=marked), context, collected, None).axes[0]
        for marked in (True, False)
    )
    assert len(ringed.lines) > len(plain.lines)
    assert "ringed" in ringed.get_title("left") and "ringed" not in plain.get_title("left")
    steps = next(line for line in ringed.lines if line.get_drawstyle() == "steps-post")
    assert list(steps.get_ydata()) == sorted(steps.get_ydata())
