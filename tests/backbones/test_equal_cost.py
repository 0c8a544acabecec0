"""Volumetric networks of a 2D network's cost: its operations, maps and depth."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from repflow_pl.backbones import build_backbone
from repflow_pl.backbones.registry import Backbone
from repflow_pl.training.costs.measure import count_flops

KINDS = ("equal3d", "equal2plus1d")


class Features(nn.Module):
    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        return self.net.features(clip)


def flops(name: str) -> int:
    frames, side = (8, 64) if name.startswith("narrow") else (16, 112)
    with torch.device("meta"):
        return count_flops(Features(build_backbone(name)), [torch.empty(1, 3, frames, side, side)])


@pytest.mark.long
@pytest.mark.parametrize("plain", ["narrow", "resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize("kind", KINDS)
def test_operations_maps_and_depth_are_the_2d_networks(plain: str, kind: str) -> None:
    assert abs(flops(f"{plain}_{kind}") / flops(plain) - 1) < 0.03
    with torch.device("meta"):
        flat, deep = build_backbone(plain), build_backbone(f"{plain}_{kind}")
    assert [b.stride for b in deep.blocks] == [b.stride for b in flat.blocks]
    pairs = zip(deep.blocks, flat.blocks, strict=True)
    assert all(mine.channels <= theirs.channels for mine, theirs in pairs)
    convolutions = [
        sum(isinstance(m, nn.Conv2d | nn.Conv3d) and m.kernel_size[-1] > 1 for m in net.modules())
        for net in (flat, deep)
    ]
    assert convolutions[0] == convolutions[1]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_they_see_the_order_of_frames(kind: str) -> None:
    torch.manual_seed(0)
    net = build_backbone(f"narrow_{kind}").eval()
    clip = torch.rand(1, 3, 8, 32, 32)
    ends = [net.features(frames).mean((2, 3, 4)) for frames in (clip, clip.flip(2))]
    assert not torch.allclose(*ends, rtol=1e-2)
