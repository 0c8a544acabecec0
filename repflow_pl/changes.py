"""A recipe of one's own: what of a profile's recipe, clips and networks is asked to be another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from repflow_pl.errors import UserError
from repflow_pl.options import typed
from repflow_pl.profiles import Profile
from repflow_pl.specs import FirstKernels, FlowParameter, in_order

T = TypeVar("T")


@dataclass(frozen=True)
class RecipeChanges:
    """Another recipe for all rows; by default the profile's. It names other runs and tables."""

    epochs: int | None = None
    """Passes over the training part; by default the profile's."""
    batch: int | None = None
    """Clips in a step, on all devices together; by default the profile's."""
    lr: float | None = None
    """Learning rate; by default the profile's."""
    optimiser: Literal["sgd", "adamw"] | None = None
    """By default the profile's."""
    flow_lr_factor: float | None = None
    """The flow parameters learn at this fraction of the rate; by default 0.01."""
    momentum: float | None = None
    """Of sgd; by default 0.9."""
    weight_decay: float | None = None
    """By default the profile's."""
    schedule: Literal["plateau", "step", "one_cycle"] | None = None
    """Of the learning rate; by default the profile's."""

    def __post_init__(self) -> None:
        _check_counts("recipe", self, "epochs", "batch")
        for name in ("lr", "flow_lr_factor", "momentum", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"--recipe.{name.replace('_', '-')} is a number of 0 or more.")


@dataclass(frozen=True)
class ClipChanges:
    """Other clips for all rows; by default the profile's. They name other runs and tables."""

    frames: int | None = None
    """Frames of a clip; by default the profile's."""
    stride: int | None = None
    """Every stride-th frame is taken; by default the profile's."""
    seconds: float | None = None
    """Time from frame to frame, in the place of the stride; by default the stride counts."""
    source_crop: tuple[int, int] | None = None
    """[height, width] in the file's own pixels, cut before resizing; by default the data set's."""
    size: int | tuple[int, int] | Literal["half"] | None = None
    """Short side in pixels, [height, width], or half of the file's; by default the profile's."""
    crop: tuple[int, int] | None = None
    """[height, width] of a clip's pixels; by default the profile's."""
    flip: bool | None = None
    """Whether half of the training clips are mirrored; by default the data set's."""
    views: int | None = None
    """Clips of a video whose scores are averaged in the test; by default the profile's."""
    crops: int | None = None
    """Crops of each of them; by default the profile's."""
    short: Literal["refuse", "hold"] | None = None
    """A video shorter than a clip is refused, or its last frame held; by default the profile's."""
    jitter: tuple[float, float] | None = None
    """[least, most] factor that training enlarges a clip by; by default the profile's."""

    def __post_init__(self) -> None:
        _check_counts("clip", self, "frames", "stride", "views", "crops")
        for name in ("source_crop", "size", "crop"):
            value = getattr(self, name)
            sides = value if isinstance(value, tuple) else (value,)
            if any(isinstance(side, int) and side < 1 for side in sides):
                raise UserError(f"--clip.{name.replace('_', '-')} is in pixels, 1 or more.")


@dataclass(frozen=True)
class ModelChanges:
    """Other networks in all rows; by default the profile's. They name other runs and tables."""

    dropout: float | None = None
    """Before the last layer, with a flow layer and without; by default the profile's."""
    stack: int | None = None
    """Flow fields in an input image of a network on TV-L1; by default the profile's."""
    bottleneck: int | None = None
    """Channels that the flow is computed on; by default the profile's."""
    n_iter: int | None = None
    """Iterations of the flow layer, where the row does not say; by default the profile's."""
    learn: tuple[FlowParameter, ...] | None = None
    """What of the flow layer is trained, where the row does not say: [] for nothing, or of
    [image_grad,divergence,theta,lam,tau]; by default all but the image gradient."""
    kernels: FirstKernels | None = None
    """First image gradients of the flow layer, where the row does not say; by default central."""

    def __post_init__(self) -> None:
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError("--model.dropout is a share, 0 or more and below 1.")
        _check_counts("model", self, "stack", "bottleneck", "n_iter")
        if self.learn is not None:
            object.__setattr__(self, "learn", in_order(self.learn))


Changes = RecipeChanges | ClipChanges | ModelChanges


def _check_counts(group: str, changes: Changes, *names: str) -> None:
    for name in names:
        value = getattr(changes, name)
        if value is not None and value < 1:
            raise UserError(f"--{group}.{name.replace('_', '-')} is a count of 1 or more.")


def asked(changes: Changes) -> dict[str, Any]:
    """What is to be changed, by field."""
    values = {f.name: getattr(changes, f.name) for f in dataclasses.fields(changes)}
    return {name: value for name, value in values.items() if value is not None}


def changed(
    profile: Profile, recipe: RecipeChanges, clip: ClipChanges, model: ModelChanges
) -> Profile:
    """The profile with the changes made. Errors: UserError for what does not go together."""
    ours = asked(model)
    if "dropout" in ours:
        ours["baseline_dropout"] = ours["dropout"]
    try:
        return dataclasses.replace(
            profile,
            recipe=dataclasses.replace(profile.recipe, **asked(recipe)),
            baseline_recipe=dataclasses.replace(profile.baseline_recipe, **asked(recipe)),
            clip=dataclasses.replace(profile.clip, **asked(clip)),
            **ours,
        )
    except ValueError as error:
        raise UserError(f"--clip: {error}.") from error


def without_the_same(
    changes: T, own: tuple[Any, ...], how_many: Callable[[Iterable[bool]], bool] = all
) -> T:
    """The changes less those that leave `how_many` of `own` as they are."""
    same = {
        name: None
        for name, value in asked(changes).items()  # type: ignore[arg-type]
        if how_many(getattr(each, name) == value for each in own)
    }
    return dataclasses.replace(changes, **same)  # type: ignore[type-var]


def words(*several: Changes) -> list[str]:
    """Each change as one reads it: `epochs 20`, `crop 64 x 64`, `no flip`, `learn tau + theta`."""
    return [
        _word(name.replace("_", " "), value)
        for changes in several
        for name, value in asked(changes).items()
    ]


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if name == "learn":
        return f"learn {' + '.join(value) or 'nothing'}"
    if isinstance(value, tuple):
        return f"{name} {' x '.join(map(typed, value))}"
    return f"{name} {typed(value)}"
