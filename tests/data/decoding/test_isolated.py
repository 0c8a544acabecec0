import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.decoding.isolated import IsolatedProcess, Lost, isolated_map
from repflow_pl.data.frames.cache import DecodedFrames
from repflow_pl.data.frames.reader import Frames, Read, Reader
from repflow_pl.data.index import open_set
from repflow_pl.data.listing.manifest import examine, read_manifest
from repflow_pl.specs import ClipSpec

from ..awkward import AwkwardFrames, awkward, obey, open_and_probe
from ..conftest import folder_of, refused, write_frames, write_video


@pytest.mark.long
def test_calls_hang_and_die_alone() -> None:
    process = IsolatedProcess(timeout=3.0)
    assert process.call(awkward, 4) == 8
    began = time.monotonic()
    with pytest.raises(Lost, match="no answer in 3 seconds"):
        process.call(awkward, 13)
    assert time.monotonic() - began < 20
    assert process.call(awkward, 5) == 10
    with pytest.raises(Lost, match="SIGSEGV"):
        process.call(awkward, 14)
    with pytest.raises(ValueError, match="an odd number"):
        process.call(awkward, 15)
    assert process.call(awkward, 6) == 12
    left = process.stream(awkward, [7, 8, 9])
    assert next(left) == 14
    left.close()
    assert process.call(awkward, 10) == 20
    process._send(awkward, 11)  # as a fault might leave it: an answer that nobody waits for
    with pytest.raises(Lost):
        process.call(awkward, 12)
    assert process.call(awkward, 12) == 24
    running = process._process
    process.stop()
    assert running is not None and running.poll() is not None


@pytest.mark.long
def test_a_map_names_what_it_lost() -> None:
    numbers = [*range(20)]
    numbers.remove(15)
    found = list(isolated_map(awkward, numbers, "Working", 2, timeout=4.0))
    assert [number for number, _ in found] == numbers
    lost = {number for number, result in found if isinstance(result, Lost)}
    assert lost == {13, 14}
    assert all(result == 2 * n for n, result in found if n not in lost)
    with pytest.raises(ValueError, match="an odd number"):
        list(isolated_map(awkward, [1, 15, 2], "Working", 2))
    assert list(isolated_map(awkward, [], "Working")) == []
    assert list(isolated_map(awkward, [3], "Working", 0)) == [(3, 6)]
    with refused("--workers -1: it takes 0 or more"):
        list(isolated_map(awkward, [3], "Working", -1))


def test_a_script_that_lies_where_a_program_is_started_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `repflow` itself does not import it, whatever module of Python has its name."""
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place or str(tmp_path.parent) for place in sys.path])
    assert IsolatedProcess().call(awkward, 4) == 8


def hanging_pipe(path: Path) -> Path:
    """A file whose reader waits for ever, as a stuck network disk makes it."""
    os.mkfifo(path)
    return path


@pytest.mark.long
def test_a_file_that_hangs_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    for name in ("a.mp4", "c.mp4"):
        write_video(tmp_path / name, frames=6)
    hanging_pipe(tmp_path / "b.mp4")
    # A pipe has no size, which alone would call it empty.
    files = [(name, "run") for name in ("a.mp4", "b.mp4", "c.mp4")]
    paths = [tmp_path / name for name, _ in files]
    tried = isolated_map(open_and_probe, paths, "Checking", 1, timeout=8.0)
    found = {path.name: result for path, result in tried}
    assert isinstance(found["b.mp4"], Lost)
    assert found["a.mp4"].frames == found["c.mp4"].frames == 6
    findings = examine("t", tmp_path, files, tmp_path / "m.csv", 1, timeout=8.0)
    assert findings["b.mp4"].error and not findings["c.mp4"].error
    assert read_manifest(tmp_path / "m.csv") == findings


class Failing(Reader):
    """Loses some videos."""

    def __init__(self, source: DecodedFrames, lost: set[str]) -> None:
        super().__init__(source)
        self.lost = lost

    def stream(self, reads: Sequence[Read]) -> Iterator[Frames | Exception]:
        for video, indices in reads:
            lost = video.path in self.lost
            yield Lost("no answer in 60 seconds") if lost else self.source.frames(video, indices)


def test_a_lost_clip_is_named_and_replaced(tmp_path: Path, capsys) -> None:
    opened = folder_of(tmp_path / "set", 4)
    clip = ClipSpec(frames=4, size=48, crop=(48, 48))
    for training in (True, False):
        dataset = ClipDataset(opened, "train", clip, training=training)
        paths = [video.path for video in dataset.videos]
        plain = dataset[2, 5]
        dataset.readers["rgb"] = Failing(DecodedFrames(opened.root, clip), {paths[1]})
        sample = dataset[1, 5]
        assert f"{paths[1]}: this clip is left out, no answer" in capsys.readouterr().err
        if training:
            assert sample.index == 2 and torch.equal(sample.inputs[0], plain.inputs[0])
        else:
            assert sample.index == 1 and sample.inputs[0].shape == plain.inputs[0].shape
            assert not sample.inputs[0].any()
        assert sample.unread != training and not plain.unread
        assert all(dataset[1, epoch].index == sample.index for epoch in range(20)), "it is one"
        dataset.readers["rgb"] = Failing(DecodedFrames(opened.root, clip), set(paths))
        with refused("could not be read"):
            for index in range(4):
                dataset[index, 0]


@pytest.mark.long
def test_frames_of_another_process_are_the_decoded_ones(tmp_path: Path) -> None:
    opened = folder_of(tmp_path / "set", 4)
    plain = DecodedFrames(opened.root, ClipSpec(size=48))
    guarded = Reader(plain, timeout=60.0)
    video = opened.videos[3]
    expected = plain.frames(video, [1, 5, 5])
    np.testing.assert_array_equal(guarded.frames(video, [1, 5, 5]), expected)
    (opened.root / video.path).unlink()
    hanging_pipe(opened.root / video.path)
    guarded.process.timeout = 5.0
    with pytest.raises(Lost, match="no answer"):
        guarded.frames(video, [0])
    np.testing.assert_array_equal(
        guarded.frames(opened.videos[2], [2]), plain.frames(opened.videos[2], [2])
    )


ACTS = st.lists(st.sampled_from([*3 * ["answer"], "error", "death", "hang"]), max_size=5)
COUNTS = st.integers(0, 6)


@pytest.fixture(scope="module")
def process() -> Iterator[IsolatedProcess]:
    """For all examples: what one leaves behind must not reach the next."""
    started = IsolatedProcess(0.5)
    yield started
    started.stop()


@pytest.mark.long
@settings(max_examples=2, deadline=None)
@given(outer=ACTS, inner=ACTS, taken=COUNTS, left=COUNTS)
@example(["answer", "hang", "answer", "error"], ["answer", "death", "answer"], 1, 1)
@example(["death", "answer", "answer"], ["error", "answer", "hang", "answer"], 2, 1)
def test_every_answer_is_that_of_its_own_question(
    process: IsolatedProcess, outer: list[str], inner: list[str], taken: int, left: int
) -> None:
    two_streams(process, outer, inner, taken, left)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(outer=ACTS, inner=ACTS, taken=COUNTS, left=COUNTS)
def test_many_answers_are_those_of_their_own_questions(
    process: IsolatedProcess, outer: list[str], inner: list[str], taken: int, left: int
) -> None:
    two_streams(process, outer, inner, taken, left)


def two_streams(
    process: IsolatedProcess, outer: list[str], inner: list[str], taken: int, left: int
) -> None:
    """A stand-in for a lost clip is read by a second stream while the first has answers due."""

    def check(how: str, number: int, answer: object) -> None:
        if how == "answer":
            assert answer == number
        elif how == "error":
            assert isinstance(answer, ValueError) and answer.args == (number,)
        else:
            assert isinstance(answer, Lost)
            assert ("no answer in" in str(answer)) == (how == "hang")

    first = process.stream(obey, list(zip(outer, range(6), strict=False)))
    second = process.stream(obey, list(zip(inner, range(10, 16), strict=False)))
    asked, beside = iter(enumerate(outer)), iter(enumerate(inner, 10))
    for _, (number, how) in zip(range(taken), asked, strict=False):
        check(how, number, next(first))
    for _, (number, how) in zip(range(left), beside, strict=False):
        check(how, number, next(second))
    for number, how in asked:
        check(how, number, next(first))
    for number, how in beside:
        check(how, number, next(second))


@pytest.mark.long
def test_the_pixels_of_a_label_are_its_own(tmp_path: Path) -> None:
    """Whatever the videos beside it do to the decoding process; here shades say which it is."""
    every = ["answer", "error", "answer", "hang", "answer", "death", "error", "answer"]
    parts = {"train": every, "test": ["error" if how == "hang" else how for how in every]}
    for part, acts in parts.items():
        for k, how in enumerate(acts):
            place = tmp_path / "set" / part / f"class{k // 2}" / f"{k % 2}-{how}.mp4"
            write_frames(place, 4 * [np.full((48, 48, 3), 20 + 25 * k, np.uint8)])
    opened = open_set("folder", tmp_path / "set", workers=0)
    clip = ClipSpec(frames=2, size=48, crop=(48, 48), views=2)
    for training, part in ((True, "train"), (False, "test")):
        acts = parts[part]
        dataset = ClipDataset(opened, part, clip, training=training)
        dataset.readers["rgb"] = Reader(AwkwardFrames(opened.root, clip), timeout=1.5)
        batch = dataset.__getitems__([(k, 0) for k in range(len(acts))])
        assert batch.label.tolist() == [index // 2 for index in batch.index.tolist()]
        shades = batch.inputs[0].float().mean((1, 2, 3, 4, 5))
        expected = torch.where(batch.unread, 0, 20 + 25 * batch.index)
        assert (shades - expected).abs().max() < 6
        if training:  # the next one that can be read stands in
            assert batch.index.tolist() == [0, 2, 2, 4, 4, 7, 7, 7] and not batch.unread.any()
        else:
            assert batch.unread.tolist() == [how != "answer" for how in acts]
