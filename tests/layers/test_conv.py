"""The 1x1 convolution against torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from repflow_pl.layers.conv import Pointwise


@pytest.mark.parametrize("channels", [(6, 3), (16, 8), (5, 32)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batch", [0, 3])
def test_agrees_with_a_convolution(
    channels: tuple[int, int], layout: torch.memory_format, batch: int
) -> None:
    torch.manual_seed(0)
    layer = Pointwise(*channels)
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


def test_state_is_that_of_a_convolution() -> None:
    layer = Pointwise(4, 2)
    torch.nn.Conv2d(4, 2, 1, bias=False).load_state_dict(layer.state_dict())
