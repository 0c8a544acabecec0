"""Where and how runs are made. Imports no trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console

WandbMode = Literal["offline", "online", "disabled"]


@dataclass(frozen=True)
class Machine:
    """Where and how runs are made. Nothing here changes what they result in."""

    out: Path
    """Folder of runs/, wandb/ and tensorboard/."""
    devices: int = 1
    """GPUs or, without any, CPU processes that make one run together."""
    wandb: WandbMode = "disabled"
    console: Console = field(default_factory=lambda: Console(markup=False))
    """Takes lines as they are, without markup."""
    machines: int = 1
    """Machines with as many devices each; more than one under torchrun."""
    tensorboard: bool = False
    """Whether curves and pictures are also written as event files, to OUT/tensorboard/."""
