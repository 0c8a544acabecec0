"""The benchmark's yardstick is right, its clockwork is fair, and its script writes its page."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import bench_flow
import pytest
import torch
from bench import command, memory, opencv, timing
from bench.baseline import baseline_flow
from bench.cells import Cell, call_of, flow_of, side_after, where
from bench.floor import Peaks, floor_of
from bench.plan import build_plan
from bench.run import Timed
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models import resnet18

from repflow_pl.ops import FlowKernels, flow_cuda
from repflow_pl.report.page import YOURS
from tests.experiments.conftest import quick_page
from tests.ops.flow_cases import RESULTS, Case, golden_case, random_case, relative, results
from tests.programs import CHECKOUT

pytestmark = pytest.mark.long

CPU = torch.device("cpu")


def baseline_results(case: Case) -> list[Tensor]:
    """Flow and all gradients of the baseline, in the order of RESULTS."""
    leaves = [t.detach().clone().requires_grad_() for t in case.tensors]
    frame1, frame2, *kernels, theta, lam, tau = leaves
    flow = baseline_flow(frame1, frame2, kernels, theta, lam, tau, case.n_iter)
    gradients = torch.autograd.grad(
        flow, leaves, case.cotangents, allow_unused=True, materialize_grads=True
    )
    return [f.detach() for f in flow] + list(gradients)


# --- the baseline --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(10))
def test_baseline_is_the_released_layer(number: int) -> None:
    case, expected = golden_case(number)
    for name, ours, wanted in zip(RESULTS, baseline_results(case), expected, strict=True):
        assert relative(ours, wanted) < 1e-9, name


def test_baseline_and_the_op_agree_on_other_cases() -> None:
    case = random_case((2, 3, 6, 9), 7, seed=2)
    wanted = results(case, "eager")
    for name, ours, theirs in zip(RESULTS, baseline_results(case), wanted, strict=True):
        assert relative(ours, theirs) < 1e-9, name


def test_baseline_owes_nothing_to_the_package() -> None:
    tree = ast.parse(
        (CHECKOUT / "experiments" / "bench" / "baseline.py").read_text(encoding="utf-8")
    )
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    found |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert found == {"__future__", "collections.abc", "torch", "torch.nn"}


# --- sizes and calls -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [112, 224])
def test_sizes_are_those_of_torchvisions_resnet(size: int) -> None:
    with torch.device("meta"):
        network, x = resnet18(), torch.empty(1, 3, size, size)
    stages = [network.conv1, network.maxpool, *(getattr(network, f"layer{k}") for k in range(1, 5))]
    sides = []
    for stage in stages:
        x = stage(x)
        sides.append(x.shape[-1])
    assert [side_after(block, size) for block in range(1, 6)] == sides[1:]


def test_the_plan_has_every_block_and_the_ends_of_the_iterations() -> None:
    plan = build_plan(CPU, quick=False)
    assert plan.headline == Cell(14, 32, 28, 20)
    assert build_plan(torch.device("cuda"), quick=False).headline == Cell(120, 32, 28, 20)
    assert {c.side for c in plan.sizes if c.channels == 32} == {56, 28, 14, 7, 4}
    assert {c.side for c in plan.sizes if c.channels == 3} == {112, 224}
    counts = [c.n_iter for c in plan.iterations_in_order]
    assert counts == sorted(counts) and (counts[0], counts[-1]) == (1, 100)
    assert where(plan.headline) == "blocks 1, 2 at 112; block 3 at 224"
    assert plan.cells[0] == plan.headline


@pytest.mark.parametrize("backend", ["baseline", "eager", "fused"])
def test_a_call_takes_every_gradient(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    taken: list[int] = []
    original = torch.autograd.grad

    def counted(*arguments: Any, **options: Any) -> Any:
        gradients = original(*arguments, **options)
        taken.append(sum(g is not None for g in gradients))
        return gradients

    monkeypatch.setattr(torch.autograd, "grad", counted)
    call_of(flow_of(backend, CPU), Cell(1, 2, 5, 3), "forward", CPU)()
    assert taken == []
    call_of(flow_of(backend, CPU), Cell(1, 2, 5, 3), "forward + backward", CPU)()
    assert taken == [2 + len(FlowKernels._fields) + 3]


def test_the_fused_column_of_a_gpu_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    for reason in ("_device_refusal", "_import_error"):
        monkeypatch.setattr(flow_cuda, reason, lambda *device: None)
    with FakeTensorMode():
        flow_of("fused", torch.device("cuda"))  # and no ValueError, which empties the column
    monkeypatch.setattr(flow_cuda, "_import_error", lambda: "triton cannot be imported")
    with FakeTensorMode(), pytest.raises(ValueError, match="no fused backend for cuda here"):
        flow_of("fused", torch.device("cuda"))


# --- time, floor, memory -------------------------------------------------------------------------


class Clock:
    """Time that passes only inside calls; `slow` slows the machine down from a moment on."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, ""

    def call(self, name: str, seconds: float) -> None:
        self.calls += name
        self.now += seconds * (2 if self.now > 10 else 1)


def test_turns_are_taken_and_disturbances_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    calls = {"a": lambda: clock.call("a", 1.0), "b": lambda: clock.call("b", 0.01)}
    times = timing.in_turns(calls, 12.0, lambda: None)
    # Warm-ups; then a once a turn, and b once untimed and for 0.03 seconds.
    assert clock.calls.startswith("abb" + "abbbb" * 3)
    assert len(times["a"]) == len(times["b"]) >= timing.FEWEST_TURNS
    assert max(times["a"]) > 1.5 * min(times["a"])  # the machine did slow down
    ratio = Timed(Cell(1, 1, 2, 1), "forward", {"baseline": times["a"], "b": times["b"]}, {}).ratio
    found = ratio("b")
    assert found is not None and found.median == pytest.approx(100) and found.low > 90


def test_the_budget_decides_on_the_number_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    for budget, turns in ((0.0, timing.FEWEST_TURNS), (6.5, 6), (1e9, timing.MOST_TURNS)):
        clock = Clock()
        monkeypatch.setattr(timing.time, "perf_counter", lambda clock=clock: clock.now)
        times = timing.in_turns({"a": lambda: clock.call("a", 1.0)}, budget, lambda: None)  # noqa: B023
        assert len(times["a"]) == turns


def test_opencv_is_compared_by_the_pair() -> None:
    setting = opencv.SETTINGS[0]
    timed = Timed(Cell(4, 3, 8, 1), "forward", {"baseline": [8.0, 16.0], setting: [1.0, 2.0]}, {})
    ratio = timed.ratio(setting)
    assert ratio is not None and (ratio.median, ratio.low, ratio.high) == (2.0, 2.0, 2.0)
    assert timed.ratio("fused") is None


def test_floor() -> None:
    cell = Cell(2, 3, 4, n_iter=10)  # 96 pixels of 14 + 10 x 66 operations
    floor = floor_of(cell, "forward", Peaks(bytes_per_second=96.0, flops_per_second=96 * 67.4))
    assert (floor.bytes, floor.operations) == (16.0, pytest.approx(10.0))
    assert floor.seconds == 16.0
    both = floor_of(cell, "forward + backward", Peaks(96.0, 96 * 67.4))
    assert (both.bytes, both.operations) == (40.0, pytest.approx(30.0))


FEW, MANY = Cell(2, 8, 64, 1), Cell(2, 8, 64, 5)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, memory.Outcome]:
    """Of one that goes on beside one that takes too long, and of one that is not there."""
    jobs = [
        memory.Job("baseline", [FEW], 0.2),
        memory.Job("eager", [FEW, MANY], 100),
        memory.Job("nonsense", [FEW], 100),
    ]
    return memory.measure(jobs, CPU, 1)


def test_memory_in_a_fresh_process(outcomes: dict[str, memory.Outcome]) -> None:
    if memory.untrusted(CPU):
        pytest.skip(memory.untrusted(CPU))
    outcome = outcomes["eager"]
    assert outcome.why == ""
    forward_few, both_few, forward_many, both_many = (m.extra_bytes for m in outcome.measured)
    assert forward_few and both_few and forward_many and both_many
    tensor = 4 * FEW.elements  # 256 KiB
    # A graph grows with every iteration, by ten tensors at the least; without one nothing grows.
    assert both_many - both_few > 4 * 10 * tensor
    assert abs(forward_many - forward_few) < 8 * tensor


def test_a_process_that_takes_too_long_is_ended_and_another_beside_it_goes_on(
    outcomes: dict[str, memory.Outcome],
) -> None:
    assert outcomes["baseline"].measured == ()
    assert "took longer than" in outcomes["baseline"].why
    assert len(outcomes["eager"].measured) == 4 and not outcomes["eager"].why


def test_a_backend_that_is_not_there_says_so(outcomes: dict[str, memory.Outcome]) -> None:
    outcome = outcomes["nonsense"]
    assert outcome.measured == () and "There is no flow backend 'nonsense'" in outcome.why


def test_an_interrupted_measurement_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []
    start = memory._start

    def noted(*arguments: Any) -> subprocess.Popen[str]:
        started.append(start(*arguments))
        return started[-1]

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "_start", noted)
    monkeypatch.setattr(memory, "_outcome", interrupted)
    with pytest.raises(KeyboardInterrupt):
        memory.measure([memory.Job(name, [], 100) for name in ("eager", "baseline")], CPU, 1)
    assert {process.returncode for process in started} == {-signal.SIGKILL}  # one or both


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match="cv2 cannot be imported"):
        opencv.opencv_calls(Cell(1, 3, 16, 1), 1)


# --- the script ----------------------------------------------------------------------------------


QUICK = ["--device", "cpu", "--quick", "--threads", "1", "--patience", "0.1"]


@pytest.mark.slow
@pytest.mark.usefixtures("threads_kept")
def test_quick_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("numba")
    assert bench_flow.main([*QUICK, "--out", str(tmp_path)]) == 0, capsys.readouterr().err
    page, lines = quick_page(tmp_path, "flow_cpu")
    assert "- not measured: torch.compile: compiling n_iter 1: it took longer than 0.1 s" in page
    assert f"torch {torch.__version__}" in page and "CPU threads: 1" in page
    assert (
        "`python experiments/bench_flow.py --device cpu --threads 1 --patience 0.1 --quick`" in page
    )
    assert ", ms" not in page  # milliseconds of a CPU are no claim
    fused = [line for line in lines if line["backend"] == "fused"]
    assert len(fused) == 2 * len(build_plan(CPU, quick=True).cells)
    for line in fused:
        assert float(line["seconds_median"]) > 0 and float(line["ratio_median"]) > 0
        assert int(line["n"]) >= timing.FEWEST_TURNS and not line["not_measured"]
    compiled = [line for line in lines if line["backend"] == "compile"]
    assert compiled and all(line["not_measured"] and not line["ratio_median"] for line in compiled)
    joined = (tmp_path / YOURS / "README.md").read_text(encoding="utf-8")
    assert "(bench-quick/flow_cpu.png)" in joined and "What the flow op costs: CPU" in joined


@pytest.mark.usefixtures("threads_kept")
def test_what_does_not_fit_is_left_out_and_says_so(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    assert bench_flow.main([*QUICK, "--minutes", "0.01", "--out", str(tmp_path)]) == 0
    page, _ = quick_page(tmp_path, "flow_cpu")
    assert "- not measured: fused: the run's 0.01 minutes were over" in page


def test_a_gpu_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_flow.main(["--device", "cuda"]) == 2
    assert "take --device cpu" in capsys.readouterr().err
    assert command.chosen_device("auto") == CPU
