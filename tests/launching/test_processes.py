"""Runs side by side: shares of the machine, orders, crashes; whole sweeps are in test_faults."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from repflow_pl.cli import Options
from repflow_pl.data.index import open_set
from repflow_pl.errors import UserError
from repflow_pl.launching import worker
from repflow_pl.launching.order import Order, from_json, to_json
from repflow_pl.launching.outcome import BUSY, DONE, FAILED, MISTAKE
from repflow_pl.launching.overview import Overview
from repflow_pl.launching.pool import make_all
from repflow_pl.launching.processes import Processes, share_out
from repflow_pl.profiles import build_profile
from repflow_pl.specs import DataSpec, RunSpec
from repflow_pl.training.planning.jobs import Job, ordered, run_folder
from repflow_pl.training.planning.machine import Machine
from tests.sweeps import Told, rows

PROFILE = build_profile("demo", "folder")


def job(out: Path, spec: RunSpec, row: str = "row") -> Order:
    asked = Job("t", row, spec, 0)
    return Order(asked, 1, "[1/1]", 0, "folder", "videos", "pyav", str(out), 1, "disabled")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with four GPUs and sixteen cores."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr("joblib.cpu_count", lambda: 16)
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("gpus")
def test_gpus_are_shared_out_in_groups() -> None:
    def visible(devices: int, per_run: int) -> list[str]:
        slots = share_out(devices, per_run, 99)
        return [slot["CUDA_VISIBLE_DEVICES"] for slot in slots]

    assert visible(4, 1) == ["0", "1", "2", "3"]
    assert visible(4, 2) == ["0,1", "2,3"]
    assert visible(2, 2) == ["0,1"]


@pytest.mark.usefixtures("gpus")
def test_the_users_choice_of_gpus_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-abc")
    slots = share_out(2, 1, 99)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["5", "GPU-abc"]


@pytest.mark.usefixtures("gpus")
def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    first = share_out(4, 2, 99)[0]
    assert (first["OMP_NUM_THREADS"], first["LOKY_MAX_CPU_COUNT"]) == ("4", "8")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert share_out(4, 1, 99)[0]["OMP_NUM_THREADS"] == "2"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    slots = share_out(32, 1, 99)
    assert len(slots) == 32 and slots[0]["OMP_NUM_THREADS"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in slots[0]


@pytest.mark.parametrize("gpus, per_run, found", [(4, 1, 4), (4, 3, 3), (0, 1, 16), (0, 5, 15)])
def test_all_devices_are_gpus_or_else_cores(
    monkeypatch: pytest.MonkeyPatch, gpus: int, per_run: int, found: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr("joblib.cpu_count", lambda: 16)
    assert Options(devices="auto", gpus_per_run=per_run).device_count == found
    assert Options(devices="auto", launcher="slurm").device_count is None
    assert Options().device_count is None


def test_no_core_is_kept_for_runs_that_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 16)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for runs, threads in ((1, 16), (3, 5), (40, 1)):
        slots = share_out(16, 1, runs)
        assert len(slots) == min(runs, 16)
        assert {slot["OMP_NUM_THREADS"] for slot in slots} == {str(threads)}


def test_an_order_comes_back_and_only_an_order(tmp_path: Path) -> None:
    order = job(tmp_path, PROFILE.two_stream(DataSpec("folder")))
    assert from_json(to_json(order)) == order
    plain = json.loads(to_json(order))
    plain["job"]["spec"]["recipe"]["colour"] = 1
    with pytest.raises(ValueError, match=r"unknown field job\.spec\.recipe\.colour"):
        from_json(json.dumps(plain))


def test_a_process_takes_orders_until_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    orders = [job(tmp_path, PROFILE.rgb(DataSpec("folder")), row) for row in "abcd"]
    ends = iter([DONE, BUSY, FAILED, DONE])
    made: list[Order] = []
    monkeypatch.setattr(worker, "_make", lambda order: made.append(order) or next(ends))
    monkeypatch.setattr(worker, "_listen", lambda more: [more.put(to_json(o)) for o in orders[1:]])
    assert worker.main(to_json(orders[0]), more=True) == FAILED
    assert made == orders[:3]
    assert capfd.readouterr().out.splitlines() == [f"{worker.ENDED}{DONE}", f"{worker.ENDED}{BUSY}"]
    assert worker.main(to_json(orders[3])) == DONE
    assert made == orders and not capfd.readouterr().out


def test_videos_that_changed_since_are_a_mistake(
    video_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    order = job(tmp_path, PROFILE.rgb(DataSpec("folder", fingerprint="another")))
    order = dataclasses.replace(order, data_root=str(video_folder))
    alive, parent = os.pipe()  # a worker whose standard input has ended has no parent any more
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime"),
            *("-m", "repflow_pl.launching.worker", to_json(order)),
        ],
        env={**os.environ, "REPFLOW_CACHE": str(shared_cache)},
        stdin=alive,
        capture_output=True,
        text=True,
    )
    os.close(alive)
    os.close(parent)
    assert done.returncode == MISTAKE
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert "have changed since the sweep began" in said[-1]
    assert "lightning" not in done.stderr, "it is said before a trainer is imported"


def test_plain_lines_where_there_is_no_terminal() -> None:
    console = Told()
    with closing(Overview(console, runs=3)) as overview:
        overview.tell(1, "[1/3] [bold] · epoch 1/2")
        overview.end(1, 1, 0)
    assert console.printed == "[1/3] [bold] · epoch 1/2\n"


def test_a_terminal_shows_the_last_line_of_each_run() -> None:
    console = Told(width=60, height=20, force_terminal=True)
    with closing(Overview(console, runs=3)) as overview:
        overview.tell(2, "[2/3] b · epoch 1/2")
        overview.tell(1, "[1/3] a · epoch 1/2")
        overview.tell(1, "[1/3] a · epoch 2/2")
        assert overview.live is not None
        with console.capture() as captured:
            console.print(overview.live.renderable)
        shown = [line.rstrip() for line in captured.get().splitlines()]
        assert shown[-3:] == ["0 of 3 runs made", "[1/3] a · epoch 2/2", "[2/3] b · epoch 1/2"]
        overview.end(1, 1, 1)
        assert overview.head == "1 of 3 runs made, 1 FAILED" and set(overview.last) == {2}


def sweep(folder: Path, videos: Path, *names: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Rows with specs of their own on two slots: (row, reason) of failures, the lines printed."""
    console = Told()
    slots = [{"SLOT": str(number)} for number in (1, 2)]
    machine = Machine(folder, console=console)
    failures = make_all(rows(*names), [open_set("folder", videos)], machine, Processes(slots))
    return [(failed.job.row, failed.reason) for failed in failures], console.printed.splitlines()


@pytest.fixture(autouse=True)
def cached(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))


def test_a_failed_run_fails_alone(stand_in: Path, video_folder: Path) -> None:
    failures, lines = sweep(stand_in, video_folder, "a", "fails", "b", "busy once", "c")
    assert failures == [("fails", "the reason")]
    assert {line[:5] for line in lines} == {f"[{k}/5]" for k in range(1, 6)}
    assert {line[-1] for line in lines} == {"1", "2"}, "both slots were used"


def test_a_killed_process_goes_on_as_long_as_it_gets_on(stand_in: Path, video_folder: Path) -> None:
    failures, lines = sweep(stand_in, video_folder, "crashes thrice", "a")
    assert failures == []
    assert sum("goes on from its checkpoint" in line for line in lines) == 3


def test_a_process_that_dies_without_getting_on_is_a_failure(
    stand_in: Path, video_folder: Path
) -> None:
    ((row, reason),), _ = sweep(stand_in, video_folder, "crashes", "a")
    assert row == "crashes" and reason.startswith("a process of the run was ended by SIGKILL")
    (log,) = stand_in.rglob("error.txt")
    assert "the last words" in log.read_text()


def test_an_older_failure_is_neither_told_nor_taken_away(
    stand_in: Path, video_folder: Path
) -> None:
    """It may be of another sweep, which has yet to read it."""
    names = ("crashes", "busy once")
    files = [run_folder(stand_in, job.spec, 0) / "error.txt" for job in rows(*names)]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text("the reason\nof before")
    ((row, reason),), _ = sweep(stand_in, video_folder, *names)
    assert row == "crashes" and reason.startswith("a process of the run was ended by SIGKILL")
    assert files[1].read_text() == "the reason\nof before"


def test_a_full_disk_stops_the_sweep_and_its_children(stand_in: Path, video_folder: Path) -> None:
    with pytest.raises(UserError, match="cannot write here"):
        sweep(stand_in, video_folder, "slow", "full disk", "a")
    assert len(list(stand_in.rglob("try0"))) == 2, "nothing was started after it"
    assert list(stand_in.rglob("ended")), "the other child was asked to end"


def test_ctrl_c_ends_the_children(stand_in: Path, video_folder: Path) -> None:
    def press() -> None:
        while len(list(stand_in.rglob("try0"))) < 2:
            time.sleep(0.1)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        sweep(stand_in, video_folder, "slow", "slow", "a")
    assert len(list(stand_in.rglob("ended"))) == 2


def test_late_fusion_waits_for_its_parts(stand_in: Path, video_folder: Path) -> None:
    data = DataSpec("folder")
    jobs = ordered([Job("t", "both", PROFILE.two_stream(data), 0)])
    slots = [{"SLOT": str(number)} for number in (1, 2, 3)]
    machine = Machine(stand_in, console=Told())
    make_all(jobs, [open_set("folder", video_folder)], machine, Processes(slots))
    times = [
        next(run_folder(stand_in, each.spec, 0).glob("try0")).stat().st_mtime_ns for each in jobs
    ]
    assert times[2] == max(times)


def test_a_run_in_this_process_has_the_terminal_to_itself() -> None:
    """Its bar is a live display, beside which there is no other."""
    console = Told(force_terminal=True)
    with closing(Overview(console, runs=3)) as overview:
        overview.end(1, 1, 0)
        assert overview.live is not None and not overview.live.is_started
