"""Whatever happens to a sweep, its results are in the end those of an undisturbed one."""

from __future__ import annotations

import csv
import dataclasses
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repflow_pl.data import module
from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.errors import UserError
from repflow_pl.launching import processes
from repflow_pl.launching.launch import launch
from repflow_pl.launching.pool import make_all
from repflow_pl.specs import ClipSpec, DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec, late
from repflow_pl.training.module import VideoClassifier
from repflow_pl.training.planning.jobs import Job, run_folder
from repflow_pl.training.planning.machine import Machine
from tests.sweeps import Told, results, sweep

pytestmark = pytest.mark.long

CHECKOUT = Path(__file__).parents[2]
CLIP = ClipSpec(frames=4, size=32, crop=(32, 32))
RECIPE = RecipeSpec(4, batch=8, lr=1e-3, optimiser="adamw", schedule="one_cycle")

# --- one run, in this process


@dataclasses.dataclass(frozen=True)
class OneRun:
    """A network of four epochs on small clips, made by `sweep`."""

    videos: VideoSet
    job: Job

    def make(self, out: Path) -> tuple[int, str]:
        """How many runs failed, and what was printed."""
        failures, printed = sweep([self.job], self.videos, out)
        return len(failures), printed

    def folder(self, out: Path) -> Path:
        return run_folder(out, self.job.spec, self.job.seed)


@pytest.fixture(scope="module")
def cached(shared_cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPFLOW_CACHE", str(shared_cache))
        yield


@pytest.fixture(scope="module")
def one(video_folder: Path, cached: None) -> OneRun:
    videos = open_set("folder", video_folder)
    spec = RunSpec(ModelSpec("narrow"), DataSpec("folder", CLIP, videos.fingerprint), RECIPE)
    job = Job("t", "rgb", spec, 0)
    return OneRun(videos, job)


@pytest.fixture(scope="module")
def undisturbed(one: OneRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    failed, printed = one.make(out)
    assert failed == 0 and printed.count("· epoch") == 4
    return out


def test_a_corrupt_result_is_named_and_the_run_made_again(
    one: OneRun, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    path = one.folder(out) / "result.json"
    path.write_bytes(path.read_bytes()[:100])
    failed, printed = one.make(out)
    assert failed == 0 and f"{path} is damaged" in printed
    assert results(out) == results(undisturbed)
    assert "· epoch" not in printed, "its checkpoint was whole: nothing is trained"


def test_late_fusion_is_not_made_of_a_half_trained_part(
    one: OneRun, undisturbed: Path, tmp_path: Path
) -> None:
    """As after a part that failed: there is a checkpoint, and no result."""
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    fusion = OneRun(one.videos, Job("t", "both", late(one.job.spec, one.job.spec), 0))
    (one.folder(out) / "result.json").unlink()
    failed, printed = fusion.make(out)
    assert failed == 1 and "'both: part 1', whose run in" in printed
    assert "is not finished: run the table again." in printed
    assert not (fusion.folder(out) / "result.json").exists()
    assert one.make(out)[0] == 0 and fusion.make(out)[0] == 0
    found = results(out)
    assert len(found) == 2 and len({run["top1"] for run in found.values()}) == 1


def test_a_truncated_checkpoint_costs_an_epoch(
    one: OneRun, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    (one.folder(out) / "result.json").unlink()
    last = one.folder(out) / "last.ckpt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    failed, printed = one.make(out)
    assert failed == 0 and f"{last} is damaged" in printed
    assert printed.count("· epoch") == 1 and "epoch 4/4" in printed
    assert results(out) == results(undisturbed)


@pytest.mark.parametrize("writes", [1, 2, 4, 5, 6, 10])
def test_a_full_disk_at_any_write_is_mended_by_the_same_command(
    one: OneRun,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
) -> None:
    """spec.json, four times a checkpoint and the curve, and result.json are written; the disk is
    full from one on."""
    out = tmp_path / "out"
    done = 0

    def sync(descriptor: int) -> None:
        nonlocal done
        done += 1
        if done >= writes:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("repflow_pl.files.os.fsync", sync)
        with pytest.raises(UserError, match=r"No space left.*finished work is kept"):
            one.make(out)
    assert not results(out)
    assert not list(out.rglob("*.part"))
    failed, printed = one.make(out)
    assert failed == 0 and printed.count("· epoch") == 4 - (writes - 1) // 2
    assert results(out) == results(undisturbed)


def test_two_sweeps_at_once_make_a_run_once(one: OneRun, undisturbed: Path, tmp_path: Path) -> None:
    """Both find it undone and start; threads stand for processes, whose locks are the same."""
    out = tmp_path / "out"
    lock = threading.Event()
    made: list[tuple[int, str]] = []

    def other() -> None:
        lock.wait()
        made.append(one.make(out))

    second = threading.Thread(target=other)
    second.start()
    machine = Machine(out, console=_Telling(lock))
    assert launch([one.job], [one.videos], machine) == []
    second.join()
    assert made == [(0, "waiting for runs that another sweep is making\n[1/1] rgb · seed 0 · "
                        "done by another sweep\n")]  # fmt: skip
    assert results(out) == results(undisturbed)


class _Telling(Told):
    """Sets an event when the first line is printed."""

    def __init__(self, event: threading.Event) -> None:
        super().__init__()
        self.event = event

    def print(self, *objects: Any, **options: Any) -> None:
        self.event.set()


def test_a_process_makes_one_run_after_the_other(
    one: OneRun, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is the one that it is in a process of its own."""
    started: list[Any] = []
    start = processes.start
    monkeypatch.setattr(
        processes, "start", lambda *order: started.append(start(*order)) or started[-1]
    )
    model = ModelSpec("narrow", flow=FlowSpec(after_block=3, n_iter=2))
    first = dataclasses.replace(
        one.job, spec=dataclasses.replace(one.job.spec, model=model), seed=1
    )
    machine = Machine(tmp_path, console=Told())
    assert make_all([first, one.job], [one.videos], machine, processes.Processes([{}])) == []
    (process,) = started
    assert process.returncode is not None, "it was ended with the sweep"
    both = results(tmp_path)
    assert len(both) == 2 and both.items() >= results(undisturbed).items()


def test_a_run_whose_loader_is_killed_goes_on(
    one: OneRun, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a machine without memory, in the sweep's own process."""
    monkeypatch.setattr(ClipDataset, "cached", False)
    monkeypatch.setattr(module, "MOST_WORKERS", 1)
    step, killed = VideoClassifier.training_step, list[str]()

    def killing(network: VideoClassifier, batch: Any, batch_index: int) -> Any:
        if network.current_epoch == 2 and not killed:
            for loader in multiprocessing.active_children():  # one trains, one validates
                loader.kill()
                loader.join()
                killed.append(loader.name)
        return step(network, batch, batch_index)

    monkeypatch.setattr(VideoClassifier, "training_step", killing)
    failed, printed = one.make(tmp_path)
    assert killed and failed == 0, printed
    assert printed.count("it goes on from its checkpoint") == 1
    assert printed.count("· epoch") == 4, "only the epoch that was lost is made again"
    assert results(tmp_path) == results(undisturbed)


# --- one run, of two processes


@pytest.fixture(scope="module")
def undisturbed_pair(one: OneRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pair")
    failed, printed = sweep([one.job], one.videos, out, devices=2)
    assert not failed, printed
    return out


class _Killing(Told):
    """Ends the second process of the run with SIGKILL, once, when the second epoch is told of."""

    killed = False

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        if "epoch 2/4" in str(objects[0]) and not self.killed:
            (first,) = children(os.getpid())
            (second,) = children(first)
            os.kill(second, signal.SIGKILL)
            self.killed = True


def test_a_run_that_loses_one_of_its_processes_goes_on(
    one: OneRun, undisturbed_pair: Path, tmp_path: Path
) -> None:
    """The other one has an error of a broken connection, which is not the run's."""
    console = _Killing()
    machine = Machine(tmp_path, devices=2, console=console)
    assert launch([one.job], [one.videos], machine) == [], console.printed
    assert console.killed
    assert console.printed.count("it goes on from its checkpoint") == 1
    assert results(tmp_path) == results(undisturbed_pair)


FAILS_ALONE = """
import os
if os.environ.get("LOCAL_RANK") == "1":
    from repflow_pl.training.module import VideoClassifier
    step = VideoClassifier.training_step
    def failing(network, batch, batch_index):
        if network.current_epoch == 1:
            raise RuntimeError("the second process's own")
        return step(network, batch, batch_index)
    VideoClassifier.training_step = failing
"""


def test_a_run_fails_by_what_only_its_second_process_met(
    one: OneRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason is told, not that of the first process, which loses the connection by it."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(FAILS_ALONE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "path"), str(CHECKOUT)]))
    (failed,), printed = sweep([one.job], one.videos, tmp_path / "out", devices=2)
    assert failed.reason == "RuntimeError: the second process's own"
    assert printed.count("FAILED: RuntimeError: the second process's own") == 1
    assert "in failing" in failed.log.read_text()


# --- whole sweeps, as a user starts them


class Sweep:
    """`python experiments/table_placement.py`: a network on RGB, one on TV-L1, and both."""

    def __init__(self, videos: Path, cache: Path, out: Path, seeds: int = 1) -> None:
        self.out = out
        script = CHECKOUT / "experiments" / "table_placement.py"
        self.command = [
            *(sys.executable, str(script), "--data", "folder", "--data-root", str(videos)),
            *("--out", str(out), "--wandb", "disabled", "--devices", "2"),
            *("--rows", "RGB CNN,Two-stream CNN", "--seeds", str(seeds)),
        ]
        self.environment = {**os.environ, "REPFLOW_CACHE": str(cache), "COLUMNS": "200"}

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command,
            env=self.environment,
            cwd=CHECKOUT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self) -> tuple[int, str]:
        process = self.start()
        output = process.communicate(timeout=900)[0]
        return process.returncode, output

    def table(self) -> list[tuple[str, ...]]:
        """The table's accuracies, of every row."""
        (path,) = self.out.glob("tables/yours/folder-*/placement.csv")
        with path.open(encoding="utf-8") as stream:
            return [
                tuple(row[name] for name in ("row", "state", "top1", "clip_top1", "videos_test"))
                for row in csv.DictReader(stream)
            ]


def children(pid: int) -> list[int]:
    """The workers of a sweep."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True
    )
    lines = [line for line in listed.stdout.splitlines() if "launching.worker" in line]
    return [int(line.split()[0]) for line in lines]


@pytest.fixture(scope="module")
def quiet(
    video_folder: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Sweep:
    """An undisturbed sweep."""
    made = Sweep(video_folder, shared_cache, tmp_path_factory.mktemp("quiet"))
    status, output = made.run()
    assert status == 0, output
    assert len(results(made.out)) == 3
    return made


def same(one: Sweep, other: Sweep) -> None:
    assert results(one.out) == results(other.out)
    assert one.table() == other.table()


@pytest.mark.slow
def test_workers_killed_at_random_moments(
    quiet: Sweep, video_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    """While starting, training, saving or testing: the sweep goes on by itself, or by the same
    command."""
    rng = random.Random(0)
    killed = Sweep(video_folder, shared_cache, tmp_path)
    moments: list[str] = []

    def kill_one(sweep: int, moment: str) -> None:
        workers = children(sweep)
        if workers and moments.count(moment) < 5:
            moments.append(moment)
            os.kill(rng.choice(workers), signal.SIGKILL)

    def watch(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if "· epoch" in line and rng.random() < 0.3:
                time.sleep(rng.uniform(0, 0.2))
                kill_one(process.pid, "training")

    for _ in range(12):
        process = killed.start()
        watcher = threading.Thread(target=watch, args=(process,), daemon=True)
        watcher.start()
        while process.poll() is None:
            time.sleep(rng.uniform(5, 40))
            kill_one(process.pid, "any")
        watcher.join()
        if process.returncode == 0:
            break
    assert process.returncode == 0
    assert len(moments) >= 5 and "training" in moments, moments
    same(killed, quiet)


@pytest.mark.slow
def test_a_killed_sweep_takes_its_workers_along(
    quiet: Sweep, video_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    killed = Sweep(video_folder, shared_cache, tmp_path)
    process = killed.start()
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 3/10" in line:
            break
    workers = children(process.pid)
    assert workers
    process.kill()
    process.communicate(timeout=60)  # ends when nobody has its output open any more
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its sweep"
        time.sleep(0.2)
    status, output = killed.run()
    assert status == 0, output
    same(killed, quiet)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_a_sweep_that_is_asked_to_end_ends_in_seconds(
    quiet: Sweep, video_folder: Path, shared_cache: Path, tmp_path: Path, how: signal.Signals
) -> None:
    asked = Sweep(video_folder, shared_cache, tmp_path)
    process = asked.start()
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 3/10" in line:
            break
    workers = children(process.pid)
    start = time.monotonic()
    process.send_signal(how)
    output = process.communicate(timeout=60)[0]
    assert time.monotonic() - start < 25
    status = {signal.SIGINT: 130, signal.SIGTERM: 143}[how]
    assert process.returncode == status and "interrupted: run the same command again" in output
    assert "Traceback" not in output
    assert workers and not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert list(tmp_path.rglob("last.ckpt")) and not list(tmp_path.rglob("error.txt"))
    status, output = asked.run()
    assert status == 0, output
    same(asked, quiet)


@pytest.mark.slow
def test_two_sweeps_on_one_folder_share_the_work(
    quiet: Sweep, video_folder: Path, shared_cache: Path, tmp_path: Path
) -> None:
    both = [Sweep(video_folder, shared_cache, tmp_path) for _ in range(2)]
    processes = [each.start() for each in both]
    outputs = [process.communicate(timeout=900)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    trained = re.findall(r"\] (.*) · seed \d · epoch 10/10", "\n".join(outputs))
    assert sorted(trained) == ["RGB CNN", "Two-stream CNN: part 2"], "each is trained once"
    same(both[0], quiet)
