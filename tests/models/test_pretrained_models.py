"""Every classifier gives a pretrained backbone what its weights expect; stand-in weights."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from repflow_pl.backbones import Backbone, registry
from repflow_pl.models.build import build_model
from repflow_pl.specs import (
    ActionFlowNetSpec,
    FlowSpec,
    ModelSpec,
    MotionFilterSpec,
    OFFSpec,
    TVNetSpec,
)

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
OFF = OFFSpec(temporal=4, spatial=2, width=8)

RGB = {
    "plain": ModelSpec("resnet18", pretrained=True),
    "flow": ModelSpec("resnet18", flow=FlowSpec(3, n_iter=2, bottleneck=4), pretrained=True),
    "flow on the input": ModelSpec("resnet18", flow=FlowSpec(0, n_iter=2), pretrained=True),
    "half the stride": ModelSpec("resnet18_fine", pretrained=True),
    "grey": ModelSpec("resnet18", "grey", pretrained=True),
    "OFF": ModelSpec("resnet18", motion=OFF, pretrained=True),
    "MFNet": ModelSpec("resnet18", motion=MotionFilterSpec(), pretrained=True),
    "ActionFlowNet": ModelSpec("resnet18", motion=ActionFlowNetSpec(width=8), pretrained=True),
    "volumetric": ModelSpec("r3d_18", pretrained=True),
}
DIFFERENCES = {
    "plain": ModelSpec("resnet18", "rgb_diff", pretrained=True),
    "OFF": ModelSpec("resnet18", "rgb_diff", motion=OFF, pretrained=True),
    "MFNet": ModelSpec("resnet18", "rgb_diff", motion=MotionFilterSpec(), pretrained=True),
    "volumetric": ModelSpec("r3d_18", "rgb_diff", pretrained=True),
}
FIELDS = {  # stacks of 6 channels too, which could be taken for two frames
    "plain": ModelSpec("resnet18", "tvl1", stack=3, pretrained=True),
    "OFF": ModelSpec("resnet18", "tvl1", motion=OFF, stack=3, pretrained=True),
    "MFNet": ModelSpec("resnet18", "tvl1", motion=MotionFilterSpec(), stack=3, pretrained=True),
    "volumetric": ModelSpec("r3d_18", "tvl1", pretrained=True),
    "twice": ModelSpec("resnet18", "tvl1_twice", stack=3, pretrained=True),
    "TVNet": ModelSpec("resnet18", motion=TVNetSpec(n_iter=2), stack=3, pretrained=True),
}


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights for the downloaded ones."""
    torch.manual_seed(0)

    def drawn(weights: WeightsEnum, otherwise: str) -> dict[str, Tensor]:
        name = type(weights).__name__.removesuffix("_Weights").lower()
        state: dict[str, Tensor] = torchvision.models.get_model(name).state_dict()
        return state

    monkeypatch.setattr(registry, "fetch", drawn)


def scaled_input(model: nn.Module, clip: Tensor) -> tuple[Tensor, Tensor]:
    """What the backbone is given, and what its block 0 makes of it."""
    seen: list[tuple[Tensor, Tensor]] = []
    backbone = next(m for m in model.modules() if isinstance(m, Backbone))
    backbone.input.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    model.eval()(clip)
    (once,) = seen
    return once


def of_rgb(statistics: tuple[tuple[float, ...], ...], name: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation, for two frames where the network sees pairs."""
    frames = 2 if name == "ActionFlowNet" else 1
    mean, std = (torch.tensor(values * frames).view(-1, 1, 1, 1) for values in statistics)
    return mean, std


@pytest.mark.long
@pytest.mark.parametrize("name", RGB)
@torch.no_grad()
def test_pixels_are_standardised(name: str) -> None:
    spec = RGB[name]
    mean, std = of_rgb(KINETICS if spec.backbone == "r3d_18" else IMAGENET, name)
    given, scaled = scaled_input(build_model(spec, 4), torch.rand(2, 3, 4, 64, 64) * 2 - 1)
    torch.testing.assert_close(scaled, ((given + 1) / 2 - mean) / std, rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", DIFFERENCES)
@torch.no_grad()
def test_differences_of_pixels_are_those_of_standardised_ones(name: str) -> None:
    spec = DIFFERENCES[name]
    mean, std = of_rgb(KINETICS if spec.backbone == "r3d_18" else IMAGENET, name)
    clip = torch.rand(2, 3, 4, 64, 64) * 2 - 1
    _, scaled = scaled_input(build_model(spec, 4), clip)
    pixels = ((clip + 1) / 2 - mean) / std
    torch.testing.assert_close(scaled, pixels.diff(dim=2), rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", FIELDS)
@torch.no_grad()
def test_fields_stay_as_they_are(name: str) -> None:
    spec = FIELDS[name]
    channels = 3 if name == "TVNet" else 4 if name == "twice" else 2
    given, scaled = scaled_input(build_model(spec, 4), torch.randn(2, channels, 5, 64, 64))
    assert torch.equal(given, scaled)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "name"),
    [("rgb", n) for n in RGB] + [("differences", n) for n in DIFFERENCES],
)
@torch.no_grad()
def test_scores_are_those_of_the_scaled_input_alone(kind: str, name: str) -> None:
    """With a block 0 that shows nothing, two clips are the same: nothing goes past it."""
    model = build_model((RGB if kind == "rgb" else DIFFERENCES)[name], 4).eval()
    first, second = torch.rand(2, 1, 3, 4, 64, 64) * 2 - 1
    assert not torch.equal(model(first), model(second))
    backbone = next(m for m in model.modules() if isinstance(m, Backbone))
    backbone.input = nn.Threshold(1e9, 0)
    assert torch.equal(model(first), model(second))
