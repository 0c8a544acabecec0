import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from repflow_pl.data.index import default_clip, fold_count, list_set, open_set
from repflow_pl.data.sets import ucf101
from repflow_pl.data.sets.hmdb51 import hmdb51, read_lists
from repflow_pl.data.sets.kinetics import TINY_COUNTS, file_stem, known_label
from repflow_pl.data.sets.lists import read_lines, read_rows
from repflow_pl.errors import UserError

from .. import layouts
from ..conftest import refused, write_video

IDS = ("-0aBcDeFgHi", "__IjKlMnOpQ", "rsTuVwXyZ01", "23456789abc")


def test_hmdb51s_own_lists_are_the_official_splits(tmp_path: Path) -> None:
    lists = read_lists(tmp_path)
    for fold in (1, 2, 3):
        parts = {
            part: {x[:2] for x in lists if x[2:] == (part, fold)} for part in ("train", "test")
        }
        assert len(parts["train"]) == 3570 and len(parts["test"]) == 1530
        assert not parts["train"] & parts["test"]
        for part, each in (("train", 70), ("test", 30)):
            counts = Counter(label for label, _ in parts[part])
            assert set(counts.values()) == {each} and len(counts) == 51
    # A clip's class stands in its name.
    assert all(f"_{label}_" in clip for label, clip, *_ in lists)


def test_hmdb51s_lists_are_read_in_every_form(tmp_path: Path) -> None:
    own = read_lists(tmp_path)
    layouts.hmdb51_authors_lists(tmp_path / "authors" / "splits", own)
    (tmp_path / "plain").mkdir()
    layouts.hmdb51_plain_lists(tmp_path / "plain", own)
    for path in tmp_path.rglob("*split2*.txt"):  # endings in capitals are endings
        path.write_text(path.read_text().replace(".avi", ".AVI"))
    assert sorted(read_lists(tmp_path / "authors")) == sorted(own)
    assert sorted(read_lists(tmp_path / "plain")) == sorted(own)


def test_lists_that_lie_twice_under_a_root_name_each_clip_once(tmp_path: Path) -> None:
    """As unpacked by hand and by `prepare`: a clip that counts twice makes intervals too narrow."""
    root = tmp_path / "set"
    video = write_video(tmp_path / "a.avi", frames=8, codec="mpeg4")
    _, lists = layouts.hmdb51_files(root, video)
    folder = layouts.hmdb51_authors_lists(root, lists)
    shutil.copytree(folder, root / "test_train_splits" / folder.name)
    videos = list_set("hmdb51", root, workers=0).fold(1).videos
    assert len(videos) == len({video.path for video in videos}) == 2 * 51


def test_hmdb51s_clips_of_one_source_are_a_group(tmp_path: Path) -> None:
    """Intervals would be too narrow: 1,530 test clips are of some 600 sources."""
    (tmp_path / "any.avi").touch()
    tested = [c for c in hmdb51(tmp_path) if c.split == "test" and c.fold == 1]
    assert len(tested) == 1530
    groups = {c.path: c.group for c in tested}
    assert groups["wave/BATMAN_BEGINS_wave_u_cm_np1_fr_med_19.avi"] == "wave/BATMAN_BEGINS"
    assert 500 < len(set(groups.values())) < 700


def test_hmdb51s_lists_must_have_the_official_counts(tmp_path: Path) -> None:
    folder = layouts.hmdb51_authors_lists(tmp_path, read_lists(tmp_path))
    path = folder / "wave_test_split2.txt"
    path.write_text(path.read_text().replace(".avi 1", ".avi 0", 1))
    with refused("split 2 3569 train clips instead of 3570"):
        read_lists(tmp_path)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, int], ...]:
    """UCF101's lists are checked for these counts of clips in the place of the official ones."""
    counts = ({"train": 20, "test": 10}, {"train": 21, "test": 9}, {"train": 22, "test": 8})
    monkeypatch.setattr(ucf101, "COUNTS", counts)
    return counts


def test_the_official_counts_of_ucf101() -> None:
    assert ucf101.COUNTS == (
        {"train": 9537, "test": 3783},
        {"train": 9586, "test": 3734},
        {"train": 9624, "test": 3696},
    )
    assert {sum(counts.values()) for counts in ucf101.COUNTS} == {13_320}


def test_endings_in_capitals_are_endings(tmp_path: Path, few: tuple[dict[str, int], ...]) -> None:
    root = tmp_path / "ucf" / "set"
    layouts.ucf101_lists(root, few, layouts.ucf101_files(root, ("YoYo",), (1, 8)))
    for path in root.rglob("*.txt"):
        path.write_text(path.read_text().replace(".avi", ".Avi"))
    opened = open_set("ucf101", root, workers=0)
    assert (len(opened.part("train")), len(opened.part("test"))) == (1, 1)


def test_lists_in_another_encoding_get_one_sentence(tmp_path: Path) -> None:
    for name, file in (
        ("hmdb51", "wave_test_split1.txt"),
        ("hmdb51", "hmdb51_split1_train.txt"),
        ("ucf101", "trainlist01.txt"),
        ("kinetics400", "train.csv"),
    ):
        root = tmp_path / file
        root.mkdir()
        (root / file).write_bytes(b"caf\xe9.avi 1\n")
        if name == "kinetics400":
            (root / "val.csv").touch()
        with refused(f"{file} is no text in UTF-8"):
            open_set(name, root, workers=0)


@pytest.mark.long
def test_hmdb51_on_disk(tmp_path: Path) -> None:
    """In folders of folders; without them in test_verify.py."""
    root, nested = tmp_path / "set", "videos/hmdb51_org"
    root.mkdir()
    video = write_video(tmp_path / "a.avi", frames=8, codec="mpeg4")
    paths, lists = layouts.hmdb51_files(root, video, nested)
    layouts.hmdb51_authors_lists(root, lists)
    (root / paths[0]).write_bytes(layouts.BROKEN)
    # A second clip of that class, re-encoded to another container, keeps it in the set.
    label, clip = next(
        (label, clip)
        for label, clip, part, fold in lists
        if fold == 1 and part == "train" and f"/{label}/" in f"/{paths[0]}" and clip not in paths[0]
    )
    shutil.copy(write_video(tmp_path / "a.mp4", frames=8), root / nested / label / f"{clip}.mp4")
    opened = open_set("hmdb51", root, workers=0)
    assert len(opened.classes) == 51 and opened.mirror_safe
    assert [file.path for file in opened.broken] == [paths[0]]
    assert len(opened.part("train")) == 51 and len(opened.part("test")) == 51
    assert any(video.path.endswith(f"{clip}.mp4") for video in opened.videos)
    assert len(opened.missing) == 3570 + 1530 - 102 - 1
    with refused("the splits 1 to 3: there is no split 4"):
        open_set("hmdb51", root, workers=0, fold=4)


def test_packed_hmdb51_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "wave.rar").write_bytes(b"Rar!")
    with refused("still packed"):
        open_set("hmdb51", tmp_path)


def test_splits_change_parts_and_fingerprint(tmp_path: Path) -> None:
    layouts.ucf101_files(tmp_path / "set", ("YoYo", "HandstandPushups"), (1, 8, 15, 22))
    sets = [open_set("ucf101", tmp_path / "set", workers=0, fold=k) for k in (1, 2, 3)]
    tested = [{video.path.split("_g")[1][:2] for video in s.part("test")} for s in sets]
    assert tested == [{"01"}, {"08"}, {"15"}]
    assert all(len(s.part("train")) == 6 and len(s.part("test")) == 2 for s in sets)
    assert all(s.classes == ("HandstandPushups", "YoYo") for s in sets)
    assert len({s.fingerprint for s in sets}) == len({s.manifest for s in sets}) == 3
    assert fold_count("ucf101") == fold_count("hmdb51") == 3 and fold_count("folder") == 1


def test_a_recipe_is_chosen_on_videos_that_no_split_tests(tmp_path: Path) -> None:
    layouts.ucf101_files(tmp_path / "set", ("YoYo", "HandstandPushups"), (1, 8, 15, 21, 22, 25))
    chosen = open_set("ucf101_validation", tmp_path / "set", workers=0)
    held_out = {video.path for video in chosen.part("val")}
    assert {path.split("_g")[1][:2] for path in held_out} == {"22", "25"}
    assert held_out == {video.path for video in chosen.part("test")}
    assert not held_out & {video.path for video in chosen.part("train")}
    assert len(chosen.part("train")) == 8
    for fold in (1, 2, 3):
        split = open_set("ucf101", tmp_path / "set", workers=0, fold=fold)
        assert not held_out & {video.path for video in split.part("test")}


def test_ucf101_by_its_lists(tmp_path: Path, few: tuple[dict[str, int], ...]) -> None:
    root = tmp_path / "set"
    real = layouts.ucf101_files(root, ("YoYo", "HandstandPushups"), (1, 8, 22))
    layouts.ucf101_lists(root, few, real)
    # A copy whose names are spelt like the class is the same clip.
    odd = root / "UCF-101" / "HandstandPushups"
    for path in list(odd.iterdir()):
        path.rename(odd / path.name.replace("HandStand", "Handstand"))
    opened = open_set("ucf101", root, workers=0, fold=2)
    assert len(opened.part("train")) == 4 and len(opened.part("test")) == 2
    assert len(opened.missing) == sum(few[1].values()) - 6
    lists = root / "ucfTrainTestlist"
    with (lists / "testlist03.txt").open("a") as stream:
        stream.write("YoYo/v_YoYo_g99_c99.avi\n")
    with pytest.raises(UserError, match=r"testlist03\.txt lists 9 clips instead of 8"):
        open_set("ucf101", root, workers=0)
    (lists / "testlist03.txt").unlink()
    with refused("5 of the 6 official lists"):
        open_set("ucf101", root, workers=0)


def kinetics_clips(root: Path, flat: bool) -> list[tuple[str, str, str, int]]:
    """(part, class, id, start): train/ and val/, with class folders or without."""
    video = write_video(root.parent / "k.mp4", frames=8)
    clips = []
    for part, start in (("train", 5), ("val", 123)):
        for label, names in (("abseiling", IDS[:2]), ("massaging person's head", IDS[2:])):
            for name in names:
                folder = root / part / ("" if flat else label.replace(" ", "_").replace("'", "_"))
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(video, folder / f"{file_stem(name, start, start + 10)}.mp4")
                clips.append((part, label, name, start))
    return clips


@pytest.mark.parametrize("flat", [True, False])
def test_kinetics400_by_its_annotation(tmp_path: Path, flat: bool) -> None:
    root = tmp_path / "set"
    clips = kinetics_clips(root, flat)
    (root / "annotations").mkdir()
    for part, written in (("train", "train"), ("val", "validate")):
        with (root / "annotations" / f"{written}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["label", "youtube_id", "time_start", "time_end", "split", "is_cc"])
            for p, label, name, start in clips:
                if p == part:
                    writer.writerow([label, name, start, start + 10, part, 0])
            writer.writerow(["abseiling", "gone_______", 7, 17, part, 0])
    opened = open_set("kinetics400", root, workers=0)
    assert opened.classes == ("abseiling", "massaging person's head")
    assert len(opened.part("train")) == len(opened.part("test")) == 4
    assert opened.part("val") == ()
    assert {path.split("/")[-1] for path in opened.missing} == {"gone________000007_000017.mp4"}
    cut_off = "youtube_id,time_start,time_end,label\n0123456789a,5,15,abseiling\n0123456789b,5"
    (root / "annotations" / "validate.csv").write_text(cut_off)
    with refused(r"line 3 of .*validate\.csv is not whole"):
        open_set("kinetics400", root, workers=0)
    (root / "annotations" / "validate.csv").unlink()
    with refused(r"has only train\.csv"):
        open_set("kinetics400", root, workers=0)


def test_kinetics400_by_class_folders(tmp_path: Path) -> None:
    kinetics_clips(tmp_path / "set", flat=False)
    opened = open_set("kinetics400", tmp_path / "set", workers=0)
    assert opened.classes == ("abseiling", "massaging person's head")
    assert len(opened.part("train")) == len(opened.part("test")) == 4
    (tmp_path / "set" / "train" / "abseiling").rename(tmp_path / "set" / "train" / "abseilling")
    with refused("did you mean abseiling"):
        open_set("kinetics400", tmp_path / "set", workers=0)


def test_the_labels_of_kinetics() -> None:
    labels = read_lines("kinetics400_labels.txt")
    assert len(set(labels)) == 400
    assert {known_label(label.replace(" ", "_")) for label in labels} == set(labels)


def test_tiny_kinetics_lists() -> None:
    rows = read_rows("tiny_kinetics")
    counts = Counter(part for part, *_ in rows)
    assert counts == {"train": TINY_COUNTS["train"], "val": TINY_COUNTS["test"]}
    assert len({label for _, label, *_ in rows}) == 150
    assert {label for _, label, *_ in rows} <= set(read_lines("kinetics400_labels.txt"))
    assert len({(name, start) for *_, name, start in rows}) == len(rows)


def test_tiny_kinetics_on_disk(tmp_path: Path) -> None:
    root = tmp_path / "set"
    clips = kinetics_clips(root, flat=True)
    classes = {'"massaging person\'s head"': 1, "abseiling": 0}
    (root / "minikinetics_cls.json").write_text(json.dumps(classes))
    for part in ("train", "val"):
        entries = {
            f"rgb_{name}_{start}_{start + 10}.mp4": int(label != "abseiling")
            for p, label, name, start in clips
            if p == part
        }
        entries["rgb_gone________3_13.mp4"] = 0
        (root / f"minikinetics_{part}.json").write_text(json.dumps(entries))
    opened = open_set("tiny_kinetics", root, workers=0)
    assert opened.classes == ("abseiling", "massaging person's head")
    assert len(opened.part("train")) == len(opened.part("test")) == 4
    assert len(opened.missing) == 2
    assert {v.label for v in opened.videos if IDS[0] in v.path} == {0}
    for split, says in (("train", "verify tiny_kinetics ROOT says what"), ("val", "are no videos")):
        shutil.rmtree(root / split)
        with refused(says):
            open_set("tiny_kinetics", root, workers=0)
    val = root / "minikinetics_val.json"
    for content in (val.read_text()[:-9], "[1, 2]", '{"a": [1]}'):
        val.write_text(content)
        with refused(r"minikinetics_val\.json is damaged"):
            open_set("tiny_kinetics", root, workers=0)
    val.unlink()
    with refused("add the others"):
        open_set("tiny_kinetics", root, workers=0)


@pytest.mark.long
def test_tiny_kinetics_by_its_own_lists(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    video = write_video(tmp_path / "k.mp4", frames=8)
    first = {
        (part, label): (name, int(start))
        for part, label, name, start in reversed(read_rows("tiny_kinetics"))
    }
    for (part, _), (name, start) in list(first.items())[:3]:
        (root / part).mkdir(exist_ok=True)
        shutil.copy(video, root / part / f"{file_stem(name, start, start + 10)}.mp4")
    opened = list_set("tiny_kinetics", root, workers=0).fold(1)
    assert len(opened.classes) == 150 and len(opened.videos) == 3
    assert len(opened.missing) == sum(TINY_COUNTS.values()) - 3


def test_a_folder_of_something_else_is_no_data_set(tmp_path: Path) -> None:
    write_video(tmp_path / "set" / "holiday.mp4")
    for name in ("hmdb51", "ucf101", "kinetics400"):
        with refused("there are no videos"):
            open_set(name, tmp_path / "set", workers=0)


def test_their_clips() -> None:
    for name in ("hmdb51", "ucf101", "tiny_kinetics", "kinetics400"):
        clip = default_clip(name)
        assert (clip.frames, clip.stride, clip.crop, clip.flip) == (16, 2, (112, 112), True)
