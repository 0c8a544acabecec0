"""The fused CPU backend: threads, forks, checkpoints, the compiler, a machine without numba."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from repflow_pl.ops import chosen_backend, flow_cpu
from repflow_pl.ops.flow_op import segment_length

from .flow_cases import Case, call, operator_inputs, random_case, results

pytest.importorskip("numba")


@pytest.fixture
def many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the small tensors of these tests are dealt to threads."""
    monkeypatch.setattr(flow_cpu, "SERIAL_WORK", 0)


def _same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_for_any_number_of_threads(dtype: torch.dtype) -> None:
    case = random_case((5, 3, 11, 13), 7).to(dtype)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 1, 7):
            torch.set_num_threads(threads)
            found.append(results(case, "cpu"))
    finally:
        torch.set_num_threads(before)
    assert all(_same(found[0], other) for other in found[1:])


@pytest.mark.usefixtures("many_threads")
def test_two_python_threads_at_once() -> None:
    cases = [random_case((4, 3, 14, 12), 10, seed) for seed in range(2)]
    wanted = [results(case, "cpu") for case in cases]
    agreed = [0, 0]
    ready = threading.Barrier(2)

    def work(me: int) -> None:
        ready.wait()
        for _ in range(15):
            agreed[me] += _same(results(cases[me], "cpu"), wanted[me])

    threads = [threading.Thread(target=work, args=(me,)) for me in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert agreed == [15, 15]


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("bad", [0, 17, 39])
def test_a_block_that_fails_is_told_when_no_other_is_at_work(bad: int) -> None:
    before = torch.get_num_threads()
    at_work = [0]
    change = threading.Lock()

    def work(first: int, last: int) -> None:
        with change:
            at_work[0] += 1
        try:
            time.sleep(0.01)
            if first <= bad < last:
                raise MemoryError(f"plane {bad}")
        finally:
            with change:
                at_work[0] -= 1

    try:
        torch.set_num_threads(3)
        with pytest.raises(MemoryError, match=f"plane {bad}"):
            flow_cpu._over_planes(torch.zeros(40, 4, 4), 1, work)
    finally:
        torch.set_num_threads(before)
    assert at_work == [0]


def _in_child(case: Case, answers: multiprocessing.queues.Queue[float]) -> None:
    answers.put(float(call(case.tensors, case.n_iter, "cpu")[0].sum()))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.usefixtures("many_threads")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_gets_its_own_threads() -> None:
    case = random_case((4, 3, 8, 8), 5)
    wanted = float(call(case.tensors, case.n_iter, "cpu")[0].sum())  # starts this process's threads
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_child, args=(case, answers))
    child.start()
    try:
        assert answers.get(timeout=60) == wanted
    finally:
        child.join(timeout=10)
        child.kill()


@pytest.mark.parametrize("n_iter", [0, 1, 2, 3, 9, 10, 11])
def test_checkpoints_change_no_bit(n_iter: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = random_case((2, 2, 6, 9), n_iter)
    stored = results(case, "cpu")
    monkeypatch.setattr(flow_cpu, "SCRATCH_BYTES", 0)
    assert _same(results(case, "cpu"), stored)


def test_states_to_keep() -> None:
    assert segment_length(9, 100, 1000) == 9
    assert segment_length(10, 100, 1000) == 4
    assert segment_length(100, 100, 1000) == 10
    assert segment_length(0, 100, 1000) == segment_length(0, 1001, 1000) == 1


def test_saved_tensors_do_not_grow_with_iterations() -> None:
    def saved_bytes(n_iter: int) -> int:
        case = random_case((2, 3, 8, 8), n_iter)
        sizes: list[int] = []

        def note(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        leaves = [t.requires_grad_() for t in case.tensors]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            call(leaves, n_iter, "cpu")
        return sum(sizes)

    assert saved_bytes(2) == saved_bytes(50)


def test_second_derivative_is_refused() -> None:
    case = random_case((1, 1, 4, 4), 2)
    frame1 = case.tensors[0].requires_grad_()
    flow_x, _ = call(case.tensors, 2, "cpu")
    (gradient,) = torch.autograd.grad(flow_x.sum(), frame1, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative: give backend='eager'"):
        torch.autograd.grad(gradient.sum(), frame1)


@pytest.mark.long
def test_operator_is_registered_soundly() -> None:
    torch.library.opcheck(flow_cpu.op.forward, operator_inputs(random_case((2, 2, 4, 5), 3)))


def test_parameters_are_packed_below_autograd() -> None:
    """Else each step of packing them is recorded, and undone by kernels of its own."""
    case = random_case((2, 2, 4, 5), 3)
    flow_x, _ = call([t.requires_grad_() for t in case.tensors], 3, "cpu")
    assert flow_x.grad_fn is not None
    ((op, _),) = flow_x.grad_fn.next_functions
    assert op is not None
    nodes = [node.name() for node, _ in op.next_functions if node is not None]
    assert nodes == ["torch::autograd::AccumulateGrad"] * len(case.tensors)


@pytest.mark.long
@pytest.mark.parametrize("backend_name", ["cpu", "auto"])
def test_compiles_in_one_graph(backend_name: str) -> None:
    case = random_case((2, 2, 5, 6), 3)
    wanted = results(case, "cpu")
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda tensors: call(tensors, 3, backend_name), fullgraph=True, backend="aot_eager"
    )
    leaves = [t.requires_grad_() for t in case.tensors]
    flow = compiled(leaves)
    gradients = torch.autograd.grad(flow, leaves, case.cotangents)
    assert _same([*flow, *gradients], wanted)


@pytest.mark.long
def test_eager_compiles_in_one_graph() -> None:
    case = random_case((2, 2, 5, 6), 3)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda tensors: call(tensors, 3, "eager"), fullgraph=True, backend="aot_eager"
    )
    assert _same(list(compiled(case.tensors)), list(call(case.tensors, 3, "eager")))


@pytest.mark.slow
@pytest.mark.parametrize("backend_name", ["cpu", "eager"])
def test_inductor(backend_name: str) -> None:
    case = random_case((2, 2, 5, 6), 3)
    wanted = results(case, backend_name)
    torch._dynamo.reset()
    compiled = torch.compile(lambda tensors: call(tensors, 3, backend_name), fullgraph=True)
    leaves = [t.requires_grad_() for t in case.tensors]
    flow = compiled(leaves)
    gradients = torch.autograd.grad(flow, leaves, case.cotangents)
    torch.testing.assert_close([*flow, *gradients], wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.long
def test_export_takes_the_eager_backend() -> None:
    class Flow(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return call(list(tensors), 2, "auto")

    case = random_case((1, 2, 5, 6), 2)
    program = torch.export.export(Flow(), tuple(case.tensors))
    assert "repflow_pl" not in str(program.graph)
    assert _same(list(program.module()(*case.tensors)), list(call(case.tensors, 2, "eager")))


WITHOUT_COMPILERS = """
import sys, torch, warnings
from repflow_pl.ops import available_backends, central_kernels, flow_cuda, representation_flow
late = {"numba", "llvmlite", "repflow_pl.ops.flow_cpu_kernels", "repflow_pl.ops.flow_triton"}
assert not late & set(sys.modules)
sys.modules["numba"] = sys.modules["triton"] = None  # an import of them fails
frame = torch.rand(1, 2, 5, 5)
rest = (central_kernels(2), torch.tensor(0.3), torch.tensor(0.15), torch.tensor(0.25), 3)
assert available_backends(frame) == ("eager",)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for _ in range(2):
        flow = representation_flow(frame, frame.flip(-1), *rest)
assert len(said) == 1 and "9 to 15 times slower" in str(said[0].message)
assert str(said[0].message).endswith("; run: pip install 'repflow-pl[cpu]'.")
assert torch.equal(flow[0], representation_flow(frame, frame.flip(-1), *rest, "eager")[0])
try:
    representation_flow(frame, frame, *rest, "cpu")
except ValueError as error:
    print(error)
print(flow_cuda._import_error())
"""


@pytest.mark.long
def test_numba_and_triton_are_imported_late_and_may_be_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILERS],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    of_numba, of_triton = done.stdout.splitlines()
    assert of_numba.startswith("The flow backend 'cpu' cannot run here: numba cannot")
    assert of_triton.startswith("triton cannot be imported (")


@pytest.mark.usefixtures("many_threads")
def test_auto_on_this_machine() -> None:
    assert chosen_backend(torch.zeros(1, 1, 2, 2)) == "cpu"


DIGEST = """
import hashlib, torch
from repflow_pl.ops import central_kernels, representation_flow
torch.manual_seed(0)
frames = [(255 * torch.rand(2, 3, 12, 9)).requires_grad_() for _ in range(2)]
scalars = [torch.tensor(v, requires_grad=True) for v in (0.3, 0.15, 0.25)]
flow = representation_flow(*frames, central_kernels(3), *scalars, 10, "cpu")
sum(part.square().sum() for part in flow).backward()
every = [*flow, *[t.grad for t in (*frames, *scalars)]]
print(hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in every)).hexdigest())
"""


@pytest.mark.slow
def test_compiled_just_now_and_loaded_from_the_cache_give_the_same_bits(tmp_path: Path) -> None:
    def digest() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", DIGEST]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert digest() == digest()
