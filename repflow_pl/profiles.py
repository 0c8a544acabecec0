"""The demo and the paper profile: the plain RGB row of a data set, which the others vary."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from repflow_pl.data.index import default_clip
from repflow_pl.specs import (
    ActionFlowNetSpec,
    ClipSpec,
    DataSpec,
    FirstKernels,
    FlowParameter,
    FlowSpec,
    ModelSpec,
    Motion,
    MotionFilterSpec,
    OFFSpec,
    RecipeSpec,
    RunSpec,
    Stream,
    TVNetSpec,
    late,
)

VARIED = ("narrow", "resnet18", "resnet34", "resnet50")
"""Backbones with a variant of half the stride, `<name>_fine`, one with the temporal shift,
`<name>_tsm`, and two of the same cost without weights to start from, `<name>_equal3d` and
`<name>_equal2plus1d`."""

ProfileName = Literal["demo", "paper"]


@dataclass(frozen=True)
class Profile:
    """What a table's rows are built from."""

    name: ProfileName
    backbone: str
    backbone_3d: str
    backbone_2plus1d: str
    backbone_nonlocal_2plus1d: str
    backbone_s3d: str
    backbone_i3d: str
    backbone_nonlocal: str
    """The 3D ResNet with non-local blocks."""
    dropout: float
    """Of networks with a flow layer or another representation of motion."""
    baseline_dropout: float
    """Of the plain RGB and the TV-L1 network."""
    stack: int
    bottleneck: int
    n_iter: int
    recipe: RecipeSpec
    baseline_recipe: RecipeSpec
    clip: ClipSpec
    tvnet: TVNetSpec
    off: OFFSpec
    motion_filter: MotionFilterSpec
    actionflownet: ActionFlowNetSpec
    learn: tuple[FlowParameter, ...] = FlowSpec.learn
    kernels: FirstKernels = FlowSpec.kernels
    """These two, of flow layers whose row does not say; see FlowSpec."""
    pretrained: bool = False
    """Start from torchvision's weights."""

    def on(self, backbone: str) -> Profile:
        """The same profile with another backbone."""
        return dataclasses.replace(self, backbone=backbone)

    def rgb(self, data: DataSpec) -> RunSpec:
        """The plain RGB network."""
        return self.seeing(data, "rgb")

    def flow_after(self, data: DataSpec, block: int, **changes: Any) -> RunSpec:
        """A flow layer after a block; `changes` are fields of FlowSpec."""
        flow = FlowSpec(block, self.n_iter, self.bottleneck, self.learn, self.kernels)
        flow = dataclasses.replace(flow, **changes)
        return RunSpec(self._model(self.dropout, flow=flow), data, self.recipe)

    def fcf_after(self, data: DataSpec, block: int) -> RunSpec:
        """Flow-Conv-Flow after a block, with the residual, as in the released networks."""
        return self.flow_after(data, block, layers=2, convolve=True, residual=True)

    def motion(self, data: DataSpec, motion: Motion, stream: Stream = "rgb") -> RunSpec:
        """Another representation of motion, trained as networks with a flow layer are."""
        model = self._model(self.dropout, stream=stream, motion=motion)
        return RunSpec(model, data, self.recipe)

    def off_streams(self, data: DataSpec) -> tuple[RunSpec, RunSpec, RunSpec]:
        """OFF on RGB, on TV-L1 and on RGB differences, whose late average Sun et al. report."""
        return (
            self.motion(data, self.off, "rgb"),
            self.motion(data, self.off, "tvl1"),
            self.motion(data, self.off, "rgb_diff"),
        )

    def seeing(self, data: DataSpec, stream: Stream, **changes: Any) -> RunSpec:
        """The plain network on a stream; `changes` are fields of ModelSpec."""
        model = self._model(self.baseline_dropout, stream=stream, **changes)
        return RunSpec(model, data, self.baseline_recipe)

    def tvl1(self, data: DataSpec) -> RunSpec:
        """The network on TV-L1 fields."""
        return self.seeing(data, "tvl1")

    def tvl1_twice(self, data: DataSpec) -> RunSpec:
        """The network on TV-L1 fields of TV-L1 fields, of which a clip has one fewer."""
        return self.seeing(data, "tvl1_twice", stack=max(1, self.stack - 1))

    def two_stream(self, data: DataSpec) -> RunSpec:
        """The late average of `rgb` and `tvl1`."""
        return late(self.rgb(data), self.tvl1(data))

    def _model(self, dropout: float, **changes: Any) -> ModelSpec:
        model = ModelSpec(
            self.backbone, dropout=dropout, stack=self.stack, pretrained=self.pretrained
        )
        return dataclasses.replace(model, **changes)


def demo_profile(data: str) -> Profile:
    """A narrow backbone on small clips: minutes on two CPU cores. Not the paper's setting."""
    recipe = RecipeSpec(
        epochs=10,
        batch=16,
        lr=3e-3,
        optimiser="adamw",
        weight_decay=0.01,
        schedule="one_cycle",
    )
    if data.startswith("motion_shapes"):  # chosen by experiments/choose_recipe.py
        recipe = dataclasses.replace(recipe, epochs=20)
    if data == "ut_interaction":  # 60 clips: more passes over fewer videos
        recipe = dataclasses.replace(recipe, epochs=40, batch=12)
    clip = default_clip(data)
    if data.startswith("ucf101"):  # chosen by experiments/choose_recipe.py
        recipe = dataclasses.replace(recipe, epochs=40, lr=1e-2)
        clip = dataclasses.replace(clip, frames=8, size=72, crop=(64, 64), views=4)
    return Profile(
        name="demo",
        backbone="narrow",
        backbone_3d="narrow3d",
        backbone_2plus1d="narrow2plus1d",
        backbone_nonlocal_2plus1d="narrow2plus1d_nonlocal",
        backbone_s3d="s3d_narrow",
        backbone_i3d="i3d_narrow",
        backbone_nonlocal="nonlocal_narrow",
        dropout=0.0,
        baseline_dropout=0.0,
        stack=5,
        bottleneck=8,
        n_iter=10,
        recipe=recipe,
        baseline_recipe=recipe,
        clip=clip,
        # Smooth textures of 64 pixels that move by up to 3 pixels a frame: three scales of 5
        # iterations are off by 0.15 pixels at most, one scale of 50, the paper's, by 1.5 and with
        # seven times the work. The widths of OFF and of the decoder fit the narrow backbone.
        tvnet=TVNetSpec(scales=3, warps=1, n_iter=5),
        off=OFFSpec(temporal=32, spatial=8, width=32),
        motion_filter=MotionFilterSpec(),
        actionflownet=ActionFlowNetSpec(width=16),
    )


def paper_profile(data: str) -> Profile:
    """The recipe of the released code: 16 frames at stride 2, 112 crop, 60 epochs of SGD.

    The plain networks follow the released 2D baselines, which start from ImageNet weights. The
    volumetric ones are of the same depth as each other, so that a table compares kinds of
    convolution, and of 18 layers, because of those torchvision has weights.
    """
    demo = default_clip(data)
    clip = dataclasses.replace(
        demo,
        frames=16,
        stride=1 if data.startswith("motion_shapes") else 2,  # whose videos have 20 frames or more
        size=demo.source_crop or 128,
        crop=(112, 112),
        views=10,
        short="hold",
    )
    return Profile(
        name="paper",
        backbone="resnet34",
        backbone_3d="r3d_18",
        backbone_2plus1d="r2plus1d_18",
        backbone_nonlocal_2plus1d="r2plus1d_18_nonlocal",
        backbone_s3d="s3d",
        backbone_i3d="i3d",
        backbone_nonlocal="resnet101_nonlocal",
        dropout=0.3,
        baseline_dropout=0.8,
        stack=10,
        bottleneck=32,
        n_iter=20,
        recipe=RecipeSpec(epochs=60, batch=24, lr=0.01),
        baseline_recipe=RecipeSpec(epochs=100, batch=24, lr=0.005, schedule="step"),
        clip=clip,
        tvnet=TVNetSpec(),
        off=OFFSpec(),
        motion_filter=MotionFilterSpec(),
        actionflownet=ActionFlowNetSpec(),
    )


def build_profile(name: ProfileName, data: str) -> Profile:
    """A profile for a data set."""
    return demo_profile(data) if name == "demo" else paper_profile(data)
