"""Sweeps on a real Slurm: its daemons are started on this machine where they are installed.

On Debian: apt-get install slurm-wlm munge. Neither is set up: all files are in a temporary folder.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
MISSING = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=2000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """A controller and a node, both this machine."""

    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """Run a program of Slurm's; what it printed."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout.strip()

    def jobs(self) -> list[tuple[str, str]]:
        """(id, state) of those that wait or run."""
        listed = self.ask("squeue", "--array", "--noheader", "--format=%i %T").splitlines()
        return [(line.split()[0], line.split()[1]) for line in listed]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    host = socket.gethostname().split(".")[0]
    configuration = CONFIGURATION.format(folder=folder, host=host, user=user, ports=free_ports(2))
    (folder / "slurm.conf").write_text(configuration)
    # devices that are on every machine stand for two GPUs; no program finds a GPU in them
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
    made = Cluster(environment)
    files = [f"--{name}={folder}/munge.{name.removesuffix('-file')}" for name in
             ("key-file", "socket", "pid-file", "log-file", "seed-file")]  # fmt: skip
    with ExitStack() as stack:
        for command in (["munged", "--foreground", "--force", *files],
                        ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-c"]):  # fmt: skip
            log = stack.enter_context((folder / f"{command[0]}.txt").open("w"))
            daemon = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            stack.callback(daemon.wait)
            stack.callback(daemon.terminate)
            if command[0] == "munged":
                wait_for((folder / "munge.socket").exists, log.name)
        wait_for(lambda: made.ask("sinfo", "-h", "-o", "%T") == "idle", log.name)
        yield made
        made.ask("scancel", "--user", user)
        wait_for(lambda: not made.jobs(), log.name)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            found.append(listening.getsockname()[1])
    return found


def wait_for(condition: Callable[[], bool], else_see: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, else_see
        time.sleep(0.5)


@dataclass(frozen=True)
class Script:
    """`python experiments/table_placement.py`, on the cluster or here."""

    out: Path
    videos: Path
    environment: dict[str, str]

    def start(self, *options: str) -> subprocess.Popen[str]:
        script = CHECKOUT / "experiments" / "table_placement.py"
        data = ("--data", "folder", "--data-root", str(self.videos))
        out = ("--out", str(self.out), "--wandb", "disabled")
        return subprocess.Popen(
            [sys.executable, str(script), *data, *out, *options],
            env=self.environment,
            cwd=CHECKOUT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def accuracies(self) -> list[tuple[str, ...]]:
        (path,) = self.out.glob("tables/yours/folder-*/placement.csv")
        with path.open(encoding="utf-8") as stream:
            return [
                tuple(row[name] for name in ("row", "state", "top1", "clip_top1", "videos_test"))
                for row in csv.DictReader(stream)
            ]

    def losses(self) -> dict[str, float]:
        found: dict[str, Any] = {}
        for path in sorted(self.out.glob("runs/*/seed*/result.json")):
            found[path.parent.parent.name] = json.loads(path.read_text())["train_loss"]
        return found


SLURM = ("--launcher", "slurm", "--slurm.cpus", "1", "--slurm.mem", "900MB")


@pytest.fixture
def script(cluster: Cluster, more_videos: Path, shared_cache: Path, tmp_path: Path) -> Script:
    environment = {
        **cluster.environment,
        "REPFLOW_CACHE": str(shared_cache),
        "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",  # as a job of one core has: the last bits depend on it
    }
    return Script(tmp_path / "out", more_videos, environment)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What it printed up to a line with this text."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(read)


def test_a_sweep_whose_job_is_taken_away_gives_the_local_table(
    script: Script, cluster: Cluster, tmp_path: Path
) -> None:
    """Networks on RGB and on TV-L1 as an array, then both; the first is queued again while it
    trains."""
    rows = ("--rows", "RGB CNN,Two-stream CNN")
    process = script.start(*SLURM, *rows)
    printed = read_until(process, "RGB CNN · seed 0 · epoch 1/10")
    job = next(
        line.split()[-1] for line in printed.splitlines() if "RGB CNN · seed 0 · job" in line
    )
    assert job.endswith("_0"), "the runs are tasks of an array"
    cluster.ask("scancel", "--signal=USR2", job)
    wait_for(lambda: (job, "PENDING") in cluster.jobs(), printed)
    time.sleep(5)  # Slurm refuses the new start's credential within the second of the old one's end
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")  # else after two minutes
    rest = process.communicate(timeout=900)[0]
    assert process.returncode == 0, printed + rest
    assert (printed + rest).count("RGB CNN · seed 0 · epoch 2/10") == 1
    log = (script.out / "runs" / "slurm" / f"{job}_0_log.out").read_text()
    assert log.count("Loading pickle") == 2 and log.count("epoch 1/10") == 1

    here = Script(tmp_path / "here", script.videos, script.environment)
    local = here.start(*rows)
    printed = local.communicate(timeout=900)[0]
    assert local.returncode == 0, printed
    assert script.accuracies() == here.accuracies()
    assert script.losses() == here.losses() and len(here.losses()) == 3


def test_a_cancelled_job_is_a_failure_of_its_own(script: Script, cluster: Cluster) -> None:
    process = script.start(*SLURM, "--rows", "RGB CNN,After block 3")
    printed = read_until(process, "After block 3 · seed 0 · job")
    job = printed.splitlines()[-1].split()[-1]
    cluster.ask("scancel", job)
    printed += process.communicate(timeout=900)[0]
    assert process.returncode == 1, printed
    (said,) = [line for line in printed.splitlines() if line.startswith("FAILED After block 3")]
    assert f"seed 0: job {job} ended (" in said and "before it got any further" in said
    assert "Traceback" not in printed
    states = {row[0]: row[1] for row in script.accuracies()}
    assert states["RGB CNN"] == "done" and states["After block 3"] != "done"


def test_ctrl_c_cancels_the_jobs(script: Script, cluster: Cluster) -> None:
    process = script.start(*SLURM, "--rows", "RGB CNN", "--seeds", "3", "--devices", "1")
    printed = read_until(process, "seed 0 · epoch 1/10")
    assert [state for _, state in cluster.jobs()].count("RUNNING") == 1, "--devices 1"
    process.send_signal(signal.SIGINT)
    printed += process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "3 jobs are cancelled" in printed, printed
    wait_for(lambda: not cluster.jobs(), printed)


def test_a_refused_job_is_one_sentence(script: Script) -> None:
    process = script.start(*SLURM, "--rows", "RGB CNN", "--slurm.partition", "nowhere")
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 2
    (error,) = (line for line in printed.splitlines() if line.startswith("error:"))
    assert "invalid partition specified: nowhere" in error and "Traceback" not in printed
