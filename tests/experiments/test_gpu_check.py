"""The command for machines with a GPU: its steps, failures and times, where there is none."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import bench.gpu
import bench.kernels
import bench_flow
import bench_training
import gpu_check
import pytest
import table_runtime
import torch
from bench.cells import Cell
from gpu_check import Step

from repflow_pl.errors import TERMINATED, terminate
from repflow_pl.ops import flow_cuda
from repflow_pl.ops.flow_cuda_tiling import Gpu
from repflow_pl.options import parse
from repflow_pl.tables import NOT_TIMED
from tests.programs import CHECKOUT


def test_all_steps_take_eight_minutes_at_most(tmp_path: Path) -> None:
    assert sum(step.limit for step in gpu_check.steps(tmp_path)) <= 480


def test_tables_are_asked_for_as_their_scripts_understand(tmp_path: Path) -> None:
    of = {step.name: list(step.command[1:]) for step in gpu_check.steps(tmp_path)}
    assert parse(bench_flow.Options, of["flow_cuda"]).device == "cuda"
    assert parse(bench_training.Options, of["training_cuda"]).device == "cuda"
    assert parse(table_runtime.Options, of["runtime"], skip=NOT_TIMED).out == tmp_path


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments in ([], ["--step", "checks"]):
        assert gpu_check.main(arguments) == 2
        assert "there is no GPU" in capsys.readouterr().err
    assert gpu_check.main(["--stap", "checks"]) == 2
    assert "--step" in capsys.readouterr().err


@pytest.mark.long
def test_its_own_commands_need_torch_alone() -> None:
    heavy = {"jsonargparse", "pytest", "lightning", "pandas", "matplotlib", "scipy", "torchvision"}
    code = (
        "import gpu_check, bench.gpu, bench.kernels, tests.ops.gpu_checks as g, sys;"
        "[*g.checks('triton')]; print(*{name.split('.')[0] for name in sys.modules})"
    )
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "experiments")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(done.stdout.split()) & heavy


def test_one_step_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[list[str]] = []

    def note(steps: list[Step]) -> int:
        chosen.append([step.name for step in steps])
        return 0

    monkeypatch.setattr(gpu_check, "run_steps", note)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert gpu_check.main(["--step", "times"]) == gpu_check.main([]) == 0
    assert chosen == [["times"], ["checks", "times", "flow_cuda", "training_cuda", "runtime"]]


def test_a_failed_step_is_said_and_the_others_run(capfd: pytest.CaptureFixture[str]) -> None:
    def step(name: str, code: str, limit: int = 60) -> Step:
        return Step(name, ("-c", code), limit)

    status = gpu_check.run_steps(
        [
            step("wrong", "raise SystemExit('it is wrong')"),
            step("slow", "import time; time.sleep(60)", 1),
            step("elsewhere", "import no_such_package"),
            step("right", "print('a result')"),
        ]
    )
    printed = capfd.readouterr().out
    assert status == 1
    assert "a result" in printed
    for line in (
        r"wrong: FAILED, \d+ s: it is wrong",
        r"slow: FAILED, \d+ s: it took longer than 1 s",
        r"elsewhere: left out, No module named 'no_such_package'",
        r"right: done, \d+ s",
    ):
        assert re.search(line, printed), line
    assert gpu_check.run_steps([step("elsewhere", "import no_such_package")]) == 0


STARTER = """
import subprocess, sys, time
from pathlib import Path
started = subprocess.Popen(["sleep", "60"], start_new_session=True)
Path(sys.argv[1]).write_text(f"{started.pid}\\n")
time.sleep(60)
"""


def test_a_signal_ends_a_step_and_what_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "pid"
    step = Step("times", ("-c", STARTER, str(told)), 60)
    monkeypatch.setattr(gpu_check, "steps", lambda out: [step])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))

    def ask_to_end() -> None:
        while not (told.exists() and told.read_text()):
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, terminate)  # of the tests' own process
    threading.Thread(target=ask_to_end, daemon=True).start()
    try:
        assert gpu_check.main([]) == TERMINATED
    except KeyboardInterrupt:
        pytest.fail("the signal is not its own")
    finally:
        signal.signal(signal.SIGTERM, before)
    started = Path("/proc") / told.read_text().strip() / "cmdline"
    deadline = time.monotonic() + 10
    while started.exists() and started.read_bytes():  # a dead one's is empty
        assert time.monotonic() < deadline, "what the step started goes on"
        time.sleep(0.05)


def test_every_check_runs_whatever_failed_before(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise AssertionError("theta: 1.0e-02")

    checks: list[tuple[str, Callable[[], None]]] = [("a", fail), ("b", lambda: None)]
    assert bench.gpu.count_failures("flow.cu", checks) == 1
    printed = capsys.readouterr().out
    assert "FAILED a: AssertionError: theta: 1.0e-02" in printed
    assert "flow.cu: 1 checks passed, 1 failed" in printed
    assert bench.gpu.count_failures("flow.cu", checks[1:]) == 0


@pytest.mark.long
def test_times_of_both_kernels_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, where its own backend stands for both."""
    machine = flow_cuda.Machine(Gpu(1, 0, 0, clusters=False), lambda *_: True)
    monkeypatch.setattr(flow_cuda, "_machine", lambda device: machine)
    monkeypatch.setattr(bench.kernels, "BUDGET", 0.01)
    said: list[str] = []
    text = bench.kernels.measured_kernels(said.append, (Cell(1, 2, 6, 1),), "cpu")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["pass"], row["kernels"]) for row in rows] == [
        (which, kernels)
        for which in ("forward", "forward + backward")
        for kernels in ("flow.cu", "triton")
    ]
    for row in rows:
        assert 0 < float(row["ms_q25"]) <= float(row["ms_median"]) <= float(row["ms_q75"])
        assert int(row["n"]) >= 3
    assert said == text.splitlines()


def test_the_switch_tells_kernels_apart() -> None:
    machine = flow_cuda.Machine(Gpu(1, 0, 0, clusters=False), lambda *_: True)
    switch = bench.kernels._Switch(lambda device: machine)
    seen: list[bool] = []

    def call() -> None:
        seen.append(switch.machine(torch.device("cuda")).launch is None)

    switch.by("triton", call)()
    switch.by("flow.cu", call)()
    assert seen == [True, False]
