"""Mixed precision and torch.compile: what is in bfloat16, and that a compiled step is the same."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repflow_pl.data.clips import Batch
from repflow_pl.data.index import VideoSet
from repflow_pl.layers.flow import FlowIteration
from repflow_pl.specs import ClipSpec, DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec
from repflow_pl.training.module import VideoClassifier
from repflow_pl.training.planning.jobs import Job, run_folder
from repflow_pl.training.recording.result import read_result
from tests.sweeps import sweep

CLIP = ClipSpec(frames=4, size=32, crop=(32, 32))
RECIPE = RecipeSpec(1, batch=8, lr=1e-3, optimiser="adamw", schedule="one_cycle")
MODEL = ModelSpec("narrow", flow=FlowSpec(3, n_iter=2, bottleneck=4), dropout=0.0)


@pytest.mark.long
def test_bf16_takes_the_convolutions_and_leaves_the_flow(videos: VideoSet, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, precision="bf16")
    spec = RunSpec(MODEL, DataSpec("folder", CLIP, videos.fingerprint), recipe)
    job = Job("t", "bf16", spec, 0)
    seen: dict[tuple[type, bool], set[torch.dtype]] = {}

    def note(layer: nn.Module, given: Any, made: Any) -> None:
        if isinstance(layer, nn.Conv2d | FlowIteration):
            one = made if isinstance(made, Tensor) else made[0]
            seen.setdefault((type(layer), layer.training), set()).add(one.dtype)

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        assert sweep([job], videos, tmp_path)[0] == []
    finally:
        handle.remove()
    assert seen[nn.Conv2d, True] == {torch.bfloat16}, "in training"
    assert torch.bfloat16 in seen[nn.Conv2d, False], "and in evaluation"
    folder = run_folder(tmp_path, spec, 0)
    assert 0 <= read_result(folder / "result.json").top1 <= 1
    weights = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"].values()
    assert {w.dtype for w in weights if w.is_floating_point()} == {torch.float32}


def step(compiled: bool) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of a training step."""
    recipe = dataclasses.replace(RECIPE, compile=compiled)
    spec = RunSpec(MODEL, DataSpec("folder", CLIP), recipe)
    module = VideoClassifier(spec, 0, classes=3, videos_val=0, videos_test=4)
    clips = torch.randint(0, 256, (4, 1, 3, 4, 32, 32), dtype=torch.uint8)
    loss = module.training_step(
        Batch((clips,), torch.tensor([[0, 0, 0], [1, 1, 0], [2, 2, 0], [0, 3, 0]])), 0
    )
    loss.backward()
    gradients = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return loss.item(), gradients


def same_step() -> None:
    torch.manual_seed(1)
    loss, gradients = step(compiled=False)
    torch.manual_seed(1)
    compiled_loss, compiled_gradients = step(compiled=True)
    assert compiled_loss == pytest.approx(loss, rel=1e-4)
    assert compiled_gradients.keys() == gradients.keys(), "the weights keep their names"
    for name, gradient in gradients.items():
        scale = gradient.abs().max().item()
        difference = (compiled_gradients[name] - gradient).abs().max().item()
        assert difference <= 1e-3 * scale + 1e-6, name


@pytest.mark.long
def test_a_compiled_step_is_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Dynamo traced, without a compiler behind it."""
    compilations: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        compilations.append(len(list(graph.graph.nodes)))
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    same_step()
    assert max(compilations) > 20, "the network is in a graph"


@pytest.mark.slow
def test_a_step_by_the_compiler_is_the_same_step() -> None:
    same_step()
