"""Backbones: what they publish is what they are, and torchvision's stay torchvision's."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision.models

from repflow_pl.backbones import backbone, backbone_names, build_backbone
from repflow_pl.errors import UserError


@pytest.mark.long
@pytest.mark.parametrize("name", backbone_names())
@pytest.mark.parametrize("in_channels", [3, 10])
def test_blocks_are_as_published(name: str, in_channels: int) -> None:
    with torch.device("meta"):  # sizes alone
        net = build_backbone(name, in_channels)
    sizes = ((8, 64), (7, 64), (1, 32), (16, 50))
    for frames, height in sizes if in_channels == 3 else sizes[1:2]:  # of one convolution alone
        clip = torch.empty(1, in_channels, frames, height, 64, device="meta")
        assert net.block(0).channels == in_channels and net.block(0).stride == 1
        for index in range(len(net.blocks)):
            clip = net.forward_block(index, clip)
            block = net.block(index)
            assert clip.shape == (
                1,
                block.channels,
                math.ceil(frames / block.stride_time),
                math.ceil(height / block.stride),
                math.ceil(64 / block.stride),
            ), block


@pytest.mark.long
def test_every_backbone_has_the_papers_five_blocks() -> None:
    with torch.device("meta"):
        assert all(len(build_backbone(name).blocks) == 6 for name in backbone_names())


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_resnets_are_torchvisions(name: str) -> None:
    """Frame by frame the same features, and as many parameters less the linear layer.

    He et al. (2016) with 1000 classes: 11,689,512, 21,797,672 and 25,557,032 parameters
    (torchvision's documentation of the weights).
    """
    published = {"resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032}[name]
    theirs = torchvision.models.get_model(name).eval()
    ours = build_backbone(name).eval()
    head = sum(p.numel() for p in theirs.fc.parameters())
    assert sum(p.numel() for p in ours.parameters()) + head == published
    for stage, layer in zip(
        ours.stages[1:], (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), strict=True
    ):
        stage.load_state_dict(layer.state_dict())
    ours.stages[0][0].load_state_dict(theirs.conv1.state_dict())
    ours.stages[0][1].load_state_dict(theirs.bn1.state_dict())
    clip = torch.randn(2, 3, 2, 48, 48)
    theirs.fc = torch.nn.Identity()
    expected = torch.stack([theirs(clip[:, :, t]) for t in range(2)], 2)
    for index in range(1, 6):
        clip = ours.forward_block(index, clip)
    torch.testing.assert_close(clip.mean((3, 4)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("name", ["narrow", "resnet18", "resnet34", "resnet50"])
def test_a_fine_backbone_is_the_same_network_on_larger_maps(name: str) -> None:
    plain, fine = build_backbone(name), build_backbone(f"{name}_fine")
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (plain, fine)]
    assert shapes[0] == shapes[1]
    assert [b.channels for b in fine.blocks] == [b.channels for b in plain.blocks]
    assert [2 * b.stride for b in fine.blocks[1:]] == [b.stride for b in plain.blocks[1:]]


def test_unknown_backbone_names_the_close_matches() -> None:
    with pytest.raises(UserError, match="did you mean resnet34"):
        build_backbone("resnet-34")


@pytest.mark.parametrize("index", [-1, 6])
def test_unknown_block_names_the_blocks(index: int) -> None:
    with pytest.raises(UserError, match=f"no block {index}; it has .*5 \\(layer4\\)"):
        build_backbone("narrow").block(index)
    with pytest.raises(UserError, match=f"no block {index}; it has"):
        build_backbone("narrow").forward_block(index, torch.rand(1, 3, 2, 8, 8))


def test_features_are_all_blocks_and_what_is_put_behind_them() -> None:
    net, clip = build_backbone("narrow").eval(), torch.rand(1, 3, 2, 16, 16)
    seen = []

    def halve(index: int, features: torch.Tensor) -> torch.Tensor:
        seen.append(index)
        return features / 2

    expected = clip
    for index in range(6):
        expected = net.forward_block(index, expected) / 2
    torch.testing.assert_close(net.features(clip, halve), expected)
    assert seen == list(range(6))
    net.input = torch.nn.Threshold(2, 0)  # shows nothing of a clip in 0..1
    assert torch.equal(net.features(clip), net.features(torch.zeros_like(clip)))


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        backbone("narrow")(lambda channels: build_backbone("narrow", channels))
