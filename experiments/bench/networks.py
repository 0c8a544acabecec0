"""What is timed of training: a step, an evaluation and the flow layer alone, of three networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from repflow_pl.data.floats import to_float
from repflow_pl.layers.flow import RepFlow
from repflow_pl.layers.flow_stack import FlowStack
from repflow_pl.models.build import build_model
from repflow_pl.models.loss import training_loss
from repflow_pl.profiles import Profile
from repflow_pl.specs import ClipSpec, DataSpec, RunSpec
from repflow_pl.training.module import build_optimiser

RGB, FLOW, FCF = "RGB", "RGB + flow after block 3", "Flow-Conv-Flow after block 3"
BLOCK = 3

Call = Callable[[], object]


Part = Literal["train", "evaluate", "layer_forward", "layer_both"]
"""Of a network's cost: a whole step of training, with the optimiser's, and an evaluation; of the
flow layer alone, in training, its forward pass without and with the backward."""
PARTS: tuple[Part, ...] = get_args(Part)


def specs_of(profile: Profile, clip: ClipSpec) -> dict[str, RunSpec]:
    """The networks by name, as the tables' rows have them."""
    data = DataSpec("motion_shapes", clip)
    return {
        RGB: profile.rgb(data),
        FLOW: profile.flow_after(data, BLOCK),
        FCF: profile.fcf_after(data, BLOCK),
    }


def parts_of(spec: RunSpec, classes: int, batch: int, device: torch.device) -> dict[Part, Call]:
    """Build a network with a batch of noise for it, that lies on the device: its cost is that of
    any clips. A network without a flow layer has the first two parts alone."""
    torch.manual_seed(0)
    model = build_model(spec.model, classes).to(device)
    optimiser = build_optimiser(model, spec.recipe)
    height, width = spec.data.clip.crop
    shape = (batch, 3, spec.data.clip.frames, height, width)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    labels = torch.arange(batch, device=device) % classes

    def train() -> None:
        model.train()
        optimiser.zero_grad()
        training_loss(model, [to_float(clips)], labels)[1].backward()
        optimiser.step()

    def evaluate() -> None:
        model.eval()
        with torch.no_grad():
            model(to_float(clips))

    parts: dict[Part, Call] = {"train": train, "evaluate": evaluate}
    layer = next((m for m in model.modules() if isinstance(m, RepFlow | FlowStack)), None)
    if layer is None:
        return parts
    features = _input_of(layer, evaluate).requires_grad_()
    leaves = [features, *(p for p in layer.parameters() if p.requires_grad)]

    def forward() -> Tensor:
        layer.train()
        out: Tensor = layer(features)
        return out

    def both() -> None:
        torch.autograd.grad(forward().sum(), leaves, allow_unused=True)

    return parts | {"layer_forward": forward, "layer_both": both}


def _input_of(layer: nn.Module, call: Call) -> Tensor:
    """What a layer of a network is given in a call of the network."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    call()
    handle.remove()
    return seen[0].detach().clone()
