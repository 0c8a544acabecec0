import dataclasses
import json
import random
from pathlib import Path

import pytest

from repflow_pl.data.__main__ import main
from repflow_pl.data.index import SHOWN, list_set, open_set
from repflow_pl.data.listing.manifest import Finding, read_manifest, write_manifest
from repflow_pl.data.upkeep.verify import lines, summary_path, verify

from .. import layouts
from ..conftest import folder_of, write_video
from ..decoding.test_decode import broken_files


@pytest.mark.long
def test_hmdb51_with_broken_and_missing_members(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    video = write_video(tmp_path / "a.avi", frames=8, codec="mpeg4")
    paths, _ = layouts.hmdb51_files(root, video)
    damaged = list(broken_files(tmp_path / "broken").values())
    for path, source in zip(paths, damaged, strict=False):
        (root / path).write_bytes(source.read_bytes())
    assert main(["verify", "hmdb51", str(root), "--workers", "0"]) == 1
    shown = capsys.readouterr().out
    assert "51 classes" in shown
    assert f"missing ({6371 - 102}):" in shown and f"and {6371 - 102 - SHOWN} more" in shown
    assert f"corrupted ({len(damaged)}):" in shown
    assert all(f"  {path}: " in shown for path in paths[: len(damaged)])

    report = verify("hmdb51", root, workers=0)
    counts = {(p.fold, p.split): (p.expected, p.found, p.corrupted) for p in report.parts}
    assert set(counts) == {(fold, part) for fold in (1, 2, 3) for part in ("train", "test")}
    assert all(counts[fold, "train"][0] == 3570 for fold in (1, 2, 3))
    assert all(counts[fold, "test"][0] == 1530 for fold in (1, 2, 3))
    assert counts[1, "train"][1] == counts[1, "test"][1] == 51
    assert counts[1, "train"][2] + counts[1, "test"][2] == len(damaged)
    assert not report.complete and len(report.missing) == 6371 - 102

    summary = json.loads(summary_path(report.listed).read_text())
    assert summary["manifests"] == list(report.manifests) and summary["missing"] == 6371 - 102
    assert [part["expected"] for part in summary["parts"]] == [3570, 1530] * 3

    findings = read_manifest(report.listed.manifest)
    assert len(findings) == 6371
    assert sum(bool(f.error) for f in findings.values()) == 6371 - 102 + len(damaged)
    sound = findings[paths[-1]]
    assert (sound.frames, sound.fps, sound.width, sound.height) == (8, 10.0, 64, 48)
    assert sound.label == Path(paths[-1]).parent.name
    assert sound.bytes == (root / paths[-1]).stat().st_size


def test_a_whole_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(tmp_path / "set", 4, frames=6)
    assert main(["verify", "folder", str(tmp_path / "set"), "--workers", "0"]) == 0
    shown = capsys.readouterr().out
    assert "train: found 4 of 4 expected, 0 corrupted" in shown and "missing" not in shown


def test_what_could_not_be_read_is_tried_again_by_verify(tmp_path: Path) -> None:
    """As on a machine that was overloaded, or by an older version that read less; a training does
    not wait for it each time."""
    opened = folder_of(tmp_path / "set", 2, frames=6)
    lost, judged = (video.path for video in opened.part("test"))
    bad = next((opened.root / "train").iterdir()) / "bad.mp4"
    bad.write_bytes(b"no video")
    manifest = verify("folder", opened.root, workers=0).listed.manifest
    findings = read_manifest(manifest)
    for path, error in ((lost, "the decoder was lost: no answer"), (judged, "truncated")):
        findings[path] = dataclasses.replace(findings[path], error=error)
    write_manifest(manifest, findings)
    broken = {file.path for file in list_set("folder", opened.root, workers=0).fold(1).broken}
    left = bad.relative_to(opened.root).as_posix()
    assert broken == {lost, judged, left}
    assert [file.path for file in verify("folder", opened.root, workers=0).corrupted] == [left]


def test_training_reads_what_verify_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.ucf101_files(tmp_path / "set", ("YoYo", "Archery"), (1, 8, 15))
    report = verify("ucf101", tmp_path / "set", workers=0)
    monkeypatch.setattr("repflow_pl.data.listing.manifest.decode", None)  # nothing is decoded again
    opened = open_set("ucf101", tmp_path / "set", workers=0, fold=2)
    assert opened.manifest == report.manifests[1]
    assert opened.fingerprint == report.fingerprints[1]


def test_the_checksums(tmp_path: Path) -> None:
    """Both change with a file, and the report tells both as the pages do."""

    def checksums() -> tuple[str, str]:
        report = verify("ucf101", root, workers=0)
        told = list(lines(report))[-2]
        for each in (report.fingerprints, report.manifests):
            assert len(each) == 3 and "+".join(each) in told
        return report.fingerprints[0], report.manifests[0]

    root = tmp_path / "set"
    paths = layouts.ucf101_files(root, ("YoYo", "Archery"), (1, 8, 15))
    first = checksums()
    assert checksums() == first
    (root / paths[0]).write_bytes(layouts.BROKEN)
    damaged = checksums()
    assert damaged[0] != first[0] and damaged[1] != first[1]
    (root / paths[0]).unlink()
    assert checksums()[0] == damaged[0]  # it was no video that is trained on


@pytest.mark.long
def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    video = write_video(tmp_path / "a.avi", frames=8, codec="mpeg4")
    paths, _ = layouts.hmdb51_files(root, video)
    (root / paths[0]).unlink()
    assert paths[0] in list_set("hmdb51", root, workers=0).fold(1).missing
    (root / paths[0]).write_bytes(video.read_bytes())
    assert paths[0] not in list_set("hmdb51", root, workers=0).fold(1).missing


def test_interrupted_from_the_keyboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("repflow_pl.data.__main__.verify", interrupted)
    assert main(["verify", "folder", str(tmp_path)]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err


def test_a_manifest_that_was_cut_off_or_damaged_is_made_again(tmp_path: Path) -> None:
    names = ("a,b", 'c"d', "e\nf", "g\rh", "é", "\u2028")
    findings = {
        f"run/{name}.mp4": Finding(f"run/{name}.mp4", "run", 9, 10**18, error="no frame" * (k % 2))
        for k, name in enumerate(names)
    }
    path = tmp_path / "m.csv"
    write_manifest(path, findings)
    whole = path.read_bytes()
    assert read_manifest(path) == findings
    for length in range(len(whole)):  # some cuts leave whole lines
        path.write_bytes(whole[:length])
        assert read_manifest(path).items() <= findings.items()
    rng = random.Random(0)
    for _ in range(200):
        place = rng.randrange(len(whole))
        path.write_bytes(whole[:place] + rng.choice([b"\0\0", b'"', b"\xff", b",", b"\n"]))
        read_manifest(path)


def test_a_set_opens_after_its_manifest_was_cut_off_or_damaged(tmp_path: Path) -> None:
    folder_of(tmp_path / "set", 1, frames=6)
    first = list_set("folder", tmp_path / "set", workers=0)
    whole = first.manifest.read_bytes()
    content = next(iter(first.findings.values())).content.encode()
    for damaged in (whole[:-30], whole.replace(content, b"no digits")):
        first.manifest.write_bytes(damaged)
        assert list_set("folder", tmp_path / "set", workers=0) == first
