"""The data benchmark writes its page, takes ratios within a turn, and names mistakes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import bench_data
import pytest
import torch
from bench import loading
from bench.loading import Case, Results, wait_share

from repflow_pl.data.clips import Batch, ClipDataset
from repflow_pl.data.decoding.decode import VARIABLE
from repflow_pl.data.sampler import Draw
from repflow_pl.errors import UserError
from tests.experiments.conftest import quick_page


def test_ratios_are_taken_within_a_turn() -> None:
    case = Case("decord", 16, 2)
    alone = {(16, 1): [1.0] * 3, (16, 2): [100.0, 50.0, 100.0]}
    results = Results({case: [90.0, 45.0, 90.0]}, alone, [10.0, 20.0], [60.0, 120.0], 1.0)
    assert results.of_floor(case).median == pytest.approx(0.9)
    assert results.of_floor(case).low == results.of_floor(case).high
    speedup = results.speedup()
    assert speedup is not None and speedup.median == pytest.approx(6.0)
    assert Results({}, {}, [], [], 1.0).speedup() is None


def test_a_decoder_that_is_named_twice_is_timed_once() -> None:
    options = bench_data.Options(decoders="pyav,decord,pyav")
    assert bench_data.plan_of(options).decoders == ("pyav", "decord")


def test_a_quick_run_takes_no_count_that_it_would_not_heed() -> None:
    for options in (
        bench_data.Options(clips=7, quick=True),
        bench_data.Options(turns=7, quick=True),
    ):
        with pytest.raises(UserError, match="leave out --clips and --turns"):
            bench_data.plan_of(options)
    assert bench_data.plan_of(bench_data.Options(batch=2, quick=True)).clips == 6


@pytest.mark.long
def test_every_case_has_a_line(
    video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, "pyav")
    monkeypatch.setattr(loading, "STEP_CLIPS", 4)
    # A process takes longer to start than these few small files take to read.
    monkeypatch.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: 0)
    few = tmp_path / "few"
    for source in (path for path in video_folder.rglob("[01].mp4") if "val" not in path.parts):
        target = few / source.relative_to(video_folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    arguments = ["--data", "folder", "--data-root", str(few), "--out", str(tmp_path)]
    arguments += ["--frames", "4", "--workers", "1", "--batch", "2", "--size", "56", "--quick"]
    assert bench_data.main(arguments) == 0
    assert os.environ[VARIABLE] == "pyav"
    page, lines = quick_page(tmp_path, "data_folder")
    assert "`python experiments/bench_data.py --data folder --frames 4 --workers 1 " in page
    assert [(line["what"], line["decoder"]) for line in lines] == [
        ("decord alone", "decord"),
        ("loader", "pyav"),
        ("loader", "decord"),
        ("epoch, decoded", ""),
        ("epoch, cached", ""),
        ("waits, decoded", ""),
        *[("waits, kept", "")] * 3,
        ("bytes", "pyav"),
        ("bytes", "decord"),
    ]
    assert all(float(line["median"]) > 0 for line in lines)
    assert {line["n"] for line in lines if line["what"] != "bytes"} == {"2"}
    assert all(20e6 < float(line["median"]) < 4e9 for line in lines if line["what"] == "bytes")


def test_a_device_waits_for_what_a_loader_takes() -> None:
    class Slow(ClipDataset):
        def __init__(self) -> None: ...

        def __len__(self) -> int:
            return 10**6

        def __getitems__(self, draws: Sequence[Draw | int]) -> Batch:
            time.sleep(0.05)
            return Batch((), torch.zeros(len(draws), 3))

    assert 0.4 < wait_share(Slow(), 0, steps=4, seconds=0.05) < 0.7, "one after the other"
    assert wait_share(Slow(), 1, steps=4, seconds=0.15) < 0.2, "meanwhile"
