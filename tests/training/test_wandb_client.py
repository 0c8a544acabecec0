"""W&B that fails, with its real client and a server of this machine, costs seconds and no run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repflow_pl.training.following import wandb_client
from repflow_pl.training.following.wandb_client import LEFT_OUT
from repflow_pl.training.following.wandb_logger import SparingLogger
from tests.wandb_server import Failure, Server, serving

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds that all steps together may take on a busy machine: W&B's client by itself waits for 90
to begin a run, and for ever to end one."""

SCRIPT = """
import json, os, sys, time
from pathlib import Path

from repflow_pl.training.following import tracking, wandb_client

out, file, took = Path("out"), Path("facts.json"), {}
out.mkdir()
file.write_text("{}")

def step(name, function, *arguments, **options):
    start = time.monotonic()
    value = function(*arguments, **options)
    took[name] = time.monotonic() - start
    return value

mode = step("mode", tracking.wandb_mode, json.loads(sys.argv[1]))
inherited = "WANDB_SERVICE" in os.environ
for name in ("first", "second"):
    run = step(f"{name} begins", wandb_client.start, mode, out, name, project="repflow")
    run.log({"early_loss": 1.0})
    if name == "first":
        print("amid the first run", flush=True)
        sys.stdin.readline()
    run.log({"late_loss": 1.0})
    step(f"{name} ends", wandb_client.finish, run)
step("table", tracking.log_table, "short", "folder", [file], [file], out, mode)
print(json.dumps({"mode": mode, "inherited": inherited, "took": took}))
"""

# Lightning's logger, whose process of W&B's is ended amid a run.
ENDED = """
import os, signal, subprocess, time
from pathlib import Path

from repflow_pl.profiles import build_profile
from repflow_pl.specs import DataSpec
from repflow_pl.training.following import tracking
from repflow_pl.training.planning.jobs import Job

spec = build_profile("demo", "folder").flow_after(DataSpec("folder"), 3, n_iter=2)
for seed in (0, 1):
    with tracking.tracked(Job("t", "row", spec, seed), Path("out"), "offline") as logger:
        logger.log_metrics({"early_loss": 1.0}, 1)
        if seed == 0:
            core = int(subprocess.check_output(["pgrep", "-P", str(os.getpid()), "wandb-core"]))
            os.kill(core, signal.SIGKILL)
            time.sleep(1)
        for step in (2, 3, 4):
            logger.log_metrics({"late_loss": 1.0}, step)
print("trained")
"""


@dataclass(frozen=True)
class Case:
    """A server: how it fails from the beginning, or only later, and what is asked for there."""

    failure: Failure | None = None
    tells_the_user: bool = False
    later: Failure | None = None
    asked: str | None = "online"
    key: bool = True

    def __str__(self) -> str:
        return f"{self.failure}-{'runs' if self.tells_the_user else 'all'}-{self.later}"


SLOW = pytest.mark.slow
DELETED = Case(404, tells_the_user=True)
FROM_THE_BEGINNING = [
    Case("silent"),
    Case(500, tells_the_user=True),
    DELETED,
    pytest.param(Case("refused"), marks=SLOW),
    pytest.param(Case(500), marks=SLOW),
    pytest.param(Case("silent", tells_the_user=True), marks=SLOW),
    pytest.param(Case(409, tells_the_user=True), marks=SLOW),
    pytest.param(Case(410, tells_the_user=True), marks=SLOW),
]
LATER = [
    Case(later="silent"),
    pytest.param(Case(later="refused"), marks=SLOW),
    pytest.param(Case(later=500), marks=SLOW),
]


@dataclass(frozen=True)
class Outcome:
    folder: Path
    server: Server
    mode: str
    inherited: bool
    """Whether other processes would use this one's connection to W&B."""
    took: dict[str, float]
    said: list[str]
    """Lines on standard error."""

    def asked_for(self, run: str) -> bool:
        """Whether the server was asked anything of a run."""
        return any(f'"{run}"' in body for _, body in self.server.asked)

    def logged(self, pattern: str) -> bytes:
        """What lies on the disk of the only run whose folder has such a name."""
        (path,) = (self.folder / "out" / "wandb").glob(f"{pattern}/*.wandb")
        return path.read_bytes()


def environment(home: Path, server: Server, key: bool = True) -> dict[str, str]:
    """Of somebody who has set nothing but the server and a key for it."""
    plain = {name: text for name, text in os.environ.items() if not name.startswith("WANDB_")}
    given = server.environment if key else {"WANDB_BASE_URL": server.environment["WANDB_BASE_URL"]}
    return {**plain, **given, "HOME": str(home), "PYTHONPATH": str(CHECKOUT)}


def made(case: Case, folder: Path) -> Outcome:
    """Two runs and a table, with the client in a process of its own."""
    with serving(case.failure, case.tells_the_user) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(case.asked)],
            cwd=folder,
            env=environment(folder, server, case.key),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        if case.later is not None:
            server.fail(case.later)
        printed, said = process.communicate("\n", timeout=200)
    assert process.returncode == 0, said
    told: dict[str, Any] = json.loads(printed)
    return Outcome(folder, server, said=said.splitlines(), **told)


@pytest.fixture(scope="module")
def deleted(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return made(DELETED, tmp_path_factory.mktemp("deleted"))


@pytest.mark.long
@pytest.mark.parametrize("case", FROM_THE_BEGINNING, ids=str)
def test_runs_go_on_offline_where_it_fails_from_the_beginning(
    case: Case, deleted: Outcome, tmp_path: Path
) -> None:
    outcome = deleted if case is DELETED else made(case, tmp_path)
    assert sum(outcome.took.values()) < PATIENCE, outcome.took
    assert not outcome.asked_for("second") and not outcome.asked_for("table-folder-short")
    (said,) = outcome.said
    assert said.startswith(LEFT_OUT)
    for name in ("first", "second"):
        logged = outcome.logged(f"offline-run-*-{name}")
        assert b"early_loss" in logged and b"late_loss" in logged
    assert b"table-folder-short" in outcome.logged("offline-run-*-table-folder-short")


@pytest.mark.long
@pytest.mark.parametrize("case", LATER, ids=str)
def test_a_run_goes_on_where_it_fails_later(case: Case, tmp_path: Path) -> None:
    outcome = made(case, tmp_path)
    assert outcome.mode == "online"
    assert sum(outcome.took.values()) < PATIENCE, outcome.took
    assert outcome.asked_for("first")
    assert not outcome.asked_for("second") and not outcome.asked_for("table-folder-short")
    (said,) = outcome.said
    assert said.startswith(LEFT_OUT)
    logged = outcome.logged("run-*-first")
    assert b"early_loss" in logged and b"late_loss" in logged
    assert b"late_loss" in outcome.logged("offline-run-*-second")


@pytest.mark.long
@pytest.mark.parametrize("asked", [None, "online"])
def test_runs_are_online_where_it_answers(asked: str | None, tmp_path: Path) -> None:
    outcome = made(Case(asked=asked), tmp_path)
    assert outcome.mode == "online" and outcome.said == []
    assert not list((tmp_path / "out" / "wandb").glob("offline-*"))
    sent = "".join(body for path, body in outcome.server.asked if "first/file_stream" in path)
    assert "early_loss" in sent and "late_loss" in sent
    assert not outcome.inherited


@pytest.mark.long
@pytest.mark.parametrize("asked", [None, "online"])
def test_without_a_login_runs_are_offline_and_it_is_said_to_who_wants_them_online(
    asked: str | None, tmp_path: Path
) -> None:
    outcome = made(Case(asked=asked, key=False), tmp_path)
    assert outcome.mode == "offline" and not outcome.server.asked
    assert [line for line in outcome.said if "run `wandb login`" in line] == outcome.said
    assert len(outcome.said) == (asked is not None)


@pytest.mark.long
def test_what_was_made_offline_can_be_sent_later(deleted: Outcome, tmp_path: Path) -> None:
    shutil.copytree(deleted.folder, tmp_path, dirs_exist_ok=True)
    (run,) = (tmp_path / "out" / "wandb").glob("offline-run-*-first")
    with serving() as server:
        subprocess.run(
            [sys.executable, "-m", "wandb", "sync", str(run)],
            cwd=tmp_path,
            env=environment(tmp_path, server),
            check=True,
            capture_output=True,
            timeout=120,
        )
    sent = "".join(body for path, body in server.asked if "first/file_stream" in path)
    assert "early_loss" in sent and "late_loss" in sent


@SLOW
def test_a_training_survives_the_end_of_the_process_beside_it(tmp_path: Path) -> None:
    with serving() as server:
        done = subprocess.run(
            [sys.executable, "-c", ENDED],
            cwd=tmp_path,
            env=environment(tmp_path, server),
            capture_output=True,
            text=True,
            timeout=200,
        )
    assert done.returncode == 0 and done.stdout == "trained\n", done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith(LEFT_OUT)
    (second,) = (tmp_path / "out" / "wandb").glob("offline-run-*-seed1/*.wandb")
    assert b"late_loss" in second.read_bytes()


def test_an_error_of_the_client_amid_a_training_is_said_once_and_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(wandb_client, "_left_out", False)
    run = wandb_client.client().init(mode="disabled")
    monkeypatch.setattr(run, "log", lost)
    logger = SparingLogger(experiment=run)
    for step in (1, 2):
        logger.log_metrics({"loss": 1.0}, step)
        logger.log_image("picture", [np.zeros((4, 4, 3), np.uint8)], step)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{LEFT_OUT} (Connection lost)")
    assert wandb_client.usable("online") == "offline"


@pytest.mark.parametrize(
    "failure", [pytest.param(each, marks=SLOW) for each in ("silent", "refused", 500)]
)
def test_results_are_not_brought_from_where_nobody_answers(
    failure: Failure, tmp_path: Path
) -> None:
    with serving(failure) as server:
        done = subprocess.run(
            [sys.executable, "-m", "repflow_pl.report", "wandb", "lab/repflow"],
            cwd=tmp_path,
            env=environment(tmp_path, server),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2 and done.stdout == ""
    (said,) = done.stderr.splitlines()
    assert said.startswith("error: W&B cannot be asked (no good answer within")


def test_a_run_waits_ten_seconds_at_most_at_either_end() -> None:
    assert wandb_client.START + wandb_client.CLOSE <= 10
    assert wandb_client.FINISH + wandb_client.CLOSE <= 10


@pytest.mark.long
def test_nobody_waits_for_a_process_of_wandb_that_does_not_end(tmp_path: Path) -> None:
    said = tmp_path / "said"  # a pipe would be held open by that process
    with serving("silent") as server, said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "repflow_pl.report", "wandb", "lab/repflow"],
            cwd=tmp_path,
            env=environment(tmp_path, server),
            stdout=file,
            stderr=file,
        )
        while not server.asked and process.poll() is None:
            time.sleep(0.05)
        core = int(subprocess.check_output(["pgrep", "-P", str(process.pid), "wandb-core"]))
        os.kill(core, signal.SIGSTOP)  # whatever it may wait for at its end
        try:
            assert process.wait(60) == 2
        finally:
            process.kill()
            os.kill(core, signal.SIGKILL)
    (line,) = said.read_text().splitlines()
    assert line.startswith("error: W&B cannot be asked (no good answer within")
