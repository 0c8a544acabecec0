"""Volumetric backbones: their parameters are the literature's, their parts what papers say."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision.models.video
from torch import nn

from repflow_pl.backbones import Backbone, backbone_names, build_backbone, is_volumetric
from repflow_pl.backbones.nonlocal_block import NonLocal, with_nonlocal

VOLUMETRIC = tuple(name for name in backbone_names() if is_volumetric(name))
NARROW = ("narrow3d", "narrow2plus1d", "s3d_narrow", "i3d_narrow", "nonlocal_narrow")
CLASSES = 400

pytestmark = pytest.mark.usefixtures("seeded")


def parameters(name: str, in_channels: int = 3) -> int:
    """Of the network with a linear layer, with bias, for the 400 classes of Kinetics.

    S3D and I3D end in a 1 x 1 x 1 convolution and then a mean, which is a linear layer on the mean
    with the same parameters.
    """
    with torch.device("meta"):
        net = build_backbone(name, in_channels)
    features = net.blocks[-1].channels
    return sum(p.numel() for p in net.parameters()) + features * CLASSES + CLASSES


def test_which_backbones_see_clips() -> None:
    plain = {"resnet18", "resnet34", "resnet50", "narrow"}
    fine = {f"{name}_fine" for name in plain}
    assert set(backbone_names()) - set(VOLUMETRIC) == plain | fine
    assert set(NARROW) < set(VOLUMETRIC)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # torchvision's documentation of the weights (`num_params`), Kinetics-400
        ("r3d_18", 33_371_472),
        ("r2plus1d_18", 31_505_325),
        ("s3d", 8_320_048),
        # The PyTorch port of I3D by Piergiovanni, github.com/piergiaj/pytorch-i3d; Carreira and
        # Zisserman (CVPR 2017), Table 1, print 12 M and, for two streams, 25 M.
        ("i3d", 12_697_264),
    ],
)
def test_parameters_are_those_published(name: str, published: int) -> None:
    assert parameters(name) == published


def test_i3d_on_flow_misses_one_channel_of_the_first_kernel() -> None:
    """Two streams together are the 25 M of Carreira and Zisserman's Table 1."""
    assert parameters("i3d", 2) == 12_697_264 - 64 * 7 * 7 * 7
    assert round((parameters("i3d") + parameters("i3d", 2)) / 1e6) == 25


def test_parameters_of_r2plus1d_34() -> None:
    """As printed, and counted from Tran et al. (CVPR 2018), Section 3.5.

    63.6 M: github.com/facebookresearch/VMZ, tutorials/model_zoo.md, by the paper's authors.
    """
    assert abs(parameters("r2plus1d_34") - 63.6e6) < 0.1e6

    def two(n: int, m: int) -> int:
        """1 x 3 x 3, batch norm, 3 x 1 x 1 with M_i = floor(t d^2 n m / (d^2 n + t m)) between."""
        between = 3 * 9 * n * m // (9 * n + 3 * m)
        return 9 * n * between + 2 * between + 3 * between * m

    total = 3 * 49 * 45 + 2 * 45 + 45 * 3 * 64 + 2 * 64  # the stem has 45 between
    before = 64
    for channels, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        total += two(before, channels) + (2 * depth - 1) * two(channels, channels)
        total += 2 * depth * 2 * channels
        total += before * channels + 2 * channels if before != channels else 0
        before = channels
    assert parameters("r2plus1d_34") == total + 512 * CLASSES + CLASSES


def nonlocal_parameters(channels: int) -> int:
    """Three 1 x 1 x 1 convolutions to half the channels and one back, with biases; batch norm."""
    half = channels // 2
    return 3 * (channels * half + half) + half * channels + channels + 2 * channels


@pytest.mark.parametrize(("name", "depth"), [("resnet50_nonlocal", 6), ("resnet101_nonlocal", 23)])
def test_parameters_of_nonlocal_resnets(name: str, depth: int) -> None:
    """Counted from Wang et al. (CVPR 2018): the paper prints no number.

    The 2D networks' are torchvision's documentation, with 1000 classes.
    """
    images = {6: 25_557_032, 23: 44_549_160}[depth] - 2048 * 1000 - 1000
    # Section 4: the first kernel becomes 5 x 7 x 7, and 1 x 1 ones 3 x 1 x 1 in every other block
    first = 4 * 3 * 64 * 7 * 7
    res2 = 64 * 64 + 2 * 256 * 64
    res3 = 256 * 128 + 512 * 128
    res4 = 512 * 256 + (math.ceil(depth / 2) - 1) * 1024 * 256
    res5 = 2048 * 512
    inflated = images + first + 2 * (res2 + res3 + res4 + res5)
    five = 2 * nonlocal_parameters(512) + 3 * nonlocal_parameters(1024)
    assert parameters(name) == inflated + five + 2048 * CLASSES + CLASSES


def test_nonlocal_resnet50_has_the_size_others_report() -> None:
    """35.4 M: MMAction2's table of I3D models, row "ResNet50 (NonLocalEmbedGauss)"."""
    assert round(parameters("resnet50_nonlocal") / 1e6, 1) == 35.4


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet50_nonlocal", [512] * 2 + [1024] * 3),
        ("resnet101_nonlocal", [512] * 2 + [1024] * 3),
        ("r2plus1d_34_nonlocal", [128] * 2 + [256] * 3),
        ("r2plus1d_18_nonlocal", [128, 256]),
    ],
)
def test_nonlocal_blocks_are_where_the_paper_has_them(name: str, channels: list[int]) -> None:
    with torch.device("meta"):
        net = build_backbone(name)
    blocks = [module for module in net.modules() if isinstance(module, NonLocal)]
    assert [block.norm.num_features for block in blocks] == channels


def test_nonlocal_block_is_equation_1() -> None:
    """Position by position: y_i = sum_j softmax_j(theta_i . phi_j) g_j, z = BN(W y) + x."""
    block = NonLocal(6).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(1, 6, 2, 4, 4)
    theta, phi, g = (conv(x)[0] for conv in (block.theta, block.phi, block.g))
    seen = [
        (t, h, w) for t in range(2) for h in range(0, 4, 2) for w in range(0, 4, 2)
    ]  # 2 x 2 windows in space, no window in time
    keys, values = (
        torch.stack([f[:, t, h : h + 2, w : w + 2].amax((1, 2)) for t, h, w in seen])
        for f in (phi, g)
    )
    y = torch.zeros(1, 3, 2, 4, 4)
    for t in range(2):
        for h in range(4):
            for w in range(4):
                likeness = torch.stack([theta[:, t, h, w] @ key for key in keys]) / math.sqrt(3)
                y[0, :, t, h, w] = likeness.softmax(0) @ values
    torch.testing.assert_close(block(x), block.norm(block.w(y)) + x, rtol=1e-4, atol=1e-4)


def test_a_fresh_nonlocal_block_changes_nothing_and_learns() -> None:
    stage = with_nonlocal(nn.Sequential(nn.Identity(), nn.Identity(), nn.Identity()), 4)
    assert [type(m).__name__ for m in stage] == ["Identity", "Identity", "NonLocal", "Identity"]
    x = torch.randn(2, 4, 3, 5, 5)
    torch.testing.assert_close(stage(x), x)
    stage(x).square().sum().backward()
    (block,) = (m for m in stage if isinstance(m, NonLocal))
    assert block.norm.weight.grad is not None and block.norm.weight.grad.abs().max() > 0


@pytest.mark.parametrize("name", NARROW)
def test_narrow_networks_see_the_order_of_frames(name: str) -> None:
    net = build_backbone(name).eval()
    clip = torch.rand(1, 3, 8, 64, 64)
    assert not torch.allclose(features(net, clip), features(net, clip.flip(2)), rtol=1e-2)


@pytest.mark.parametrize("name", NARROW)
def test_narrow_networks_keep_their_frames_until_the_flow(name: str) -> None:
    """The flow layer after block 3 has 4 frames or more of 8, and 16 x 16 of 64 x 64 pixels."""
    block = build_backbone(name).block(3)
    assert (block.stride, 8 // block.stride_time >= 4) == (4, True)


@pytest.mark.parametrize("name", ["narrow3d", "narrow2plus1d", "s3d_narrow", "i3d_narrow"])
def test_on_a_cpu_features_have_the_layout_that_is_faster_there(name: str) -> None:
    """Also those of a block whose clips come from a flow layer, which has planes."""
    net = build_backbone(name).eval()
    clip = torch.rand(16, 3, 8, 32, 32)  # torch has a convolution of its own for small batches
    for index in range(len(net.blocks)):
        plain = (net.stages[index - 1] if index else net.input)(clip)
        clip = net.forward_block(index, clip)
        assert clip.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(clip, plain, atol=1e-5, rtol=1e-5)
        clip = clip.contiguous()


def test_clips_of_one_batch_do_not_meet() -> None:
    net = build_backbone("nonlocal_narrow").eval()
    for module in net.modules():
        if isinstance(module, NonLocal):
            nn.init.ones_(module.norm.weight)
    clips = torch.rand(2, 3, 8, 32, 32)
    alone = torch.cat([features(net, clips[k : k + 1]) for k in range(2)])
    torch.testing.assert_close(features(net, clips), alone, rtol=1e-4, atol=1e-5)


def test_r2plus1d_34_is_torchvisions_18_made_deeper() -> None:
    """The blocks that both have in common have the same tensors, but for the channels between."""
    with torch.device("meta"):
        ours, theirs = build_backbone("r2plus1d_34"), torchvision.models.video.r2plus1d_18()
    for stage, layer in zip(ours.stages, (theirs.stem, theirs.layer1), strict=False):
        shapes = {key: value.shape for key, value in stage.state_dict().items()}
        assert {key: value.shape for key, value in layer.state_dict().items()}.items() <= (
            shapes.items()
        )


def features(net: Backbone, clip: torch.Tensor) -> torch.Tensor:
    return net.features(clip).mean((2, 3, 4))


@pytest.mark.parametrize("frames", [5, 6, 7, 8])
def test_i3d_learns_from_clips_shorter_than_its_first_kernel(frames: int) -> None:
    """oneDNN's gradient of such a convolution reads memory that nobody wrote, here NaN."""
    first = build_backbone("i3d", 2).stages[0][0][0]
    plain = nn.Conv3d(2, 64, 7, 2, 3, bias=False).double()
    plain.load_state_dict(first.state_dict())
    clip, weights = torch.randn(2, 2, frames, 16, 16), torch.randn(2, 64, (frames + 1) // 2, 8, 8)
    wanted = plain(clip.double())
    wanted.backward(weights.double())
    for size in (10**3, 10**4, 10**5, 10**6):
        torch.full((size,), math.nan)
    found = first(clip)
    found.backward(weights)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(first.weight.grad.double(), plain.weight.grad, rtol=1e-4, atol=1e-3)
