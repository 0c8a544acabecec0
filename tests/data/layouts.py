"""Tiny data sets in the layouts that people have on disk, made of copies of a few small videos."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

from repflow_pl.data.sets.hmdb51 import COUNTS, FOLDS, Listed, read_lists

from .conftest import write_video

BROKEN = b"this is no video\n"


def hmdb51_files(root: Path, video: Path, nested: str = "") -> tuple[list[str], list[Listed]]:
    """ROOT/[nested/]<class>/<clip>.avi: one clip a class and part of split 1; returns the paths."""
    lists = read_lists(root)
    first: dict[tuple[str, str], str] = {}
    for label, clip, part, fold in lists:
        if fold == 1:
            first.setdefault((label, part), clip)
    paths = []
    for (label, _), clip in first.items():
        path = root / nested / label / f"{clip}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, path)
        paths.append(path.relative_to(root).as_posix())
    return paths, lists


def hmdb51_authors_lists(root: Path, lists: list[Listed]) -> Path:
    """testTrainMulti_7030_splits/<class>_test_split<k>.txt, as the authors distribute them."""
    use: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    everything = defaultdict(set)
    for label, clip, part, fold in lists:
        use[label, fold][clip] = {"train": 1, "test": 2}[part]
        everything[label].add(clip)
    folder = root / "testTrainMulti_7030_splits"
    folder.mkdir(parents=True, exist_ok=True)
    for label, clips in everything.items():
        for fold in range(1, FOLDS + 1):
            lines = [f"{clip}.avi {use[label, fold].get(clip, 0)} \n" for clip in sorted(clips)]
            (folder / f"{label}_test_split{fold}.txt").write_text("".join(lines))
    return folder


def hmdb51_plain_lists(root: Path, lists: list[Listed]) -> None:
    """hmdb51_split<k>_{train,test}.txt of `file class` lines."""
    for fold in range(1, FOLDS + 1):
        for part in COUNTS:
            lines = [f"{c}.avi {label}\n" for label, c, p, f in lists if (p, f) == (part, fold)]
            (root / f"hmdb51_split{fold}_{part}.txt").write_text("".join(lines))


def ucf101_files(root: Path, classes: tuple[str, ...], groups: tuple[int, ...]) -> list[str]:
    """ROOT/UCF-101/<Class>/v_<Class>_g<GG>_c01.avi."""
    video = write_video(root.parent / "ucf.avi", frames=8, codec="mpeg4")
    paths = []
    for label in classes:
        name = "HandStandPushups" if label == "HandstandPushups" else label
        for group in groups:
            path = root / "UCF-101" / label / f"v_{name}_g{group:02d}_c01.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(video, path)
            paths.append(path.relative_to(root).as_posix())
    return paths


def ucf101_lists(root: Path, counts: tuple[dict[str, int], ...], real: list[str]) -> None:
    """ucfTrainTestlist/{train,test}list0<k>.txt: the real files, filled up with invented ones."""
    folder = root / "ucfTrainTestlist"
    folder.mkdir(parents=True)
    for fold, expected in enumerate(counts, start=1):
        for part, count in expected.items():
            clips = []
            for path in real:
                label, name = path.split("/")[-2:]
                tested = (int(name.split("_g")[1][:2]) - 1) // 7 + 1 == fold
                if tested == (part == "test"):
                    clips.append(f"{label}/{name}")
            names = f"YoYo/v_YoYo_g{90 + fold}_c{int(part == 'test')}"
            filler = [f"{names}{k:04d}.avi" for k in range(count - len(clips))]
            number = " 1" if part == "train" else ""
            lines = [f"{clip}{number}\n" for clip in clips + filler]
            (folder / f"{part}list0{fold}.txt").write_text("".join(lines))
