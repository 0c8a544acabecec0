"""Checkpoints that are whole or absent, also on a full disk; the one before the last is kept."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write
from repflow_pl.training.trained import LAST

PREVIOUS = "previous.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writes to the system's temporary folder and moves the file, which is a copy
    where that is another disk: a full one then leaves half a checkpoint under the final name."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the checkpoint; what stood there becomes its neighbour previous.ckpt.

        Errors: UserError where the place cannot be written.
        """
        path = Path(path)
        whole = io.BytesIO()
        torch.save(checkpoint, whole)
        new = path.with_name(f"next{path.suffix}")
        with atomic_write(new, "wb") as stream:
            stream.write(whole.getbuffer())
        if path.exists():
            path.replace(path.with_name(PREVIOUS))
        new.replace(path)


def usable_checkpoint(folder: Path) -> tuple[Path | None, str]:
    """A run's newest checkpoint that can be read, and a sentence where that is not the last one.

    A previous one takes the place of a damaged last one, so that it is not overwritten by it.

    Errors: UserError where there are checkpoints and none can be read.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    damaged = damage(last) if last.exists() else None
    if last.exists() and damaged is None:
        return last, ""
    if previous.exists() and damage(previous) is None:
        previous.replace(last)
        # without a last one, the program was ended between two renamings
        said = f"{last} is damaged ({damaged}): the one before it is used." if damaged else ""
        return last, said
    if last.exists() or previous.exists():
        raise UserError(
            f"no checkpoint in {folder} can be read ({damaged or damage(previous)}): "
            "remove them, and the run is made from its beginning."
        )
    return None, ""


def damage(path: Path) -> str | None:
    """Why a file is no whole checkpoint, in a line; None where it is one. No code in it is run."""
    content = io.BytesIO(path.read_bytes())  # an OSError here is the disk's fault, not the file's
    try:
        found = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    is_one = isinstance(found, dict) and "state_dict" in found
    return None if is_one else "there are no weights in it"
