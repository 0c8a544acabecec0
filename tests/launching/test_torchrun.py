"""torchrun: all processes train a run together; the first makes the tables."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from torch.distributed import HashStore

from repflow_pl.data.decoding.decode import VARIABLE
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.ending import descendants
from repflow_pl.errors import UserError
from repflow_pl.launching import torchrun
from repflow_pl.launching.order import Order, order_of, to_json
from repflow_pl.launching.torchrun import END, THROUGH, Leader, attempt, follow
from repflow_pl.profiles import build_profile
from repflow_pl.specs import DataSpec
from repflow_pl.training.planning.jobs import Job
from repflow_pl.training.planning.machine import Machine
from repflow_pl.training.planning.ranks import is_main_process, world
from repflow_pl.training.recording.curve import read_curve

CHECKOUT = Path(__file__).parents[2]


def started(monkeypatch: pytest.MonkeyPatch, **variables: object) -> None:
    """As a process that torchrun started."""
    for name, value in {"TORCHELASTIC_RUN_ID": "x", **variables}.items():
        monkeypatch.setenv(name, str(value))


def test_the_first_process_of_the_first_machine_is_the_main_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started(monkeypatch, RANK=8, LOCAL_RANK=0)
    assert not is_main_process()
    started(monkeypatch, RANK=0)
    assert is_main_process()
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("LOCAL_RANK", "1")  # one that Lightning started
    assert not is_main_process()


def test_machines_with_unequal_counts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, WORLD_SIZE=16, LOCAL_WORLD_SIZE=8, GROUP_WORLD_SIZE=2)
    assert world() == (8, 2)
    started(monkeypatch, WORLD_SIZE=12)
    with pytest.raises(UserError, match="as many processes on each machine"):
        world()


class Told:
    """What the first process says, in the place of its store."""

    def __init__(self, *said: str) -> None:
        self.said = said
        self.through = 0

    def add(self, name: str, amount: int) -> int:
        self.through += amount
        return self.through

    def check(self, names: list[str]) -> bool:
        return True

    def get(self, name: str) -> bytes:
        return self.said[int(name)].encode()


@pytest.mark.long
def test_the_others_decode_as_the_first_process_does(
    video_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    monkeypatch.setenv(VARIABLE, "decord")  # there: by --decoder
    videos = open_set("folder", video_folder)
    spec = build_profile("demo", "folder").rgb(DataSpec("folder", fingerprint=videos.fingerprint))
    job = Job("t", "row", spec, 0)
    order = order_of(job, [job], [videos], Machine(tmp_path), runs_after=0)

    monkeypatch.setenv(VARIABLE, "pyav")  # here: nobody said otherwise
    started(monkeypatch, WORLD_SIZE=2, LOCAL_WORLD_SIZE=2, GROUP_WORLD_SIZE=1)
    decoders: list[str] = []

    def run(job: Job, video_set: VideoSet, *rest: object) -> None:
        decoders.append(os.environ[VARIABLE])

    told = Told(to_json(order), f"{END} 0")
    monkeypatch.setattr(torchrun, "_store", lambda: told)
    monkeypatch.setattr(torchrun, "run", run)
    assert follow() == 0
    assert decoders == ["decord"] and told.through == 1


def test_no_run_begins_while_others_are_in_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would mix with what they wait for there."""
    started(monkeypatch, WORLD_SIZE=2, LOCAL_WORLD_SIZE=2, GROUP_WORLD_SIZE=1)
    monkeypatch.setattr(torchrun, "_store", HashStore)
    monkeypatch.setattr(torchrun, "LEAVING", 0.3)
    spec = build_profile("demo", "folder").rgb(DataSpec("folder"))
    here = str(tmp_path)
    order = Order(
        Job("t", "row", spec, 0), 1, "[1/1]", 0, "folder", here, "pyav", here, 1, "disabled"
    )
    leader = Leader()
    leader.begin(order)
    with pytest.raises(UserError, match="ended in the first process alone"):
        leader.begin(order)
    leader.store.add(THROUGH, 1)
    leader.begin(order)
    assert leader.begun == 2


def test_an_attempt_has_a_name_of_its_own_that_all_processes_know() -> None:
    """The store keeps what those of earlier attempts said, and its first process may be the first
    to be there or the last."""
    store = HashStore()

    def name(rank: int, seconds: float) -> str:
        time.sleep(seconds)
        return attempt(store, rank, processes=3)

    found = []
    for first, others in ((0.0, 0.3), (0.3, 0.0), (0.0, 0.3)):
        with ThreadPoolExecutor(3) as pool:
            (one,) = set(pool.map(name, range(3), (first, others, others)))
        found.append(one)
    assert len(set(found)) == 3


class Script:
    """`experiments/table_placement.py` on RGB, on TV-L1 and on both."""

    def __init__(self, videos: Path, cache: Path, out: Path) -> None:
        self.out = out
        self.arguments = [
            *(str(CHECKOUT / "experiments" / "table_placement.py"), "--data", "folder"),
            *("--data-root", str(videos), "--out", str(out), "--wandb", "disabled"),
            *("--rows", "RGB CNN,Two-stream CNN"),
        ]
        self.environment = {**os.environ, "REPFLOW_CACHE": str(cache), "OMP_NUM_THREADS": "1"}

    def start(self, *command: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command, *self.arguments, *options],
            env=self.environment,
            cwd=CHECKOUT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def results(self) -> dict[str, int]:
        """How many videos each run was tested on, by its name."""
        return {
            path.parent.parent.name: json.loads(path.read_text())["videos_test"]
            for path in sorted(self.out.glob("runs/*/seed*/result.json"))
        }

    def losses(self) -> dict[str, list[float]]:
        """Of every epoch of each run that was trained, by its name."""
        return {
            path.parent.parent.name: [epoch.train_loss for epoch in read_curve(path)]
            for path in sorted(self.out.glob("runs/*/seed*/curve.csv"))
        }


@pytest.fixture
def script(more_videos: Path, shared_cache: Path, tmp_path: Path) -> Script:
    return Script(more_videos, shared_cache, tmp_path / "out")


@pytest.mark.slow
def test_two_machines_end_with_the_losses_of_one_process(
    script: Script, more_videos: Path, shared_cache: Path, tmp_path: Path
) -> None:
    """Two agents of torchrun meet at a port, as on two machines, and train three runs. One of them
    finds no readable checkpoint: it fails alone, and is made by the same command later."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    rendezvous = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}")
    torchrun = ("-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1")

    def both() -> tuple[list[int], str]:
        agents = [script.start(*torchrun, *rendezvous) for _ in range(2)]
        with ThreadPoolExecutor() as pool:  # each is read all the time, or it would be held up
            printed = list(pool.map(lambda agent: agent.communicate(timeout=900)[0], agents))
        return [agent.returncode for agent in agents], "\n".join(printed)

    alone = Script(more_videos, shared_cache, tmp_path / "alone")
    one = alone.start()
    said = one.communicate(timeout=900)[0]
    assert one.returncode == 0, said

    folders = sorted(path.parent for path in alone.out.glob("runs/*/seed0/last.ckpt"))
    broken = script.out / folders[0].relative_to(alone.out)
    broken.mkdir(parents=True)
    for name in ("last.ckpt", "previous.ckpt"):
        (broken / name).write_bytes(b"no checkpoint")
    statuses, printed = both()
    assert any(statuses) and printed.count("· epoch 10/10") == 1, printed
    assert len(script.results()) == 1, "the other run, but not what needs both"
    assert len(list(script.out.glob("tables/yours/folder-*/placement.md"))) == 1

    for name in ("last.ckpt", "previous.ckpt"):
        (broken / name).unlink()
    statuses, printed = both()
    assert statuses == [0, 0], printed
    assert printed.count("wrote") == 2, "one process writes the tables"
    assert script.results() == alone.results() and len(alone.results()) == 3
    # Each process sums up its own part of a batch, and what rounding makes of it grows with every
    # step: to 0.7 % in the tenth epoch, which is a test video now and then.
    losses = alone.losses()
    assert losses.keys() == script.losses().keys() and len(losses) == 2
    for name, found in script.losses().items():
        assert found == pytest.approx(losses[name], rel=0.03)


@pytest.mark.slow
def test_after_a_lost_process_torchruns_restart_goes_on(script: Script) -> None:
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1")
    agent = script.start(*torchrun)
    assert agent.stdout is not None
    printed = ""
    for line in agent.stdout:
        printed += line
        if "epoch 2/10" in line and "closing signal" not in printed:
            (second,) = (
                pid
                for pid in descendants(agent.pid)
                if "RANK=1" in Path(f"/proc/{pid}/environ").read_text().split("\0")
            )
            os.kill(second, signal.SIGKILL)
    assert agent.wait(timeout=60) == 0, printed
    assert "closing signal SIGTERM" in printed, "the first process was ended too"
    assert printed.count("epoch 10/10") == 2 and len(script.results()) == 3


@pytest.mark.slow
def test_torchrun_says_how_many(script: Script) -> None:
    process = script.start(
        *("-m", "torch.distributed.run", "--nproc-per-node", "2"), options=("--devices", "2")
    )
    printed = process.communicate(timeout=300)[0]
    assert process.returncode != 0
    assert printed.count("error: torchrun says how many processes make a run") == 1
