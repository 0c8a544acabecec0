"""Checkpoints: whole or absent, the one before kept, and never a program."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from repflow_pl.errors import UserError
from repflow_pl.training.checkpoint import AtomicCheckpointIO, damage, usable_checkpoint


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


def save(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        checkpoint = {"epoch": epoch, "state_dict": {"w": torch.full((5000,), float(epoch))}}
        AtomicCheckpointIO().save_checkpoint(checkpoint, folder / "last.ckpt")


def epoch_of(path: Path | None) -> int:
    assert path is not None
    epoch: int = torch.load(path, weights_only=True)["epoch"]
    return epoch


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert (epoch_of(tmp_path / "last.ckpt"), epoch_of(tmp_path / "previous.ckpt")) == (3, 2)
    assert usable_checkpoint(tmp_path) == (tmp_path / "last.ckpt", "")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_one_gives_way_to_the_one_before(tmp_path: Path, share: float) -> None:
    save(tmp_path, 1, 2)
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[: int(share * last.stat().st_size)])
    path, said = usable_checkpoint(tmp_path)
    assert epoch_of(path) == 1 and "last.ckpt is damaged" in said
    save(tmp_path, 2)
    assert epoch_of(tmp_path / "previous.ckpt") == 1, "a damaged one must not take its place"
    assert usable_checkpoint(tmp_path) == (last, "")


def test_a_program_that_ended_between_the_renamings_lost_nothing(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    (tmp_path / "last.ckpt").replace(tmp_path / "previous.ckpt")
    path, said = usable_checkpoint(tmp_path)
    assert (epoch_of(path), said) == (2, "")


def test_none_is_none_and_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    assert usable_checkpoint(tmp_path) == (None, "")
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / name).write_bytes(b"no checkpoint")
        with pytest.raises(UserError, match=r"no checkpoint in .* can be read"):
            usable_checkpoint(tmp_path)


class Payload:
    """Makes a file where it is unpickled by a reader that runs what a pickle says."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("as_zip", [True, False], ids=["torch.save", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, as_zip: bool) -> None:
    mark, path = tmp_path / "ran", tmp_path / "last.ckpt"
    content = {"state_dict": {}, "payload": Payload(mark)}
    if as_zip:
        torch.save(content, path)
        torch.load(path, weights_only=False)
    else:
        path.write_bytes(pickle.dumps(content))
        pickle.loads(path.read_bytes())
    assert mark.exists(), "the payload is live"
    mark.unlink()
    assert damage(path) is not None
    with pytest.raises(UserError, match="no checkpoint"):
        usable_checkpoint(tmp_path)
    assert not mark.exists()
