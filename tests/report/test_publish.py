"""What a table rests on is copied: no more, no less, and only once."""

from __future__ import annotations

import shutil
from pathlib import Path

from repflow_pl.report.page import write
from repflow_pl.report.publish import unite
from repflow_pl.report.table import Context, Row, Table, render
from repflow_pl.specs import late, spec_hash
from repflow_pl.training.recording.curve import CURVE
from tests.report.conftest import spec


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_table_renders_alike_from_what_was_published(
    table: Table, context: Context, runs: Path, paper_folder: Path, tmp_path: Path
) -> None:
    rgb = runs / spec_hash(table.rows[0].spec) / "seed0"
    (rgb / "spec.json").write_text("{}")
    (rgb / "last.ckpt").write_bytes(b"weights")
    (runs / "0123456789ab" / "seed0").mkdir(parents=True)
    (runs / "0123456789ab" / "seed0" / "result.json").write_text("another table's")
    into = tmp_path / "published"
    unite(table, runs, into)

    results = {name for name in files(runs) if name.endswith("result.json")}
    expected = results - {"0123456789ab/seed0/result.json"}
    assert files(into) == expected | {f"{rgb.relative_to(runs).as_posix()}/spec.json"}
    before = {path: path.stat().st_mtime_ns for path in into.rglob("*")}
    assert unite(table, runs, into) == unite(table, into, into) == {"the same": len(expected)}
    assert before == {path: path.stat().st_mtime_ns for path in into.rglob("*")}

    from_runs = render(table, context, runs, [0, 1, 2], tmp_path / "a", paper_folder)
    from_published = render(table, context, into, [0, 1, 2], tmp_path / "b", paper_folder)
    # An error's text is the user's own and not published: what failed is missing there.
    assert from_published.csv.read_text() == from_runs.csv.read_text().replace("FAILED", "missing")


def test_a_newer_result_replaces_the_published_one_if_nothing_of_that_is_lost(
    table: Table, runs: Path, tmp_path: Path
) -> None:
    into = tmp_path / "published"
    count = unite(table, runs, into).total()
    place = Path(spec_hash(table.rows[0].spec)) / "seed0" / "result.json"
    (runs / place).write_text("newer")
    assert unite(table, runs, into) == {"the same": count - 1, "renewed": 1}
    assert (into / place).read_text() == "newer"
    shutil.rmtree(runs / place.parts[0])
    assert unite(table, runs, into).total() == count - 3, "what is missing here stays there"
    (runs / place).parent.mkdir(parents=True)
    (runs / place).write_text("newest")
    (into / place).with_name(CURVE).write_text("what the newest has not got")
    assert unite(table, runs, into)["kept"] == 1
    assert (into / place).read_text() == "newer"


def test_with_a_late_fusion_come_its_members(tmp_path: Path) -> None:
    members = spec(block=1), spec(stream="tvl1")
    for each in (*members, late(*members), spec(block=2)):
        write(tmp_path / "runs" / spec_hash(each) / "seed0" / "result.json", "{}")
    table = Table("joined", "Of a row that is no member", (Row("Joined", late(*members)),))
    unite(table, tmp_path / "runs", tmp_path / "published")
    wanted = {spec_hash(each) for each in (*members, late(*members))}
    assert {path.name for path in (tmp_path / "published").iterdir()} == wanted
