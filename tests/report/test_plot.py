"""Pictures of every kind: from full, partial and empty results, with what they must show."""

from __future__ import annotations

import csv
import dataclasses
import json
import struct
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from repflow_pl.errors import UserError
from repflow_pl.report.collect import collect
from repflow_pl.report.paper import PAPER_FOLDER, PaperTable, paper_figures
from repflow_pl.report.plot_style import drawn
from repflow_pl.report.rows import PlotKind
from repflow_pl.report.table import FIGURES, Context, Row, Table, render
from repflow_pl.specs import DataSpec, ModelSpec, RecipeSpec, RunSpec, spec_hash

RESULT = Path(__file__).parent / "sweep" / "rgb" / "seed0" / "result.json"
SEEDS = (0, 1, 2)


def spec(k: int) -> RunSpec:
    return RunSpec(ModelSpec("narrow"), DataSpec("folder"), RecipeSpec(1, batch=k + 1, lr=1))


def write(runs: Path, row: Row, top1: float, ms: float, seeds: Sequence[int] = SEEDS) -> None:
    for seed in seeds:
        plain = json.loads(RESULT.read_text())
        plain.update(spec=spec_hash(row.spec), seed=seed, top1=top1 + 0.01 * seed)
        plain["latency"].update(median_ms=ms, q25_ms=0.9 * ms, q75_ms=1.2 * ms)
        path = runs / spec_hash(row.spec) / f"seed{seed}" / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(plain))


@pytest.fixture
def iterations(tmp_path: Path) -> Table:
    """Two lines of six points, one of them without a result."""
    rows = [
        Row(f"{n}, {name}", spec(10 * n + k), paper=str(n), paper_column=column, series=name, x=n)
        for k, (name, column) in enumerate([("fixed", "not_learned"), ("learned", "learned")])
        for n in (1, 5, 10, 20, 50, 100)
    ]
    level = Row("RGB CNN", spec(9999))
    for k, row in enumerate([*rows[:-1], level]):
        write(tmp_path / "runs", row, 0.3 + 0.02 * k, 4 + k)
    return Table(
        "iterations",
        "Iterations",
        (*rows, level),
        paper_csv="iterations",
        plot="curve",
        x_title="iterations",
    )


@pytest.fixture
def sota(tmp_path: Path) -> Table:
    """The paper's 19 rows in their three groups, with invented results."""
    with (PAPER_FOLDER / "sota.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    rows = [
        Row(line["row"], spec(2000 + k), paper=line["row"], group=line["group"])
        for k, line in enumerate(lines)
    ]
    for k, (row, line) in enumerate(zip(rows, lines, strict=True)):
        write(tmp_path / "runs", row, 0.4 + 0.02 * k, float(line["runtime_ms"]) / 40)
    return Table("sota", "State of the art", tuple(rows), paper_csv="sota", plot="scatter")


def figure_of(table: Table, context: Context, runs: Path, seeds: Sequence[int] = SEEDS) -> Figure:
    collected = [collect(runs, row, seeds) for row in table.rows]
    paper: PaperTable | None = paper_figures(table.paper_csv) if table.paper_csv else None
    return FIGURES[table.plot](table, context, collected, paper)


def texts(figure: Figure) -> list[str]:
    """Every text of a picture that is not a tick's."""
    found = [text.get_text() for text in figure.texts]
    for axis in figure.axes:
        found += [text.get_text() for text in axis.texts]
        found += [axis.get_title("left"), axis.get_xlabel()]
        legend = axis.get_legend()
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return found


def test_a_curve_has_a_line_a_series(iterations: Table, context: Context, tmp_path: Path) -> None:
    figure = figure_of(iterations, context, tmp_path / "runs")
    measured, paper = figure.axes
    assert measured.get_xscale() == paper.get_xscale() == "log"
    fixed, learned = measured.containers
    assert list(fixed.lines[0].get_ydata()) == pytest.approx([31, 33, 35, 37, 39, 41])
    assert list(learned.lines[0].get_ydata()) == pytest.approx([43, 45, 47, 49, 51])
    assert list(fixed.lines[0].get_xdata()) == [1, 5, 10, 20, 50, 100]
    assert list(measured.get_xticks()) == [1, 5, 10, 20, 50, 100]
    (bars_,) = fixed.lines[2]
    low, high = bars_.get_segments()[0][:, 1]
    assert (high - low) / 2 == pytest.approx(100 * 4.302653 * 0.01 / 3**0.5, rel=1e-4)
    figures = paper_figures("iterations")
    assert list(paper.lines[0].get_ydata()) == [
        figures.figure(str(n), "not_learned").value for n in (1, 5, 10, 20, 50, 100)
    ]
    shown = texts(figure)
    assert {"fixed", "learned", "RGB CNN", "iterations"} <= set(shown)
    assert "1 of 13 rows have no result" in shown
    assert any("† unverified" in text for text in shown)
    figure.draw_without_rendering()
    legend = measured.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= measured.get_window_extent().y1, "it hides no line"


@pytest.mark.long
def test_a_scatter_names_every_point(sota: Table, context: Context, tmp_path: Path) -> None:
    figure = figure_of(sota, context, tmp_path / "runs")
    measured, paper = figure.axes
    assert measured.get_xscale() == paper.get_xscale() == "log"
    names = [text.get_text() for text in measured.texts]
    assert sorted(names) == sorted(row.name for row in sota.rows)
    assert len(paper.texts) == 16, "the paper has 16 figures on Kinetics"
    assert {"2D CNNs", "(2+1)D CNNs", "3D CNNs"} <= set(texts(figure))
    assert not any("†" in text for text in texts(figure)), "these figures are verified"


@pytest.mark.long
def test_names_in_a_scatter_do_not_overlap(sota: Table, context: Context, tmp_path: Path) -> None:
    figure = figure_of(sota, context, tmp_path / "runs")
    for axis in figure.axes:
        boxes = [text.get_window_extent() for text in axis.texts]
        bounds = axis.get_window_extent()
        for k, box in enumerate(boxes):
            assert bounds.x0 - 1 <= box.x0 and box.x1 <= bounds.x1 + 1
            for other in boxes[:k]:
                wide = min(box.x1, other.x1) - max(box.x0, other.x0)
                high = min(box.y1, other.y1) - max(box.y0, other.y0)
                assert min(wide, high) < 6, "pixels of 26"


def test_a_bar_that_ends_at_100_has_its_interval_beside_it(
    context: Context, tmp_path: Path
) -> None:
    row = Row("Flow layer on RGB inputs", spec(0))
    for seed in SEEDS:
        write(tmp_path / "runs", row, (1.0, 0.99, 0.978)[seed], 10, [seed])
    table = Table("bars", "Bars", (row,), paper_csv="placement")
    (axis, *_) = figure_of(table, context, tmp_path / "runs").axes
    (label,) = [text for text in axis.texts if "100.0)" in text.get_text()]  # 99.9 and so on
    assert label.get_fontweight() == "bold"
    assert label.get_window_extent().x1 <= axis.get_window_extent().x1


def test_bars_stand_under_the_headings_of_their_groups(
    sota: Table, context: Context, tmp_path: Path
) -> None:
    figure = figure_of(dataclasses.replace(sota, plot="bars"), context, tmp_path / "runs")
    axis = figure.axes[0]
    ticks = dict(
        zip([label.get_text() for label in axis.get_yticklabels()], axis.get_yticks(), strict=True)
    )
    headings = {t.get_text(): t.xy[1] for t in axis.texts if t.get_text().endswith("CNNs")}
    assert ticks["OFF (RGB only)"] < headings["(2+1)D CNNs"] < ticks["RGB R(2+1)D"]
    assert headings["2D CNNs"] < ticks["RGB"]
    assert ticks["RGB S3D"] - ticks["Ours ((2+1)D CNN + FcF) + Non-local"] == 2


@pytest.mark.long
@pytest.mark.parametrize("kind", ["bars", "curve", "scatter"])
@pytest.mark.parametrize("seeds", [(), (0,), SEEDS], ids=["nothing", "one seed", "all"])
def test_every_kind_of_every_table_can_be_drawn(
    kind: PlotKind, seeds: tuple[int, ...], iterations: Table, context: Context, tmp_path: Path
) -> None:
    table = dataclasses.replace(iterations, plot=kind)
    collected = [collect(tmp_path / "runs", row, seeds) for row in table.rows]
    draw, paper = FIGURES[kind], paper_figures("iterations")
    data = drawn(lambda: draw(table, context, collected, paper))
    assert data == drawn(lambda: draw(table, context, collected, paper)), "repeatable"
    width, height = struct.unpack(">II", data[16:24])
    assert width == 1800 and 600 < height < 2600
    alone = dataclasses.replace(
        table,
        rows=tuple(dataclasses.replace(r, paper=None, paper_column=None) for r in table.rows),
        paper_csv=None,
    )
    assert drawn(lambda: draw(alone, context, collected, None))[:4] == b"\x89PNG"


@pytest.mark.long
def test_groups_series_and_x_are_in_page_and_csv(
    sota: Table, iterations: Table, context: Context, tmp_path: Path
) -> None:
    rendered = render(sota, context, tmp_path / "runs", SEEDS, tmp_path / "tables")
    page = rendered.markdown.read_text(encoding="utf-8")
    lines = page.splitlines()
    (heading,) = [k for k, line in enumerate(lines) if line.startswith("| *(2+1)D CNNs* |")]
    assert lines[heading + 1].startswith("| RGB R(2+1)D |")
    assert lines[heading].count("|") == lines[heading + 1].count("|")
    assert "![Top-1 over time per clip, with 95 % intervals](sota.png)" in page
    frame = pd.read_csv(rendered.csv)
    assert list(frame["group"].unique()) == ["2D CNNs", "(2+1)D CNNs", "3D CNNs"]
    assert not {"series", "x"} & set(frame.columns)
    rendered = render(iterations, context, tmp_path / "runs", SEEDS, tmp_path / "tables")
    frame = pd.read_csv(rendered.csv, dtype=str)
    assert list(frame["x"][:6]) == ["1", "5", "10", "20", "50", "100"]
    assert list(frame["series"].dropna().unique()) == ["fixed", "learned"]
    assert "group" not in frame.columns


def test_what_cannot_be_drawn_is_refused() -> None:
    a, b = Row("a", spec(1), group="g"), Row("b", spec(2), group="h")
    with pytest.raises(UserError, match="group 'g' are apart"):
        Table("t", "T", (a, b, Row("c", spec(3), group="g")))
    with pytest.raises(UserError, match="no row of it has an x"):
        Table("t", "T", (a,), plot="curve")
    with pytest.raises(UserError, match="more than 0"):
        Table("t", "T", (Row("a", spec(1), x=0),), plot="curve")


@pytest.mark.long
def test_another_setting_has_another_folder_and_says_so(
    sota: Table, context: Context, tmp_path: Path
) -> None:
    for profile, text in (
        ("demo", "demo profile with the backbone resnet18: small clips"),
        ("paper", "paper profile with the backbone resnet18: the paper's clip and recipe"),
    ):
        other = dataclasses.replace(
            context, profile=profile, backbone="resnet18", folder=f"{profile}-resnet18"
        )
        rendered = render(sota, other, tmp_path / "runs", SEEDS, tmp_path / "tables")
        assert rendered.csv == tmp_path / "tables" / f"{profile}-resnet18" / "sota.csv"
        title = rendered.markdown.read_text(encoding="utf-8").splitlines()[0]
        assert title == f"# State of the art: motion_shapes ({text})"
        assert set(pd.read_csv(rendered.csv)["backbone"]) == {"resnet18"}
