"""The non-local block: self-attention over the positions of a clip, added to its features."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from repflow_pl.backbones.pretrained import NEW


class NonLocal(nn.Module):
    """Wang et al., "Non-local Neural Networks" (CVPR 2018), Eq. 1 to 6: z = W y + x.

    Embedded Gaussian with half of the channels inside, keys and values subsampled by 2 x 2 in space
    (Section 3.3), a batch norm behind W whose scale starts at 0 (Section 4.1), so that a fresh
    block changes nothing. Products are divided by the root of the inner channels and the weights
    start at a standard deviation of 0.01, as in the authors' code.

    Shapes: [B, C, T, H, W] -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.subsample = nn.MaxPool3d((1, 2, 2), ceil_mode=True)
        self.w = nn.Conv3d(inner, channels, 1)
        self.norm = nn.BatchNorm3d(channels)
        for conv in (self.theta, self.phi, self.g, self.w):
            nn.init.normal_(conv.weight, std=0.01)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.theta(x).flatten(2).transpose(1, 2)  # [B, THW, C / 2]
        keys = self.subsample(self.phi(x)).flatten(2)  # [B, C / 2, THW / 4]
        values = self.subsample(self.g(x)).flatten(2).transpose(1, 2)
        attention = torch.softmax(queries @ keys / keys.shape[1] ** 0.5, dim=-1)
        y = (attention @ values).transpose(1, 2).unflatten(2, x.shape[2:])
        out: Tensor = x + self.norm(self.w(y))
        return out


def with_nonlocal(stage: nn.Sequential, channels: int, every: int = 2) -> nn.Sequential:
    """A stage of residual blocks with a non-local block behind every `every`-th of them.

    The residual blocks keep their names, so that pretrained weights find them.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for k, (name, block) in enumerate(stage.named_children(), start=1):
        modules[name] = block
        if k % every == 0:
            modules[f"{NEW}{k // every}"] = NonLocal(channels)
    return nn.Sequential(modules)
