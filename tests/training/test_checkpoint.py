"""A checkpoint that cannot be written leaves the one before it as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from repflow_pl.errors import UserError
from repflow_pl.training.checkpoint import AtomicCheckpointIO


def test_a_failed_write_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("repflow_pl.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]
