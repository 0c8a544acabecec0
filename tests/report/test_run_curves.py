"""The picture of any runs' curves, and what is said beside it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

from repflow_pl.__main__ import main
from repflow_pl.errors import UserError
from repflow_pl.report.run_curves import (
    draw_curves,
    figure,
    flat_spec,
    folders,
    labels,
    read_runs,
)
from repflow_pl.specs import ClipSpec, DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec, to_dict
from repflow_pl.training.recording.curve import CURVE, Epoch, write_curve

CLIP = DataSpec("folder", ClipSpec(), "a" * 12)


def spec(block: int | None = None, lr: float = 0.1) -> RunSpec:
    flow = None if block is None else FlowSpec(block)
    return RunSpec(ModelSpec("narrow", flow=flow), CLIP, RecipeSpec(2, 8, lr))


def put(run: Path, of: RunSpec, *epochs: Epoch, finished: bool = True) -> None:
    write_curve(run / CURVE, epochs)
    (run / "spec.json").write_text(json.dumps(to_dict(of)))
    if finished:
        (run / "result.json").write_text("{}")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    runs = tmp_path / "runs"
    put(runs / "aa11" / "seed0", spec(3), Epoch(1, 2.0, 0.25), Epoch(2, 1.0, 0.5))
    put(runs / "aa11" / "seed1", spec(3), Epoch(1, 3.0, 0.5), Epoch(2, 2.0, 1.0))
    put(runs / "ab22" / "seed0", spec(), Epoch(1, 2.0, 0.25, 2.5, 0.125), finished=False)
    return runs


def lines(said: str) -> list[list[str]]:
    rows = re.findall(r"^\| (.*) \|$", said, re.MULTILINE)
    return [row.split(" | ") for row in rows[2:]]


def test_curves_of_all_runs_of_a_folder(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "curves.png"
    said = draw_curves([str(runs)], out, runs)
    assert lines(said) == [
        ["flow.after_block 3", "aa11", "2", "2", "1.500", "75.0", "–", "–"],
        ["flow.after_block –", "ab22", "1 (1 unfinished)", "1", "2.000", "25.0", "2.500", "12.5"],
    ]
    assert said.endswith(f"wrote {out}")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_lines_are_means_in_bands(runs: Path) -> None:
    found = read_runs([runs])
    made = figure(found, {"aa11": "a", "ab22": "b"})
    loss, top1, val_loss, val_top1 = made.axes
    assert [panel.get_title(loc="left") for panel in (loss, val_top1)] == [
        "training loss", "validation, top-1 %",
    ]  # fmt: skip
    assert np.array_equal(loss.get_lines()[0].get_xydata(), [(1, 2.5), (2, 1.5)])
    band = loss.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (1.0, 3.0)
    assert np.array_equal(top1.get_lines()[0].get_ydata(), [37.5, 75.0])
    assert np.array_equal(val_loss.get_lines()[1].get_ydata(), [2.5])
    assert {axis.get_xlim() for axis in made.axes} == {(0, 3)}
    legend = [text.get_text() for text in made.legends[0].get_texts()]
    assert legend == ["a", "b"]


def test_runs_without_a_validation_part_have_two_panels(runs: Path) -> None:
    assert len(figure(read_runs([runs / "aa11"]), {"aa11": "a"}).axes) == 2


@pytest.mark.long
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_picture_is_the_same_file(kind: str, runs: Path, tmp_path: Path) -> None:
    out = [tmp_path / f"{k}.{kind}" for k in range(2)]
    for path in out:
        draw_curves([str(runs)], path, runs)
    one, other = (path.read_bytes() for path in out)
    assert one == other and b"atplotlib" not in one.split(b"<svg")[0]
    if kind == "svg":
        xml.etree.ElementTree.fromstring(one)


def test_what_is_meant_by_a_place(runs: Path) -> None:
    assert folders([str(runs / "aa11"), "a"], runs) == [
        runs / "aa11", runs / "aa11", runs / "ab22",
    ]  # fmt: skip
    assert len(read_runs(folders([str(runs / "aa11"), "a"], runs))) == 2, "each run once"
    assert folders(["aa11/seed1"], runs) == [runs / "aa11" / "seed1"]
    for place in ("c", str(runs / "c"), "a*"):  # a shell passes on what matches nothing
        with pytest.raises(UserError, match=r"no run in .* is called so"):
            folders([place], runs)


def test_a_spec_is_called_by_what_tells_it_apart(tmp_path: Path) -> None:
    specs = {"a": spec(3), "b": spec(3, lr=0.5), "c": spec()}
    flat = {}
    for name, each in specs.items():
        put(tmp_path / name, each, Epoch(1, 1.0, 0.5))
        flat[name] = flat_spec(tmp_path / name / "spec.json")
    said = labels(flat)
    assert said == {
        "a": "flow.after_block 3, recipe.lr 0.1",
        "b": "flow.after_block 3, recipe.lr 0.5",
        "c": "flow.after_block –, recipe.lr 0.1",
    }
    assert labels({"a": flat["a"]}) == {"a": "a"}
    assert flat_spec(tmp_path / "none.json") == {}
    assert labels({"a": {}, "b": {}, "c": flat["c"]})["a"] != labels({"a": {}, "b": {}})["b"]
    two = {"a": {"data.name": "x", "data.fingerprint": "1"}, "b": {"data.name": "y"}}
    assert labels(two) == {"a": "data x", "b": "data y"}


def test_command(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["curves", "aa"]) == 0
    assert "wrote curves.png" in capsys.readouterr().out and Path("curves.png").is_file()
    for words, sentence in (
        (["aa", "--out", "x.bmp"], "x.bmp is no picture's name: end it in .png, .svg, .pdf."),
        (["zz"], "there is no folder zz, and no run in runs is called so."),
        ([], "see --help."),
    ):
        assert main(["curves", *words]) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1
    (runs / "aa11" / "seed0" / CURVE).write_text("epoch\nx\n")
    assert main(["curves", "runs"]) == 2
    assert "is damaged" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["curves", "empty"]) == 2
    assert "no curve.csv below empty" in capsys.readouterr().err
