"""Runs as jobs, by submitit's executor for one machine; a real Slurm is in test_slurm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from repflow_pl.data.index import open_set
from repflow_pl.errors import UserError
from repflow_pl.launching import arrays
from repflow_pl.launching.arrays import Arrays, Slurm, logs_folder, slurm_executor, still_there
from repflow_pl.launching.pool import make_all
from repflow_pl.specs import ClipSpec, DataSpec, ModelSpec, RecipeSpec, RunSpec
from repflow_pl.training.planning.jobs import Job, run_folder
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.recording.result import read_result
from tests.sweeps import Told, rows, sweep

pytestmark = pytest.mark.long

submitit = pytest.importorskip("submitit")
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def impatient(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    for name, seconds in (("POLL", 0.1), ("LOOK", 0.5), ("LATE", 0.5)):
        monkeypatch.setattr(arrays, name, seconds)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a shell script on the path, which has nothing else of Slurm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return write


@pytest.fixture
def queue(programs: Callable[[str, str], None]) -> None:
    """Of all processes of this machine."""
    programs("squeue", "ps -eo pid=,stat= | awk '$2 !~ /Z/ {print $1}'")
    programs("scancel", 'kill -INT "$@"')


@pytest.fixture
def stand_in(stand_in: Path, queue: None) -> Path:
    """With a queue that they are in."""
    return stand_in


def on_this_machine(out: Path) -> submitit.LocalExecutor:
    executor = submitit.LocalExecutor(logs_folder(out))
    executor.update_parameters(timeout_min=10)
    return executor


def make(out: Path, videos: Path, jobs: list[Job]) -> tuple[list[tuple[str, str]], list[str]]:
    """(row, reason) of failures, and the lines printed."""
    console = Told()
    machine = Machine(out, devices=2, console=console)
    video_set = open_set("folder", videos)
    failures = make_all(jobs, [video_set], machine, Arrays(machine, on_this_machine(out), cpus=3))
    return [(failed.job.row, failed.reason) for failed in failures], console.printed.splitlines()


def test_a_failed_run_fails_alone(stand_in: Path, video_folder: Path) -> None:
    failures, lines = make(stand_in, video_folder, rows("a", "fails", "busy once"))
    assert failures == [("fails", "the reason")]
    assert lines[0] == f"the jobs' logs are in {stand_in / 'runs' / 'slurm'}"
    told = [line for line in lines if line.endswith("on 6 cores")]
    assert [line[:5] for line in sorted(told)] == ["[1/3]", "[2/3]", "[3/3]", "[3/3]"]
    assert not any("not a line" in line for line in lines)
    for line in lines:
        if "· job" in line:
            assert (stand_in / "runs" / "slurm" / f"{line.split()[-1]}_0_log.out").is_file()


def test_an_ended_job_goes_on_as_long_as_it_gets_on(stand_in: Path, video_folder: Path) -> None:
    failures, lines = make(stand_in, video_folder, rows("crashes once", "crashes"))
    assert sum("goes on from its checkpoint" in line for line in lines) == 1
    ((row, reason),) = failures
    assert row == "crashes" and "a process of the run was ended by SIGKILL" in reason
    (log,) = stand_in.rglob("error.txt")
    assert "_0_log.err:" in log.read_text()


def test_a_full_disk_stops_the_sweep_and_its_jobs(stand_in: Path, video_folder: Path) -> None:
    with pytest.raises(UserError, match="cannot write here"):
        make(stand_in, video_folder, rows("slow", "full disk"))
    wait_for(lambda: bool(list(stand_in.rglob("ended"))))


def test_ctrl_c_cancels_the_jobs(stand_in: Path, video_folder: Path) -> None:
    def press() -> None:
        wait_for(lambda: len(list(stand_in.rglob("try0"))) == 2)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        make(stand_in, video_folder, rows("slow", "slow"))
    wait_for(lambda: len(list(stand_in.rglob("ended"))) == 2)


def test_a_job_that_is_taken_away_goes_on_in_another(stand_in: Path, video_folder: Path) -> None:
    signalled: list[int] = []
    taker = threading.Thread(
        target=lambda: signalled.extend(take_away(stand_in, "on 6 cores")), daemon=True
    )
    taker.start()
    failures, lines = make(stand_in, video_folder, rows("slow"))
    assert failures == [] and len(signalled) == 1
    assert len(list(stand_in.rglob("ended"))) == 1 and len(list(stand_in.rglob("try*"))) == 2
    assert sum("· job" in line for line in lines) == 1, "submitit starts it again"


def test_a_job_that_the_queue_misses_for_a_moment_is_not_lost(
    stand_in: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answer without it proves nothing."""
    looks: list[int] = []

    def missed_once(tasks: list[submitit.Job[int]]) -> set[str]:
        looks.append(len(tasks))
        return set() if len(looks) == 2 else still_there(tasks)

    monkeypatch.setattr(arrays, "still_there", missed_once)
    monkeypatch.setattr(arrays, "LATE", 0.1)
    failures, lines = make(stand_in, video_folder, rows("takes a while"))
    assert failures == [] and len(looks) > 2
    assert sum("· job" in line for line in lines) == 1
    assert len(list(stand_in.rglob("try*"))) == 1


def take_away(out: Path, after: str) -> list[int]:
    """Once a job's log says so, send the signal that submitit has Slurm send before it takes a job
    away; returns the processes that got it."""

    def logs() -> list[Path]:
        return list((out / "runs" / "slurm").glob("*_0_log.out"))

    wait_for(lambda: any(after in log.read_text() for log in logs()))
    controller = next(log for log in logs() if after in log.read_text()).name.split("_")[0]
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", controller], capture_output=True)
    tasks = [int(pid) for pid in listed.stdout.split()]
    for pid in tasks:
        os.kill(pid, signal.SIGUSR2)
    return tasks


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# --- what is said to Slurm; its programs are stand-ins


def test_a_job_asks_for_what_a_run_takes(
    programs: Callable[[str, str], None], tmp_path: Path
) -> None:
    programs("srun", "")
    slurm = Slurm("gpu", "vision", minutes=90, cpus=4, mem="64GB", gpu="gpu:a100")
    asked = slurm_executor(tmp_path, slurm, per_run=2, at_once=3).parameters
    assert asked["gres"] == "gpu:a100:2" and asked["cpus_per_task"] == 8
    assert (asked["partition"], asked["account"], asked["time"]) == ("gpu", "vision", 90)
    assert (asked["mem"], asked["array_parallelism"]) == ("64GB", 3)
    without = slurm_executor(tmp_path, Slurm(gpu="none"), per_run=2, at_once=None).parameters
    assert without["gres"] is None


def test_a_refused_job_is_one_sentence(
    programs: Callable[[str, str], None], tmp_path: Path, video_folder: Path
) -> None:
    programs("srun", "")
    programs("sbatch", "echo 'sbatch: error: invalid partition specified: nowhere' >&2; exit 1")
    executor = slurm_executor(tmp_path, Slurm("nowhere"), per_run=1, at_once=None)
    machine = Machine(tmp_path, console=Told())
    videos = open_set("folder", video_folder)
    with pytest.raises(UserError, match=r"invalid partition specified: nowhere.*--slurm\.\*"):
        make_all(rows("a", "b"), [videos], machine, Arrays(machine, executor, cpus=1))


def test_a_queue_that_does_not_answer_has_lost_no_job(
    programs: Callable[[str, str], None], tmp_path: Path
) -> None:
    tasks = [submitit.SlurmJob(tmp_path, job_id=f"7_{k}") for k in range(3)]
    programs("squeue", "printf '7_1\\n7_2\\n8\\n'")
    assert still_there(tasks) & {"7_0", "7_1", "7_2"} == {"7_1", "7_2"}
    programs("squeue", "exit 1")
    assert still_there(tasks) == {"7_0", "7_1", "7_2"}


@pytest.mark.usefixtures("programs")
def test_no_slurm_and_no_submitit_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(Path(folder, "srun").exists() for folder in ("/usr/bin", "/bin")):
        with pytest.raises(UserError, match="there is no Slurm here"):
            slurm_executor(tmp_path, Slurm(), 1, None)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"submitit is not installed; run: .*\[slurm\]'\.$"):
        slurm_executor(tmp_path, Slurm(), 1, None)


# --- real runs


@pytest.mark.slow
@pytest.mark.usefixtures("queue")
def test_a_run_that_is_taken_away_ends_with_the_same_numbers(
    video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    videos = open_set("folder", video_folder)
    clip = ClipSpec(frames=4, size=32, crop=(32, 32))
    recipe = RecipeSpec(60, batch=8, lr=1e-3, optimiser="adamw", schedule="one_cycle")
    job = Job("t", "rgb", RunSpec(ModelSpec("narrow"), DataSpec("folder", clip,
              videos.fingerprint), recipe), 0)  # fmt: skip
    outs = [tmp_path / "undisturbed", tmp_path / "taken"]
    assert sweep([job], videos, outs[0])[0] == []

    taken: list[int] = []
    taker = threading.Thread(
        target=lambda: taken.extend(take_away(outs[1], "epoch 3/60")), daemon=True
    )
    taker.start()
    console = Told()
    machine = Machine(outs[1], console=console)
    threads = torch.get_num_threads()  # the undisturbed run's: the last bits depend on it
    place = Arrays(machine, on_this_machine(outs[1]), threads)
    assert make_all([job], [videos], machine, place) == []
    assert len(taken) == 1
    assert console.printed.count("epoch 60/60") == 1 and console.printed.count("epoch 3/60") == 1
    (log,) = (outs[1] / "runs" / "slurm").glob("*_0_log.out")
    assert log.read_text().count("Loading pickle") == 2
    one, other = (read_result(run_folder(out, job.spec, 0) / "result.json") for out in outs)
    assert (one.top1, one.clip_top1, one.train_loss) == (
        other.top1,
        other.clip_top1,
        other.train_loss,
    )
