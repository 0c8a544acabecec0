"""The page of run times: invented times of the paper's rows, the paper's own figures beside."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pandas as pd
import pytest

from repflow_pl.errors import UserError
from repflow_pl.report.join import join
from repflow_pl.report.paper import UNVERIFIED_MARK, PaperFigure, paper_figures
from repflow_pl.report.plot_runtime import runtime_figure
from repflow_pl.report.plot_style import row_places
from repflow_pl.report.rows import Row
from repflow_pl.report.runtime import (
    RuntimeContext,
    markdown_runtime,
    render_runtime,
    runtime_rows,
    tidy_runtime,
)
from repflow_pl.specs import DataSpec, ModelSpec, RecipeSpec, RunSpec
from repflow_pl.training.costs.clip_times import ClipTime, ModelTimes
from repflow_pl.training.recording.result import Versions

SPEC = RunSpec(ModelSpec("narrow"), DataSpec("folder"), RecipeSpec(1, batch=1, lr=1))
ROWS = [
    Row("RGB", SPEC, paper="RGB", group="2D CNNs"),
    Row("Flow", SPEC, paper="Flow", group="2D CNNs"),
    Row("RGB S3D", SPEC, paper="RGB S3D", group="3D CNNs"),
]
# The machine is twice as slow in the second round, three times in the third: ratios stay.
TIMED = [
    ModelTimes(500_000, tuple(ClipTime(4.0 * k, 0.0) for k in (1, 2, 3))),
    ModelTimes(600_000, tuple(ClipTime(8.0 * k, 32.0 * k) for k in (1, 2, 3))),
    ModelTimes(700_000, tuple(ClipTime(2.0 * k, 0.0) for k in (1, 2, 3))),
]
CONTEXT = RuntimeContext(
    data="motion_shapes",
    profile="demo",
    folder="motion_shapes",
    command="python experiments/table_runtime.py",
    device="CPU (of a test)",
    on_gpu=False,
    threads=2,
    clip="8 frames of 64 x 64 pixels",
    one_split=None,
    tvl1="as in the test",
    versions=Versions("0.1", "3.11", "2.11", "2.5", "abc"),
)
FOUND = runtime_rows(ROWS, TIMED, TIMED[0], paper_figures("sota"))


def test_ratios_are_those_within_a_round() -> None:
    rgb, flow, s3d = FOUND
    assert (rgb.ratio.low, rgb.ratio.median, rgb.ratio.high) == (1, 1, 1)
    assert (flow.ratio.low, flow.ratio.median, flow.ratio.high) == (10, 10, 10)
    assert s3d.ratio.median == 0.5
    assert (flow.total_ms.low, flow.total_ms.median, flow.total_ms.high) == (60, 80, 100)
    assert (flow.tvl1_ms.median, flow.tvl1_share, s3d.tvl1_share) == (64, 0.8, 0)
    assert flow.rounds == 3


def test_how_far_the_order_is_the_papers() -> None:
    """Ours are 2nd, 3rd, 1st; the paper's 1st, 3rd, 2nd: 1 - 6 (1 + 0 + 1) / (3 (9 - 1))."""
    assert "rank correlation 0.50" in markdown_runtime(FOUND, CONTEXT)
    alike = [dataclasses.replace(row, ratio=FOUND[0].ratio) for row in FOUND]
    assert "rank correlation" not in markdown_runtime(alike, CONTEXT)


def test_the_papers_ratio_is_to_its_own_rgb_row() -> None:
    assert [row.paper_ms.value for row in FOUND] == [225, 8039, 525]
    assert [row.paper_sd.value for row in FOUND] == [15, 140, 22]
    assert [row.paper_ratio for row in FOUND] == pytest.approx([1, 8039 / 225, 525 / 225])


def test_unknown_rows_are_refused() -> None:
    strange = [*ROWS[:2], Row("RGB S4D", SPEC)]
    with pytest.raises(UserError, match="RGB S4D"):
        runtime_rows(strange, TIMED, TIMED[0], paper_figures("sota"))


def test_the_page() -> None:
    page = markdown_runtime(FOUND, CONTEXT)
    assert (
        "| Flow | 80.0 (60.0–100) | 80% | 10.0 (10.0–10.0) | 0.600 M | 8039 ± 140 | 35.7 |" in page
    )
    assert "| RGB S3D | 4.00 (3.00–5.00) | – | 0.500 (0.500–0.500) | 0.700 M | 525 ± 22 |" in page
    assert page.index("*2D CNNs*") < page.index("| RGB |") < page.index("*3D CNNs*")
    assert "demo profile: a narrow backbone" in page
    assert "rank correlation 0.50" in page  # here S3D, RGB, Flow; in the paper RGB, S3D, Flow
    assert "CPU (of a test), 2 threads" in page and "only the ratios" in page


def test_it_says_that_one_splits_clip_stands_for_all() -> None:
    assert "of 8 frames of 64 x 64 pixels; of a late" in markdown_runtime(FOUND, CONTEXT)
    page = markdown_runtime(FOUND, dataclasses.replace(CONTEXT, one_split=1))
    assert "of 8 frames of 64 x 64 pixels of split 1, which stands for the others; of" in page


def test_an_unverified_figure_is_marked() -> None:
    unsure = PaperFigure(225.0, "unverified", "225")
    page = markdown_runtime([dataclasses.replace(row, paper_ms=unsure) for row in FOUND], CONTEXT)
    assert "| 225† ± 140 |" in page and UNVERIFIED_MARK == "†"
    assert "† unverified" in page
    assert "†" not in markdown_runtime(FOUND, CONTEXT)


def test_on_a_gpu_nothing_is_said_of_a_cpu() -> None:
    context = dataclasses.replace(CONTEXT, device="NVIDIA X", on_gpu=True)
    page = markdown_runtime(FOUND, context)
    assert "Device: NVIDIA X." in page and "only the ratios" not in page


def test_the_files_and_the_page_of_all_tables(tmp_path: Path) -> None:
    files = render_runtime(FOUND, CONTEXT, tmp_path)
    frame = pd.read_csv(files.csv)
    pd.testing.assert_frame_equal(
        frame, pd.read_csv(io.StringIO(tidy_runtime(FOUND, CONTEXT).to_csv()), index_col=0)
    )
    assert list(frame["row"]) == ["RGB", "Flow", "RGB S3D"] and set(frame["n"]) == {3}
    assert list(frame["ratio_to_rgb_median"]) == [1, 10, 0.5]
    assert files.png.read_bytes().startswith(b"\x89PNG")
    assert set(frame["paper_status"]) == {"verified"}
    assert {p.name for p in files.csv.parent.iterdir()} == {
        f"runtime.{ending}" for ending in ("md", "csv", "png")
    }
    join(tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "### Run time per clip" in page
    for target in re.findall(r"\]\((motion_shapes/[^)]+)\)", page):
        assert (tmp_path / target).is_file()


def test_a_gpus_page_stands_beside_a_cpus(tmp_path: Path) -> None:
    card = dataclasses.replace(CONTEXT, device="NVIDIA H100 80GB HBM3", on_gpu=True)
    render_runtime(FOUND, CONTEXT, tmp_path)
    files = render_runtime(FOUND, card, tmp_path)
    assert files.markdown.name == "runtime_h100_80gb_hbm3.md"
    assert len(list(files.markdown.parent.iterdir())) == 6
    page = files.markdown.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (files.markdown.parent / link).is_file()
    (tmp_path / "motion_shapes" / "sota.md").write_text("# sota\n")
    join(tmp_path)
    headings = re.findall("^### .*", (tmp_path / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [h.split(":")[0] for h in headings] == [
        "### Run time per clip",
        "### Run time per clip on NVIDIA H100 80GB HBM3",
        "### sota",
    ]


def test_the_picture_has_a_bar_a_row_and_the_papers_marks() -> None:
    (axis,) = runtime_figure(FOUND, "a title").axes
    assert axis.get_xscale() == "log"
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([0, 9, -0.5])
    assert {bar.get_x() for bar in axis.patches} == {1}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["RGB", "Flow", "RGB S3D"]
    marks = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D"]
    assert marks == pytest.approx([1, 8039 / 225, 525 / 225])
    low, high = axis.get_xlim()
    assert low < 0.5 and high > 8039 / 225
    texts = {text.get_text() for text in axis.texts}
    assert {"2D CNNs", "3D CNNs", "10.0 ×", "35.7 ×", "80.0", "paper"} <= texts
    without = [dataclasses.replace(row, paper_ratio=None) for row in FOUND]
    assert "paper" not in {text.get_text() for text in runtime_figure(without, "a").axes[0].texts}


def test_every_group_has_a_line_for_its_heading() -> None:
    assert row_places(["a", "a", "b", "b"]) == [1, 2, 4, 5]
    assert row_places([None, None]) == [0, 1]
