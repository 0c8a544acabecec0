"""Files are whole or absent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from repflow_pl.errors import UserError, unknown
from repflow_pl.files import atomic_write


def test_writes_and_leaves_nothing_else(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "a.txt") as stream:
        stream.write("±")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "±"


def test_an_exception_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_write(path) as stream:
        stream.write("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_respects_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a") as stream:
            stream.write("")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is needed to stand for a full disk")
    path = tmp_path / "a"
    with (
        pytest.raises(UserError, match=r"No space left.*finished work is kept"),
        atomic_write(path),
        Path("/dev/full").open("w") as full,
    ):
        full.write("x" * 100_000)
    assert not path.exists()


def test_a_place_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="cannot write"), atomic_write(tmp_path / "a" / "b"):
        pass


def test_unknown_without_close_matches_lists_what_there_is() -> None:
    assert str(unknown("block", "zzz", ["stem"])) == "unknown block 'zzz'. Known: stem."
