"""Checkpoints that are whole or absent, also on a full disk."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from repflow_pl.files import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writes to the system's temporary folder and moves the file, which is a copy
    where that is another disk: a full one then leaves half a checkpoint under the final name."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the checkpoint. Errors: UserError where the place cannot be written."""
        whole = io.BytesIO()
        torch.save(checkpoint, whole)
        with atomic_write(Path(path), "wb") as stream:
            stream.write(whole.getbuffer())
