"""Temporal-shift networks: the plain network's weights, costs and, without neighbours, answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from repflow_pl.backbones import build_backbone
from repflow_pl.backbones.registry import Backbone
from repflow_pl.training.costs.measure import count_flops

PLAIN = ("narrow", "resnet18", "resnet34", "resnet50")


class Features(nn.Module):
    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        return self.net.features(clip)


def pair(name: str) -> tuple[Backbone, Backbone]:
    """The plain network and the one with shifts, in evaluation mode, with the same weights."""
    torch.manual_seed(0)
    plain, shifted = build_backbone(name).eval(), build_backbone(f"{name}_tsm").eval()
    values = plain.state_dict().values()
    shifted.load_state_dict(dict(zip(shifted.state_dict(), values, strict=True)))
    return plain, shifted


@pytest.mark.parametrize("name", PLAIN)
def test_it_costs_nothing(name: str) -> None:
    plain, shifted = pair(name)
    assert sum(p.numel() for p in plain.parameters()) == sum(
        p.numel() for p in shifted.parameters()
    )
    clip = torch.rand(1, 3, 4, 32, 32)
    assert count_flops(Features(plain), [clip]) == count_flops(Features(shifted), [clip])


def from_the_next_and_the_last(features: Tensor) -> Tensor:
    """The shift, written with rolls and zeros."""
    eighth = features.shape[1] // 8
    ahead, back = features.roll(-1, 2), features.roll(1, 2)
    ahead[:, :, -1], back[:, :, 0] = 0, 0
    parts = ahead[:, :eighth], back[:, eighth : 2 * eighth], features[:, 2 * eighth :]
    return torch.cat(parts, 1)


@pytest.mark.parametrize("name", ["narrow", "resnet18", "resnet50"])
@torch.no_grad()
def test_it_is_torchvisions_block_with_the_first_convolution_on_shifted_features(name: str) -> None:
    """Frame by frame torchvision's own forward, told through a hook what its branch begins with."""
    plain, shifted = pair(name)
    clip = torch.rand(2, 3, 3, 32, 32)
    blocks = [block for block in plain.modules() if hasattr(block, "conv1")]
    for block in blocks:

        def feed(conv: nn.Module, args: tuple[Tensor]) -> Tensor:
            features = args[0].unflatten(0, (2, 3)).transpose(1, 2)
            return from_the_next_and_the_last(features).transpose(1, 2).flatten(0, 1)

        block.conv1.register_forward_pre_hook(feed)
    torch.testing.assert_close(shifted.features(clip), plain.features(clip), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_each_block_looks_one_frame_further() -> None:
    """A frame is seen as many frames away as there are residual blocks, in both directions."""
    _, net = pair("narrow")
    clip = torch.rand(1, 3, 13, 32, 32)
    other = clip.clone()
    other[:, :, 6] = 0
    for index in range(6):
        clip, other = net.forward_block(index, clip), net.forward_block(index, other)
        differ = [t for t in range(13) if not torch.equal(clip[:, :, t], other[:, :, t])]
        reach = max(index - 1, 0)
        assert differ == list(range(6 - reach, 7 + reach))
