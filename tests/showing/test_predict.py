"""`repflow predict` says of a video what the evaluation of the run found in it."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from repflow_pl.__main__ import main
from repflow_pl.data.decoding.isolated import IsolatedProcess
from repflow_pl.showing.answers import Answer, ask
from repflow_pl.showing.predict import as_table
from repflow_pl.showing.weights import load_weights, save_weights
from repflow_pl.training.recording.predictions import DIGITS, PREDICTIONS, read_predictions
from tests.conftest import write_clip
from tests.showing.conftest import Trained


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit status, what was printed, and the errors."""
    status = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.long
@pytest.mark.parametrize("which", ["flow", "both"])
def test_answers_are_those_of_the_evaluation(
    which: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the run's folder and from a file of it, for each test video and class."""
    run: Path = getattr(trained, which)
    file = tmp_path / "w.safetensors"
    save_weights(file, load_weights(run))
    measured = read_predictions(run / PREDICTIONS)
    videos = [trained.videos.root / video.path for video in trained.videos.part("test")]
    for weights in (run, file):
        status, printed, _ = said(capsys, "predict", *videos, "--weights", weights, "--json")
        assert status == 0
        found = json.loads(printed)
        assert [each["video"] for each in found["videos"]] == [str(path) for path in videos]
        scores = np.array([_scores(each, found["classes"]) for each in found["videos"]])
        assert scores == pytest.approx(measured.scores, abs=0.5001 / 10**DIGITS)
        right = scores.argmax(1) == measured.label
        assert (right == measured.right).all()


def _scores(video: dict[str, Any], classes: list[str]) -> list[float]:
    by_class = {each["class"]: each["score"] for each in video["top"]}
    return [by_class[name] for name in classes]


def test_one_bad_video_is_a_sentence_and_the_others_go_on(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.mp4"
    write_clip(good, 1, (2, 0))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(good.read_bytes()[:700])
    empty = tmp_path / "empty.avi"
    empty.touch()
    absent = tmp_path / "absent.mkv"
    status, printed, errors = said(
        capsys, "predict", cut, absent, good, empty, "--weights", trained.flow, "--csv", "--top", 1
    )
    assert status == 1
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [row["video"] for row in rows] == [str(good)]
    sentences = [line for line in errors.splitlines() if line.startswith("error: ")]
    for path, sentence in zip((cut, absent, empty), sentences, strict=True):
        assert str(path) in sentence and sentence.endswith("."), sentence
    status, printed, _ = said(
        capsys, "predict", cut, good, "--weights", trained.flow, "--json"
    )  # fmt: skip
    first, second = json.loads(printed)["videos"]
    assert status == 1 and "cannot be read" in first["error"] and "top" in second


def test_a_page_that_cannot_be_written_costs_no_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repflow_pl.showing.predict.ask_each", None)
    file = tmp_path / "v.mp4"
    file.touch()
    page = ("--weights", "motion_shapes", "--html", file / "seen.html")
    status, _, errors = said(capsys, "predict", file, *page)
    assert status == 2 and "cannot write" in errors


def test_scores_that_are_no_numbers_are_a_sentence(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_weights(trained.flow)
    for parameter in weights.network.parameters():
        parameter.data.fill_(1e30)
    save_weights(tmp_path / "w.safetensors", weights)
    video = trained.videos.root / trained.videos.part("test")[0].path
    status, _, errors = said(capsys, "predict", video, "--weights", tmp_path / "w.safetensors")
    assert status == 1 and "are no numbers: its training failed" in errors


def test_the_table_shows_the_members_of_a_fusion(
    trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    video = trained.videos.root / trained.videos.part("test")[0].path
    status, printed, _ = said(capsys, "predict", video, "--weights", trained.both, "--top", 1)
    assert status == 0
    assert "flow layer after block 3" in printed and "narrow on TV-L1" in printed
    assert str(video) in printed


def test_names_are_whole_in_a_narrow_table() -> None:
    classes = ("HandstandWalkingBackwards", "HandstandWalkingForwards")
    scores = np.array([0.75, 0.25])
    members = tuple((f"narrow on stream {k}", scores) for k in range(2))
    answer = Answer(Path("v.mp4"), 8, 25.0, classes, (0,), 8, scores[None], members)
    console = Console(width=80, file=io.StringIO())
    console.print(as_table([answer], 2))
    lines = [line.split("│")[1:-1] for line in console.file.getvalue().splitlines() if "│" in line]  # type: ignore[attr-defined]
    for column in (1, 3, 4):
        said = "".join(cells[column].strip() for cells in lines)
        assert all(name in said for name in classes), column


def test_a_folder_stands_for_its_videos(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained.videos.root / "test"
    status, printed, _ = said(capsys, "predict", folder, "--weights", trained.flow, "--csv")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert len(rows) == 2 * len(trained.videos.part("test"))
    assert {row["class"] for row in rows} == {"left", "right"}


def test_a_video_shorter_than_a_clip_is_held(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    write_clip(path, 3, (1, 0), frames=2)
    process = IsolatedProcess()
    answer = ask(load_weights(trained.flow), path, process, views=5)
    process.stop()
    assert answer.frames == 2 and answer.span == 4
    assert answer.starts == (0,) * 5 and np.ptp(answer.views, axis=0) == pytest.approx(0)
    assert answer.scores.sum() == pytest.approx(1)


def test_weights_that_mirrored_clips_trained_answer_the_same(trained: Trained) -> None:
    plain = load_weights(trained.flow)
    said = plain.described
    flipped = dataclasses.replace(said, clip=dataclasses.replace(said.clip, flip=True))
    path = trained.videos.root / trained.videos.part("test")[0].path
    process = IsolatedProcess()
    first, second = (
        ask(each, path, process) for each in (plain, dataclasses.replace(plain, described=flipped))
    )
    process.stop()
    assert np.array_equal(first.views, second.views)


def test_mistakes_are_sentences(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = trained.videos.root / trained.videos.part("test")[0].path
    flow = trained.flow
    for arguments, message in (
        ((video,), "no weights are named"),
        ((video, "--weights", flow, "--json", "--csv"), "two ways to print"),
        ((video, "--weights", flow, "--top", "0"), "1 or more"),
        ((video, "--weights", flow, "--device", "abacus"), "the device 'abacus' cannot be used"),
        ((video, "--weights", flow, "--classes", tmp_path / "none.txt"), "cannot read the names"),
        ((tmp_path, "--weights", flow), "no videos in the folder"),
        ((video, "--weigths", flow), "did you mean --weights"),
    ):
        status, printed, errors = said(capsys, "predict", *arguments)
        assert status == 2 and printed == "" and message in errors
        assert errors.startswith("error: ") and errors.count("\n") == 1


def test_what_to_do_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, errors = said(capsys, "predct")
    assert status == 2 and "did you mean predict" in errors
    status, _, errors = said(capsys)
    assert status == 2 and errors.startswith("error: name what to do: one of predict, look, ")
    status, _, errors = said(capsys, "--top", "3")
    assert status == 2 and errors.endswith("; see --help.\n") and ".; see" not in errors
