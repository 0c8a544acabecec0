import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from repflow_pl.data.__main__ import main
from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.index import default_clip, open_set
from repflow_pl.data.sets.ut_interaction import CLASSES
from repflow_pl.data.upkeep.metadata import metadata_baseline
from repflow_pl.data.upkeep.unpack import import_archive
from repflow_pl.errors import UserError

from ..conftest import one_sentence, shared, write_video


def make_archive(folder: Path, *extra: tarfile.TarInfo) -> Path:
    """Both sets of every class, and what is to be refused."""
    clip = write_video(folder / "clip.avi", frames=40, size=(240, 144), codec="mpeg4").read_bytes()
    archive = folder / "clips.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for label in CLASSES:
            for name in ("set1_seq01_000.avi", "set2_seq11_001.avi"):
                member = tarfile.TarInfo(f"{label}/{name}")
                member.size = len(clip)
                tar.addfile(member, io.BytesIO(clip))
        for member in extra:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return archive


def test_import(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "ut_interaction", str(make_archive(tmp_path))]) == 0
    assert "6 classes; videos: 6 train, 0 val, 6 test; 0 broken" in capsys.readouterr().out
    opened = open_set("ut_interaction", workers=0)
    assert opened.root == cache / "ut_interaction"
    assert opened.classes == CLASSES and opened.mirror_safe
    assert all("/set1_" in video.path for video in opened.part("train"))
    assert all("/set2_" in video.path for video in opened.part("test"))
    sample = ClipDataset(opened, "test", default_clip("ut_interaction"))[0]
    assert sample.inputs[0].shape == (2, 3, 8, 96, 56)


@pytest.mark.parametrize("name", ["here", "link"])
def test_import_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "another disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "another disk")
    root = tmp_path / name
    archive = str(make_archive(tmp_path))
    assert main(["import", "ut_interaction", archive, "--data-root", str(root)]) == 0
    assert len(open_set("ut_interaction", root).videos) == 12


def test_mistakes_get_one_sentence(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"

    def message(archive: Path) -> str:
        with pytest.raises(UserError) as error:
            import_archive(archive, root)
        assert not root.exists(), "all or nothing"
        return one_sentence(error)

    assert "there is no archive" in message(tmp_path / "missing.tar")
    whole = make_archive(tmp_path).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / "bad.tar.gz").write_bytes(content)
        assert "cannot be read" in message(tmp_path / "bad.tar.gz")
    for name in ("../out.avi", "/out.avi", "hug/../../out.avi"):
        assert "outside" in message(make_archive(tmp_path, tarfile.TarInfo(name)))
    link = tarfile.TarInfo("hug/link.avi")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    assert "link" in message(make_archive(tmp_path, link))
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "clip.avi", "clip.avi")
    assert "has no clips hug/" in message(tmp_path / "other.tar")
    assert not list(tmp_path.glob(".root*")) and not (tmp_path / "out.avi").exists()
    root.mkdir()
    (root / "mine").touch()
    with pytest.raises(UserError, match="is not empty"):
        import_archive(make_archive(tmp_path), root)
    assert main(["import", "ut_interaction", "missing.tar"]) == 2
    assert main(["import", "ut_interactoin", "missing.tar"]) == 2
    assert "did you mean ut_interaction" in capsys.readouterr().err


@pytest.mark.long
def test_the_real_archive(tmp_path: Path) -> None:
    root = import_archive(shared("ut_interaction.tar.gz"), tmp_path / "root")
    opened = open_set("ut_interaction", root, 2)
    for split in ("train", "test"):
        counts = Counter(video.label for video in opened.part(split))
        assert set(counts.values()) == {10} and len(counts) == 6
    assert opened.broken == ()
    baseline = metadata_baseline(opened, seeds=2)
    assert baseline.accuracy_mean > 0.4, "the trap that the fixed window avoids"
    assert baseline.right.shape[1] == 60
