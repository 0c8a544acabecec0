"""The 1x1 convolution against torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from repflow_pl.layers.conv import Pointwise


@pytest.mark.parametrize("channels", [(6, 3), (16, 8), (5, 32)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [0, 3])
@pytest.mark.parametrize("planes", [False, True])
def test_agrees_with_a_convolution(
    channels: tuple[int, int], layout: torch.memory_format, batch: int, planes: bool
) -> None:
    torch.manual_seed(0)
    layer = Pointwise(*channels, planes)
    x = torch.randn(batch, channels[0], 4, 5).to(memory_format=layout)
    x.requires_grad_()
    ours, theirs = layer(x), F.conv2d(x, layer.weight)
    cotangent = torch.randn_like(theirs)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours, [x, layer.weight], cotangent),
        torch.autograd.grad(theirs, [x, layer.weight], cotangent),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_writes_the_layout_that_comes_next() -> None:
    x = torch.randn(2, 16, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    features, planes = Pointwise(16, 8)(x), Pointwise(16, 8, planes=True)(x)
    assert features.is_contiguous(memory_format=torch.channels_last) and planes.is_contiguous()
    for out in (features, planes):
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_state_is_that_of_a_convolution() -> None:
    layer = Pointwise(4, 2)
    torch.nn.Conv2d(4, 2, 1, bias=False).load_state_dict(layer.state_dict())


def test_a_batch_norm_may_be_folded_into_it() -> None:
    """Which gives it a bias."""
    layer, norm = Pointwise(6, 8).eval(), torch.nn.BatchNorm2d(8).eval()
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 6, 4, 5)
    torch.testing.assert_close(fuse_conv_bn_eval(layer, norm)(x), norm(layer(x)))
