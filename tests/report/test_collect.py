"""What a row's folder says: done, partial, FAILED, missing, damaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from repflow_pl.errors import UserError
from repflow_pl.report.provenance import measured
from repflow_pl.report.table import Context, Failure, Row, Table, collect
from repflow_pl.specs import spec_hash

Rows = dict[str, Row]


def folder(runs: Path, row: Row, seed: int) -> Path:
    return runs / spec_hash(row.spec) / f"seed{seed}"


def test_states(runs: Path, rows: Rows) -> None:
    assert collect(runs, rows["rgb"], [0, 1, 2]).state == "done"
    assert collect(runs, rows["two_stream"], [0, 1, 2]).state == "partial"
    assert collect(runs, rows["block4"], [0, 1, 2]).state == "FAILED"
    assert collect(runs, rows["extra"], [0, 1, 2]).state == "missing"


def test_seeds_asked_for_are_all_accounted_for(runs: Path, rows: Rows) -> None:
    collected = collect(runs, rows["two_stream"], [2, 1, 0, 0])
    assert [result.seed for result in collected.results] == [1, 0]
    assert collected.missing == (2,)
    assert collected.asked == 3
    assert collected.top1 == {0: 0.55, 1: 0.575}


def test_the_reason_is_the_first_line_without_folders(runs: Path, rows: Rows) -> None:
    (failure,) = collect(runs, rows["block4"], [0]).failures
    assert failure == Failure(0, "the disk is full: last.ckpt could not be written")


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("", "no reason was written"),
        ("loss is nan at 3/40, see https://example.org/a/b", None),
        ("cannot open '/a/b c/d.mp4' of \"/a/é f/\"", "cannot open 'd.mp4' of \"\""),
        ("~/x/y.py: no", "y.py: no"),
    ],
)
def test_reasons(runs: Path, rows: Rows, written: str, printed: str | None) -> None:
    (folder(runs, rows["block4"], 0) / "error.txt").write_text(written, "utf-8")
    (failure,) = collect(runs, rows["block4"], [0]).failures
    assert failure.reason == (written if printed is None else printed)


def test_a_result_wins_over_an_older_error(runs: Path, rows: Rows) -> None:
    (folder(runs, rows["rgb"], 0) / "error.txt").write_text("interrupted\n")
    assert collect(runs, rows["rgb"], [0]).state == "done"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"top1": 0.5}', "\x00\x00"])
def test_a_damaged_result_is_one_sentence_that_names_it(runs: Path, rows: Rows, text: str) -> None:
    path = folder(runs, rows["rgb"], 1) / "result.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        collect(runs, rows["rgb"], [0, 1, 2])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_result_in_another_runs_place_is_refused(runs: Path, rows: Rows) -> None:
    path = folder(runs, rows["rgb"], 1) / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": 5}))
    with pytest.raises(UserError, match=r"belongs to run .*, seed 5"):
        collect(runs, rows["rgb"], [1])


def test_a_row_of_several_splits_is_their_average(
    runs: Path, rows: dict[str, Row], table: Table, context: Context
) -> None:
    # Two rows of the sweep stand for two splits of one.
    first, second = rows["rgb"], rows["block3"]
    both = dataclasses.replace(first, other_splits=(second.spec,))
    parts = [collect(runs, row, [0, 1, 2, 9]) for row in (first, second)]
    joint = collect(runs, both, [0, 1, 2, 9])
    common = set(parts[0].top1) & set(parts[1].top1)
    assert common and set(joint.top1) == common
    for seed in common:
        assert joint.top1[seed] == pytest.approx((parts[0].top1[seed] + parts[1].top1[seed]) / 2)
    result, a, b = (x.results[0] for x in (joint, *parts))
    assert result.videos_test == a.videos_test + b.videos_test
    assert result.fingerprint == f"{a.fingerprint}+{b.fingerprint}"
    assert 9 in joint.missing and joint.asked == 4
    said = " ".join(measured(table, context, [joint]))
    assert f"The {2 * len(common)} runs took" in said, "each split is a run"


def test_how_many_shared_a_run_is_said_where_any_was_shared(
    runs: Path, rows: Rows, table: Table, context: Context
) -> None:
    collected = collect(runs, rows["rgb"], [0, 1])
    assert "ranks" not in " ".join(measured(table, context, [collected]))
    first, second = collected.results
    shared = dataclasses.replace(collected, results=(first, dataclasses.replace(second, ranks=2)))
    said = " ".join(measured(table, context, [shared]))
    assert "; ranks that shared a run: 1 or 2. Times" in said


def test_commits_between_the_same_versions_are_one_list(
    runs: Path, rows: Rows, table: Table, context: Context
) -> None:
    collected = collect(runs, rows["rgb"], [0, 1, 2])
    versions = collected.results[0].versions
    results = tuple(
        dataclasses.replace(result, versions=dataclasses.replace(versions, **changes))
        for result, changes in zip(
            collected.results, ({}, {"commit": "abc"}, {"torch": "9"}), strict=True
        )
    )
    said = measured(table, context, [dataclasses.replace(collected, results=results)])
    (sentence,) = (each for each in said if each.startswith("Versions: "))
    assert sentence.count(" or ") == 1 and sentence.count("(commit") == 2
    assert f"(commits {versions.commit}, abc), Python" in sentence
    assert f"(commit {versions.commit}), Python" in sentence and "torch 9" in sentence
