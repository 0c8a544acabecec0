"""The pages beside a table's: class by class and training curves, from made-up runs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.all_tables import builder, table_names
from repflow_pl.errors import UserError
from repflow_pl.report import classes as classes_module
from repflow_pl.report import curves as curves_module
from repflow_pl.report import table as table_module
from repflow_pl.report.classes import (
    MOST_NAMES,
    class_accuracy,
    class_figure,
    class_page,
    compared,
    confusion,
)
from repflow_pl.report.collect import Collected, collect
from repflow_pl.report.curves import TRAINING, VALIDATION, curve_figure, curve_page, curves_of
from repflow_pl.report.join import join
from repflow_pl.report.page import BESIDE, is_beside
from repflow_pl.report.plot_style import drawn
from repflow_pl.report.run_curves import QUANTITIES
from repflow_pl.report.table import Context, Row, Table, render
from repflow_pl.specs import spec_hash
from repflow_pl.tables import Setting, split_tables
from repflow_pl.training.recording.curve import CURVE, Epoch, read_curve, write_curve
from repflow_pl.training.recording.predictions import PREDICTIONS, Predictions, write_predictions
from repflow_pl.training.recording.result import read_result

NAMES = ("fall", "jump", "sit")


def answering(labels: list[int], answers: list[int | None], classes: int = 3) -> Predictions:
    """Sure predictions; None is a video that could not be read. Two videos make a group."""
    scores = np.zeros((len(labels), classes))
    rank = np.full(len(labels), classes)
    for k, answer in enumerate(answers):
        if answer is not None:
            scores[k, answer] = 1.0
            rank[k] = answer != labels[k]
    return Predictions(np.array(labels), np.arange(len(labels)) // 2, rank, scores)


def keep(runs: Path, row: Row, classes: int = 3, validated: bool = False) -> None:
    """Give every result of a row predictions, one in three of them wrong, and a curve."""
    for path in sorted((runs / spec_hash(row.spec)).glob("seed*/result.json")):
        labels = [k % classes for k in range(4 * classes)]
        answers = [(label + (k % 3 == 0)) % classes for k, label in enumerate(labels)]
        write_predictions(path.parent / PREDICTIONS, answering(labels, [*answers], classes))
        shift = 0.1 * read_result(path).seed
        val = (1.0, 0.5 + shift) if validated else ()
        write_curve(path.parent / CURVE, [Epoch(k, 2 / k, shift + k / 10, *val) for k in (1, 2)])


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No files of pictures, which take longest and stand beside what is looked at here."""
    for each in (classes_module, curves_module, table_module):
        monkeypatch.setattr(each, "drawn", lambda draw: b"png")


@pytest.fixture
def kept_runs(table: Table, runs: Path) -> Path:
    for row in table.rows:
        keep(runs, row)
    return runs


def test_a_confusion_is_the_mean_of_splits_as_accuracies_are_and_has_no_unread_video(
    table: Table, runs: Path
) -> None:
    first = answering([0, 0, 1, 2], [0, 1, 1, None])
    second = answering([0, 0, 1, 2], [0, 0, 2, 2])
    entry = dataclasses.replace(
        collect(runs, table.rows[0], [0, 1]), predictions=((first, second), (second, second))
    )
    shares = np.array([[7 / 8, 1 / 8, 0], [0, 1 / 4, 3 / 4], [0, 0, 3 / 4]])
    assert confusion(entry) == pytest.approx(shares)
    accuracies = [class_accuracy(entry, label) for label in range(3)]
    assert [each and each.mean for each in accuracies] == pytest.approx([7 / 8, 1 / 4, 3 / 4])
    # The videos of each class are one group: nothing is known of others.
    assert {each and each.low for each in accuracies} == {None}
    # One video could not be read, which is wrong, though any class is among the best five of three.
    best = entry.answers(best=5)[0].values
    assert best.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    # A split with more videos of a class weighs no more in its cells than in its accuracy.
    third = answering([0, 0, 0, 0], [1, 1, 1, 2])
    uneven = dataclasses.replace(entry, predictions=((first, second), (third, third)))
    assert confusion(uneven)[0] == pytest.approx([3 / 8, 1 / 2, 1 / 8])
    accuracies = [class_accuracy(uneven, label) for label in range(3)]
    assert confusion(uneven).diagonal() == pytest.approx([each.mean for each in accuracies if each])
    absent = dataclasses.replace(entry, predictions=((answering([0, 0], [0, 1]),),))
    assert class_accuracy(absent, 2) is None and not confusion(absent)[2].any()


def test_the_plain_rgb_network_is_the_one_compared_with_or_else_the_first_row() -> None:
    builders = [builder(name) for name in table_names()]
    found = {}
    for table in split_tables(builders, Setting(), "0123"):
        entries = [Collected(row, ()) for row in table.rows]
        (found[table.name],) = (entry.row.name for entry in compared(entries))
    assert found == {
        "placement": "RGB CNN",
        "learned": "None (all fixed)",
        "iterations": "1 iteration, not learned",
        "fusion": "None, RGB input",
        "architecture": "TV-L1 twice",
        "volumetric": "3D ResNet: RGB",
        "motion": "RGB CNN",
        "sota": "RGB",
        "why": "RGB CNN",
        "today": "RGB CNN",
    }


def test_the_best_and_the_rgb_row_are_shown_once_each(table: Table, kept_runs: Path) -> None:
    entries = [collect(kept_runs, row, [0, 1, 2]) for row in table.rows]
    assert [e.row.name for e in compared(entries)] == ["After block 3", "RGB CNN"]
    assert [e.row.name for e in compared(entries[:1])] == ["RGB CNN"]


def test_the_name_of_a_class_is_no_formula(table: Table, context: Context, kept_runs: Path) -> None:
    entries = [collect(kept_runs, table.rows[0], [0, 1])]
    figure = class_figure(table, context, entries, ("$_$", "US$ or A$", "sit"))
    assert drawn(lambda: figure).startswith(b"\x89PNG")


@pytest.mark.long
def test_pages_are_linked_named_the_same_again_and_not_joined(
    table: Table, context: Context, kept_runs: Path, paper_folder: Path, tmp_path: Path
) -> None:
    context = dataclasses.replace(context, classes=NAMES)
    out = tmp_path / "tables"
    files = render(table, context, kept_runs, [0, 1, 2], out, paper_folder)
    pages = [files.markdown.with_name(f"placement_{kind}.md") for kind in BESIDE]
    page = files.markdown.read_text(encoding="utf-8")
    for path in pages:
        assert f"]({path.name})" in page.split("\n## ")[0]
        text = path.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)]+)\)", text)
        assert len(links) == 2 and all((path.parent / link).is_file() for link in links)
    classes = pages[0].read_text(encoding="utf-8")
    assert re.search(
        r"\| fall \| 4 \| [\d.]+ \([\d.–]+\) \| [\d.]+ \([\d.–]+\) \| \+0\.0 \|", classes
    )
    assert "After block 3, n = 3 | RGB CNN, n = 3" in classes
    join(out)
    joined = (out / "README.md").read_text(encoding="utf-8")
    assert "(motion_shapes/placement_classes.md)" in joined and "# Class by class" not in joined

    before = {path: path.read_bytes() for path in files.markdown.parent.iterdir()}
    render(table, context, kept_runs, [0, 1, 2], out, paper_folder)
    assert before == {path: path.read_bytes() for path in files.markdown.parent.iterdir()}


@pytest.mark.usefixtures("undrawn")
def test_without_what_they_show_they_are_neither_there_nor_linked(
    table: Table, context: Context, kept_runs: Path, paper_folder: Path, tmp_path: Path
) -> None:
    files = render(table, context, kept_runs, [0, 1, 2], tmp_path, paper_folder)
    for path in [*kept_runs.rglob(PREDICTIONS), *kept_runs.rglob(CURVE)]:
        path.unlink()
    render(table, context, kept_runs, [0, 1, 2], tmp_path, paper_folder)
    assert not [path for path in files.markdown.parent.iterdir() if is_beside(path.stem)]
    assert "_classes" not in files.markdown.read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_classes_without_names_are_numbers(table: Table, context: Context, kept_runs: Path) -> None:
    page = class_page(table, context, [collect(kept_runs, table.rows[0], [0, 1])])
    assert page is not None and "\n| 2 | 4 | " in page.markdown
    assert "difference" not in page.markdown  # of one row there is none


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("classes", [6, MOST_NAMES, MOST_NAMES + 1])
def test_a_matrix_has_names_or_a_table_of_its_greatest_cells(
    table: Table, context: Context, runs: Path, classes: int
) -> None:
    for row in table.rows:
        keep(runs, row, classes)
    names = tuple(f"class {k}" for k in range(classes))
    context = dataclasses.replace(context, classes=names)
    entries = compared([collect(runs, row, [0, 1, 2]) for row in table.rows])
    figure = class_figure(table, context, entries, names)
    page = class_page(table, context, entries)
    few = classes <= MOST_NAMES
    assert len(figure.axes) == 2
    left, right = ([t.get_text() for t in a.get_yticklabels()] for a in figure.axes)
    assert left == (list(names) if few else []) and right == []
    assert page is not None and ("What is confused most" in page.markdown) is not few
    assert ("| class 0 | class 1 | 50.0 |" in page.markdown) is not few


@pytest.mark.usefixtures("undrawn")
def test_curves_are_bands_over_runs_and_a_line_a_row(
    table: Table, context: Context, runs: Path
) -> None:
    entries = [collect(runs, row, [0, 1, 2]) for row in table.rows[:3:2]]
    for entry in entries:
        keep(runs, entry.row, validated=True)
    curves = {e.row.name: found for e in entries if (found := curves_of(e, runs)) is not None}
    figure = curve_figure(table, context, entries, curves, VALIDATION)
    first, second = (axis for axis in figure.axes if axis.get_visible())
    assert len(first.lines) == len(second.lines) == 2  # its own and the other's
    assert list(first.lines[0].get_ydata()) == pytest.approx([60, 60])  # the mean of 50, 60, 70
    (band,) = first.collections
    assert sorted({y for _, y in band.get_paths()[0].vertices}) == pytest.approx([50, 70])
    page = curve_page(table, context, entries, runs)
    assert page is not None and "| RGB CNN | 3 | 2 | 30.0 | 1.00 | 60.0 |" in page.markdown


@pytest.mark.usefixtures("undrawn")
def test_without_validation_the_training_is_drawn(
    table: Table, context: Context, kept_runs: Path
) -> None:
    entries = [collect(kept_runs, row, [0, 1, 2]) for row in table.rows]
    page = curve_page(table, context, entries, kept_runs)
    assert page is not None and "training accuracy and loss" in page.markdown
    curves = {table.rows[0].name: curves_of(entries[0], kept_runs)}
    figure = curve_figure(table, context, entries[:1], curves, TRAINING)  # type: ignore[arg-type]
    titles = [axis.get_title(loc="left") for axis in figure.axes if axis.get_visible()]
    assert titles == [f"RGB CNN\n{QUANTITIES[name]}" for name in TRAINING]


def test_no_row_of_any_table_is_cut_above_its_curves(
    table: Table, context: Context, kept_runs: Path
) -> None:
    entry = collect(kept_runs, table.rows[0], [0])
    found = curves_of(entry, kept_runs)
    assert found is not None
    tables = split_tables([builder(name) for name in table_names()], Setting(), "0123")
    names = sorted({row.name for each in tables for row in each.rows}, key=len)[-12:]
    rows = [dataclasses.replace(entry.row, name=name, group=None) for name in names]
    entries = [dataclasses.replace(entry, row=row) for row in rows]
    figure = curve_figure(table, context, entries, dict.fromkeys(names, found), TRAINING[:1])
    figure.draw_without_rendering()
    axes = [axis for axis in figure.axes if axis.get_visible()]
    room = figure.bbox.x1 - axes[3].bbox.x0  # of the last in a line, which has least
    ends = {axis.get_title(loc="left"): axis.get_tightbbox().x1 - axis.bbox.x0 for axis in axes}
    assert [title for title, end in ends.items() if end > room] == []


def test_a_curve_comes_back_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    curve = (Epoch(1, 2.5, 0.25), Epoch(2, 1.5, 0.5, 1.75, 0.125))
    write_curve(tmp_path / CURVE, curve)
    assert read_curve(tmp_path / CURVE) == curve
    for damage in (
        "epoch,train_loss,train_top1\n",
        "epoch,train_loss,train_top1\n1,x,0\n",
        "epoch,loss\n1,2\n",
        "no\n1\n",
        "\0" * 40,
    ):
        (tmp_path / CURVE).write_text(damage)
        with pytest.raises(UserError, match=r"curve\.csv is damaged"):
            read_curve(tmp_path / CURVE)
