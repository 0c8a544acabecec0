"""What to build, train and measure, as frozen values; a run's name is the hash of its spec.

This module imports nothing of the package, so every layer of it may import this one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

FLOW_PARAMETERS = ("image_grad", "divergence", "theta", "lam", "tau")

Stream = Literal["rgb", "tvl1", "two_stream"]

ADDED = {"added": True}
"""Marks a field that is younger than the first runs: its default stands for what they did, and is
left out of the hash, so that they keep their names."""


@dataclass(frozen=True)
class FlowSpec:
    """One representation-flow layer and its place in the backbone."""

    after_block: int
    """0 is the RGB input, 1 the stem, 2 to 5 torchvision's `layer1` to `layer4`."""
    n_iter: int = 20
    """Iterations of Alg. 1."""
    bottleneck: int = 32
    """Channels the flow is computed on; at block 0, on the RGB channels themselves."""
    learn: tuple[str, ...] = ("divergence", "theta", "lam", "tau")
    """Which of FLOW_PARAMETERS are trained; the paper found the image gradient best left fixed."""

    def __post_init__(self) -> None:
        if self.n_iter < 0 or self.bottleneck < 1:
            raise ValueError("a flow layer needs n_iter >= 0 and bottleneck >= 1")
        if self.after_block < 0:
            raise ValueError("blocks are counted from 0, the RGB input")


@dataclass(frozen=True)
class ModelSpec:
    """A classifier: a backbone, what it sees, and the flow layer in it, if any."""

    backbone: str
    stream: Stream = "rgb"
    """`two_stream` averages the class probabilities of a trained `rgb` and a trained `tvl1` run."""
    flow: FlowSpec | None = None
    dropout: float = 0.3
    stack: int = 10
    """`tvl1`: how many consecutive TV-L1 fields make one input image (2 channels each)."""

    def __post_init__(self) -> None:
        if self.flow is not None and self.stream != "rgb":
            raise ValueError("a flow layer goes into the rgb stream")


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
    the paper's low-resolution setting (but never to less than the crop)."""
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
    seconds: float | None = field(default=None, metadata=ADDED)
    """Time from one frame of a clip to the next, in the place of `stride`: videos of different
    frame rates then show motion at the same speed."""
    jitter: tuple[float, float] = field(default=(1.0, 1.0), metadata=ADDED)
    """Training enlarges a clip by a factor drawn from this range before it is cropped."""
    crops: int = field(default=1, metadata=ADDED)
    """Crops of each view in evaluation, spread uniformly over the longer side; 1 is the centre."""

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
    split: int = field(default=1, metadata=ADDED)
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


@dataclass(frozen=True)
class RunSpec:
    """All that decides a run's result but the seed."""

    model: ModelSpec
    data: DataSpec
    recipe: RecipeSpec


def to_dict(spec: Any) -> dict[str, Any]:
    """A spec as plain JSON values."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(spec)))
    return plain


def spec_hash(spec: RunSpec) -> str:
    """12 hexadecimal digits that name a spec: SHA-256 of its canonical JSON."""
    canonical = json.dumps(_hashed(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _hashed(spec: Any) -> Any:
    """What of a spec goes into its hash."""
    if not dataclasses.is_dataclass(spec):
        return spec
    values = ((column, getattr(spec, column.name)) for column in dataclasses.fields(spec))
    return {
        column.name: _hashed(value)
        for column, value in values
        if not (column.metadata.get("added") and value == column.default)
    }


def low_res(clip: ClipSpec) -> ClipSpec:
    """The paper's low-resolution setting: frames halved, then a 112 x 112 crop."""
    return dataclasses.replace(clip, size="half", crop=(112, 112))
