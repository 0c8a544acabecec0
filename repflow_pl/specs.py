"""What to build, train and measure, as frozen values; a run's name is the hash of its spec.

This module imports nothing of the package, so every layer of it may import this one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

FlowParameter = Literal["image_grad", "divergence", "theta", "lam", "tau"]
FLOW_PARAMETERS: tuple[FlowParameter, ...] = get_args(FlowParameter)
FirstKernels = Literal["central", "sobel"]
"""See FlowSpec."""

DataStream = Literal["rgb", "tvl1", "tvl1_twice", "vectors", "raft"]
"""What is loaded: frames, TV-L1 fields, the TV-L1 fields of the fields' components, the motion
vectors that the video files hold, or RAFT's fields."""
Stream = Literal["rgb", "grey", "rgb_diff", "tvl1", "tvl1_twice", "vectors", "raft"]
"""What a network sees; `grey` is RGB's brightness in each of the three channels, `rgb_diff` are the
differences between consecutive frames."""
Precision = Literal["32", "bf16"]
"""Of training and evaluation: float32, or bfloat16 where autocast takes it and float32 weights."""


@dataclass(frozen=True)
class FlowSpec:
    """The representation-flow layers of a network and their place in the backbone."""

    after_block: int
    """0 is the RGB input, 1 the stem, 2 to 5 torchvision's `layer1` to `layer4`."""
    n_iter: int = 20
    """Iterations of Alg. 1."""
    bottleneck: int = 32
    """Channels the flow is computed on; at block 0, on the RGB channels themselves."""
    learn: tuple[FlowParameter, ...] = ("divergence", "theta", "lam", "tau")
    """Which of FLOW_PARAMETERS are trained; the paper found the image gradient best left fixed."""
    kernels: FirstKernels = "central"
    """First image gradients: central differences as released, or Sobel as in the paper's text."""
    fuse: Literal["none", "add", "multiply", "concat"] = "none"
    """How the features that the flow is computed of go on beside it."""
    layers: int = 1
    """Flow layers one after another; several make a FlowStack."""
    convolve: bool = False
    """Of several layers: convolutions between them (Flow-Conv-Flow) or none (Flow-of-Flow)."""
    residual: bool = False
    """Of several layers: add the features to the result, as the released Flow-Conv-Flow does."""

    def __post_init__(self) -> None:
        if self.n_iter < 0 or self.bottleneck < 1 or self.layers < 1:
            raise ValueError("a flow layer needs n_iter >= 0, bottleneck >= 1 and layers >= 1")
        if self.after_block < 0:
            raise ValueError("blocks are counted from 0, the RGB input")
        if self.layers == 1 and (self.convolve or self.residual):
            raise ValueError("convolve and residual are for several flow layers")
        if self.layers > 1 and self.fuse != "none":
            raise ValueError("fuse is for a single flow layer; several have residual")


@dataclass(frozen=True)
class TVNetSpec:
    """TVNet (Fan et al., CVPR 2018): unrolled TV-L1, whose fields a CNN classifies.

    The defaults are those of the authors' release, "TVNet-50" of their paper.
    """

    scales: int = 1
    """Of factor 2; the coarsest first."""
    warps: int = 1
    """Of each scale."""
    n_iter: int = 50
    """Of each warp."""
    kind: Literal["tvnet"] = "tvnet"

    def __post_init__(self) -> None:
        if self.scales < 1 or self.warps < 1 or self.n_iter * self.warps < 2:
            raise ValueError("TVNet needs a scale, a warp and two iterations, or more")


@dataclass(frozen=True)
class OFFSpec:
    """OFF (Sun et al., CVPR 2018): gradients of features in space and time, in a branch beside.

    Widths are those of the authors' release.
    """

    temporal: int = 128
    """Channels whose differences in time are taken."""
    spatial: int = 32
    """Channels whose Sobel gradients are taken, in x and in y."""
    width: int = 128
    """Of the units that carry the features from depth to depth."""
    kind: Literal["off"] = "off"


@dataclass(frozen=True)
class MotionFilterSpec:
    """MFNet (Lee et al., ECCV 2018): differences of shifted features, added between the stages."""

    reduction: int = 4
    """Channels of a stage per channel of the filter."""
    kind: Literal["motion_filter"] = "motion_filter"


@dataclass(frozen=True)
class ActionFlowNetSpec:
    """ActionFlowNet (Ng et al., WACV 2018): the network also learns to predict the TV-L1 fields."""

    flow_weight: float = 1.0
    """Of the end-point error, in pixels, beside the cross-entropy."""
    width: int = 64
    """Of the decoder; it has no part in the scores."""
    kind: Literal["actionflownet"] = "actionflownet"


Motion = TVNetSpec | OFFSpec | MotionFilterSpec | ActionFlowNetSpec


@dataclass(frozen=True)
class ModelSpec:
    """A classifier: a backbone, what it sees, and what in it represents motion, if anything."""

    backbone: str
    stream: Stream = "rgb"
    flow: FlowSpec | None = None
    motion: Motion | None = None
    """Another representation of motion than the flow layer's."""
    dropout: float = 0.3
    stack: int = 10
    """How many consecutive flow fields make one input image (2 channels each, 4 of twice); a
    backbone that sees whole clips takes the fields as a clip, whatever the stack."""
    pretrained: bool = False
    """Start from torchvision's weights of the backbone: ImageNet for 2D networks and those inflated
    from them, Kinetics-400 for the other volumetric ones."""

    def __post_init__(self) -> None:
        if self.flow is not None and self.stream not in ("rgb", "grey"):
            raise ValueError("a flow layer goes into the rgb stream, or the grey one")
        if self.flow is not None and self.motion is not None:
            raise ValueError("a model has one representation of motion, a flow layer or another")
        if isinstance(self.motion, TVNetSpec | ActionFlowNetSpec) and self.stream != "rgb":
            raise ValueError(f"{self.motion.kind} goes into the rgb stream")


@dataclass(frozen=True)
class ClipSpec:
    """How a video becomes clips. Preprocessing is part of the spec: it moves accuracy."""

    frames: int = 8
    stride: int = 1
    """Every stride-th frame is taken, so a clip spans (frames - 1) * stride + 1 frames."""
    source_crop: tuple[int, int] | None = None
    """Centre crop (height, width) in the file's own pixels before resizing: where a set's frame
    sizes tell the class, a fixed crop hides them."""
    size: int | tuple[int, int] | Literal["half"] = 64
    """Resize to this short side, to exactly (height, width), or to half of the file's frames as in
    the paper's low-resolution setting (but never to less than the crop; smaller films are refused,
    since nothing is enlarged)."""
    crop: tuple[int, int] = (64, 64)
    """(height, width): random place in training, centre in evaluation."""
    flip: bool = False
    """Mirror half of the training clips; refused where left and right are classes."""
    views: int = 2
    """Clips per video in evaluation, spread uniformly over its length, their scores averaged."""
    order: Literal["forward", "shuffled"] = "forward"
    """`shuffled` permutes each clip's frames: the control that takes the motion away."""
    short: Literal["refuse", "hold"] = "refuse"
    """A video shorter than a clip is refused, or its last frame is held."""
    seconds: float | None = None
    """Time from one frame of a clip to the next, in the place of `stride`: videos of different
    frame rates then show motion at the same speed."""
    jitter: tuple[float, float] = (1.0, 1.0)
    """Training enlarges a clip by a factor drawn from this range before it is cropped."""
    crops: int = 1
    """Crops of each view in evaluation, spread uniformly over the longer side; 1 is the centre."""
    fields: str = ""
    """How TV-L1 fields that lie beside the videos were made, where a run takes them; else they are
    computed from the prepared frames. Filled in when the set is opened."""

    def __post_init__(self) -> None:
        low, high = self.jitter
        if not 0 < low <= high:
            raise ValueError("jitter is a range of factors above 0, the smaller one first")
        if self.seconds is not None and self.seconds <= 0:
            raise ValueError("seconds from frame to frame are above 0")
        if self.views < 1 or self.crops < 1:
            raise ValueError("evaluation needs one view and one crop at least")

    @property
    def clips_per_video(self) -> int:
        """Clips in evaluation whose scores are averaged: views x crops."""
        return self.views * self.crops

    def offsets(self, fps: float) -> tuple[int, ...]:
        """The frames of a clip of a video with `fps` frames per second, counted from its first."""
        step = self.stride if self.seconds is None else self.seconds * fps
        return tuple(round(k * step) for k in range(self.frames))

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last of a clip at `stride`, both counted."""
        return (self.frames - 1) * self.stride + 1


@dataclass(frozen=True)
class DataSpec:
    """A data set, its split and its clips."""

    name: str
    clip: ClipSpec = field(default_factory=ClipSpec)
    fingerprint: str = ""
    """Hash of the list of videos, filled in when the set is opened: other videos, other run."""
    split: int = 1
    """Which of the set's official splits, from 1."""


@dataclass(frozen=True)
class RecipeSpec:
    """How to train. Batch is global: the number of devices never changes the recipe."""

    epochs: int
    batch: int
    lr: float
    optimiser: Literal["sgd", "adamw"] = "sgd"
    flow_lr_factor: float = 0.01
    """The flow parameters learn at this fraction of `lr`."""
    momentum: float = 0.9
    weight_decay: float = 1e-6
    schedule: Literal["plateau", "step", "one_cycle"] = "plateau"
    """`plateau`: ReduceLROnPlateau(patience 7) on the validation loss; `step`: StepLR(12, 0.1);
    `one_cycle`: OneCycleLR, per step."""
    precision: Precision = "32"
    compile: bool = False
    """Train what torch.compile makes of the network; evaluation takes the network itself."""


@dataclass(frozen=True)
class LateSpec:
    """Late fusion: the mean of the class probabilities of runs trained each on its own."""

    members: tuple[RunSpec, ...]

    def __post_init__(self) -> None:
        if len(self.members) < 2 or any(isinstance(m.model, LateSpec) for m in self.members):
            raise ValueError("late fusion is of two trained runs or more")


@dataclass(frozen=True)
class RunSpec:
    """All that decides a run's result but the seed."""

    model: ModelSpec | LateSpec
    data: DataSpec
    recipe: RecipeSpec


def in_order(names: Collection[str]) -> tuple[FlowParameter, ...]:
    """Flow parameters in the order of FLOW_PARAMETERS, each once: that of typing names no run."""
    return tuple(name for name in FLOW_PARAMETERS if name in names)


def late(*members: RunSpec) -> RunSpec:
    """The late fusion of runs on the same data; it trains nothing itself."""
    return RunSpec(LateSpec(members), members[0].data, members[0].recipe)


def trained_of(spec: RunSpec) -> tuple[RunSpec, ...]:
    """The runs behind a spec that are trained: its own, or those of a late fusion."""
    return spec.model.members if isinstance(spec.model, LateSpec) else (spec,)


def effective(spec: RunSpec) -> RunSpec:
    """The spec with the defaults of what the rest of it makes void: equal ones train alike."""
    model, clip, recipe = spec.model, spec.data.clip, spec.recipe
    if isinstance(model, LateSpec):
        return late(*map(effective, model.members))
    if recipe.optimiser == "adamw":
        recipe = dataclasses.replace(recipe, momentum=RecipeSpec.momentum)
    if not (model.flow and model.flow.learn) and not isinstance(model.motion, TVNetSpec):
        recipe = dataclasses.replace(recipe, flow_lr_factor=RecipeSpec.flow_lr_factor)
    if clip.seconds is not None:
        clip = dataclasses.replace(clip, stride=ClipSpec.stride)
    if streams_of(model) == ("rgb",):
        model = dataclasses.replace(model, stack=ModelSpec.stack)
    return RunSpec(model, dataclasses.replace(spec.data, clip=clip), recipe)


def networks_of(model: ModelSpec | LateSpec) -> tuple[ModelSpec, ...]:
    """The network, or those of a late fusion."""
    if isinstance(model, ModelSpec):
        return (model,)
    return tuple(network for member in model.members for network in networks_of(member.model))


def with_networks(
    model: ModelSpec | LateSpec, change: Callable[[ModelSpec], ModelSpec]
) -> ModelSpec | LateSpec:
    """The same model of changed networks."""
    if isinstance(model, ModelSpec):
        return change(model)
    members = (
        dataclasses.replace(each, model=with_networks(each.model, change)) for each in model.members
    )
    return LateSpec(tuple(members))


def streams_of(model: ModelSpec | LateSpec) -> tuple[DataStream, ...]:
    """What a network is given, in the order in which it takes it."""
    found: dict[DataStream, None] = {}
    for network in networks_of(model):
        if network.stream == "grey" or network.stream == "rgb_diff":
            found["rgb"] = None
        else:
            found[network.stream] = None
    return tuple(found)


def training_streams_of(model: ModelSpec | LateSpec) -> tuple[DataStream, ...]:
    """What training loads: more than evaluation where the fields teach the network."""
    if isinstance(model, ModelSpec) and isinstance(model.motion, ActionFlowNetSpec):
        return ("rgb", "tvl1")
    return streams_of(model)


def with_fields(spec: RunSpec, fields: Mapping[str, str]) -> RunSpec:
    """The spec of a run on a set with TV-L1 fields beside its videos, where it takes such fields.

    Args:
        fields: how they were made, by `stride<k>`.
    """
    model, data = spec.model, spec.data
    if isinstance(model, LateSpec):
        model = LateSpec(tuple(with_fields(member, fields) for member in model.members))
    if "tvl1" in training_streams_of(model):
        clip = data.clip
        made = fields.get(f"stride{clip.stride}", "")
        data = dataclasses.replace(data, clip=dataclasses.replace(clip, fields=made))
    return RunSpec(model, data, spec.recipe)


def to_dict(spec: Any) -> dict[str, Any]:
    """A spec as plain JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(spec)))
    return plain


def spec_hash(spec: RunSpec) -> str:
    """12 hexadecimal digits that name a spec: SHA-256 of its canonical JSON.

    Fields at their default are left out, but for `kind`, which tells specs apart. So a new option
    whose default means "as before" leaves every finished run its name; and a published default must
    never change.
    """
    canonical = json.dumps(_without_defaults(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _without_defaults(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_without_defaults(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    return {
        f.name: _without_defaults(getattr(value, f.name))
        for f in dataclasses.fields(value)
        if f.name == "kind"
        or f.default is dataclasses.MISSING
        or getattr(value, f.name) != f.default
    }


def low_res(clip: ClipSpec) -> ClipSpec:
    """The paper's low-resolution setting: frames halved, then a 112 x 112 crop."""
    return dataclasses.replace(clip, size="half", crop=(112, 112))
