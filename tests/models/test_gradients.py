"""Every trained parameter gets a gradient: distributed training waits for each of them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from repflow_pl.backbones import backbone_names, build_backbone, is_volumetric
from repflow_pl.layers.tvnet import TVNet
from repflow_pl.models.build import build_model
from repflow_pl.models.loss import training_loss
from repflow_pl.specs import (
    FLOW_PARAMETERS,
    ActionFlowNetSpec,
    FlowSpec,
    ModelSpec,
    Motion,
    MotionFilterSpec,
    OFFSpec,
    Stream,
    TVNetSpec,
    training_streams_of,
)

MOTIONS: list[Motion | None] = [
    None,
    TVNetSpec(scales=2, n_iter=2),
    OFFSpec(temporal=4, spatial=2, width=8),
    MotionFilterSpec(),
    ActionFlowNetSpec(width=8),
    ActionFlowNetSpec(flow_weight=0.0, width=8),
]
STREAMS: tuple[Stream, ...] = ("rgb", "grey", "rgb_diff", "tvl1", "tvl1_twice", "vectors", "raft")
FRAMES = 8
# All subsets are those of the layer's own test.
LEARNT = [(), *((name,) for name in FLOW_PARAMETERS), FLOW_PARAMETERS]


def without_gradient(spec: ModelSpec, device: str = "cpu", size: int = 32) -> list[str]:
    """The trained parameters that a backward pass of the training loss misses."""
    torch.manual_seed(0)
    with torch.device(device):
        model = build_model(spec, 3)
        of = {
            "rgb": torch.rand(2, 3, FRAMES, size, size),
            "tvl1": torch.rand(2, 2, FRAMES - 1, size, size),
            "tvl1_twice": torch.rand(2, 4, FRAMES - 2, size, size),
            "vectors": torch.rand(2, 2, FRAMES - 1, size, size),
            "raft": torch.rand(2, 2, FRAMES - 1, size, size),
        }
        inputs = [of[stream] for stream in training_streams_of(spec)]
        _, loss = training_loss(model, inputs, torch.tensor([0, 2], device=device))
    loss.backward()
    return missed(model)


def missed(model: nn.Module) -> list[str]:
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def allowed(motion: Motion | None, stream: Stream, backbone: str) -> bool:
    if motion is None:
        return True
    return not is_volumetric(backbone) and (
        stream == "rgb" or not isinstance(motion, TVNetSpec | ActionFlowNetSpec)
    )


@pytest.mark.long
@pytest.mark.parametrize("backbone", backbone_names())
def test_of_every_backbone_stream_and_motion(backbone: str) -> None:
    narrow = "narrow" in backbone
    # Of a large network a stream changes the first convolution alone, by its channels.
    motions, streams = (MOTIONS, STREAMS) if narrow else (MOTIONS[:1], ("rgb", "tvl1"))
    for motion, stream in itertools.product(motions, streams):
        # How a motion takes a stream does not depend on the backbone.
        paired = backbone == "narrow" or motion is None or stream == "rgb"
        if paired and allowed(motion, stream, backbone):
            spec = ModelSpec(backbone, stream, motion=motion, stack=2)
            assert not without_gradient(spec, "cpu" if narrow else "meta"), (motion, stream)


@pytest.mark.parametrize("structure", ["RepFlow", "Flow-of-Flow", "Flow-Conv-Flow", "residual"])
@pytest.mark.parametrize("block", range(6))
def test_of_flow_behind_every_block(structure: str, block: int) -> None:
    flow = FlowSpec(
        block,
        n_iter=2,
        bottleneck=4,
        layers=1 if structure == "RepFlow" else 2,
        convolve=structure in ("Flow-Conv-Flow", "residual"),
        residual=structure == "residual",
    )
    names = ("narrow", "narrow3d") if block < 3 else ("narrow",)
    size = 64 if block == 5 else 32  # flow needs two pixels
    for backbone in names:
        assert block < len(build_backbone(backbone).blocks)
        assert not without_gradient(ModelSpec(backbone, flow=flow), size=size)


@pytest.mark.parametrize("fuse", ["none", "add", "multiply", "concat"])
@pytest.mark.parametrize("kernels", ["central", "sobel"])
def test_of_whatever_the_flow_learns(kernels: str, fuse: str) -> None:
    for learn in LEARNT:
        flow = FlowSpec(
            3,
            n_iter=2,
            bottleneck=2,
            learn=learn,
            kernels=kernels,  # type: ignore[arg-type]
            fuse=fuse,  # type: ignore[arg-type]
        )
        assert not without_gradient(ModelSpec("narrow", flow=flow)), learn


@pytest.mark.parametrize("n_iter", [0, 1, 2])
@pytest.mark.parametrize("warps", [1, 2])
def test_of_tvnet_with_few_iterations(n_iter: int, warps: int) -> None:
    torch.manual_seed(0)
    net = TVNet(2, warps, n_iter)
    net(torch.rand(1, 3, 3, 16, 16)).square().sum().backward()
    assert net.start.requires_grad and not missed(net)
