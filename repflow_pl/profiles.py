"""The demo and the paper profile: the plain RGB row of a data set, which the others vary."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from repflow_pl.data.index import default_clip
from repflow_pl.specs import (
    ClipSpec,
    DataSpec,
    FlowSpec,
    ModelSpec,
    RecipeSpec,
    RunSpec,
    low_res,
)

ProfileName = Literal["demo", "paper"]


@dataclass(frozen=True)
class Profile:
    """What a table's rows are built from."""

    name: ProfileName
    backbone: str
    dropout: float
    """Of networks with a flow layer."""
    baseline_dropout: float
    """Of the plain RGB and the TV-L1 network."""
    stack: int
    bottleneck: int
    n_iter: int
    recipe: RecipeSpec
    baseline_recipe: RecipeSpec
    clip: ClipSpec

    def rgb(self, data: DataSpec) -> RunSpec:
        """The plain per-frame RGB network."""
        model = ModelSpec(self.backbone, dropout=self.baseline_dropout, stack=self.stack)
        return RunSpec(model, data, self.baseline_recipe)

    def flow_after(self, data: DataSpec, block: int) -> RunSpec:
        """A flow layer after a block."""
        flow = FlowSpec(block, n_iter=self.n_iter, bottleneck=self.bottleneck)
        model = ModelSpec(self.backbone, flow=flow, dropout=self.dropout, stack=self.stack)
        return RunSpec(model, data, self.recipe)

    def tvl1(self, data: DataSpec) -> RunSpec:
        """The network on stacked TV-L1 fields."""
        rgb = self.rgb(data)
        return dataclasses.replace(rgb, model=dataclasses.replace(rgb.model, stream="tvl1"))

    def two_stream(self, data: DataSpec) -> RunSpec:
        """The late average of `rgb` and `tvl1`."""
        rgb = self.rgb(data)
        return dataclasses.replace(rgb, model=dataclasses.replace(rgb.model, stream="two_stream"))


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
    if data == "ut_interaction":  # 60 clips: more passes over fewer videos
        recipe = dataclasses.replace(recipe, epochs=40, batch=12)
    return Profile(
        name="demo",
        backbone="narrow",
        dropout=0.0,
        baseline_dropout=0.0,
        stack=5,
        bottleneck=8,
        n_iter=10,
        recipe=recipe,
        baseline_recipe=recipe,
        clip=default_clip(data),
    )


def paper_profile(data: str) -> Profile:
    """The recipe of the released code: 16 frames at stride 2, 112 crop, 60 epochs of SGD.

    The plain networks follow the released 2D baselines, which start from ImageNet weights.
    """
    demo = default_clip(data)
    clip = dataclasses.replace(
        demo,
        frames=16,
        stride=1 if data == "motion_shapes" else 2,  # whose videos have 20 frames or more
        size=demo.source_crop or 128,
        crop=(112, 112),
        views=10,
        short="hold",
    )
    return Profile(
        name="paper",
        backbone="resnet34",
        dropout=0.3,
        baseline_dropout=0.8,
        stack=10,
        bottleneck=32,
        n_iter=20,
        recipe=RecipeSpec(epochs=60, batch=24, lr=0.01),
        baseline_recipe=RecipeSpec(epochs=100, batch=24, lr=0.005, schedule="step"),
        clip=clip,
    )


def build_profile(
    name: ProfileName, data: str, backbone: str | None = None, low_resolution: bool = False
) -> Profile:
    """A profile for a data set, with another backbone or the low-resolution clips where asked."""
    profile = demo_profile(data) if name == "demo" else paper_profile(data)
    if low_resolution:
        profile = dataclasses.replace(profile, clip=low_res(profile.clip))
    return profile if backbone is None else dataclasses.replace(profile, backbone=backbone)
