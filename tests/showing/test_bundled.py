"""The weights that come with the package: small, described, and asked by the demonstration."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from repflow_pl.__main__ import main
from repflow_pl.data.sets.motion_shapes import CLASSES
from repflow_pl.showing.bundled import FOLDER, SHOWN, bundled, demo_videos
from repflow_pl.showing.weights import load_weights

FILES = sorted(FOLDER.iterdir())


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit status, what was printed, and the errors."""
    status = main(["predict", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_of_both_data_sets_there_are_some() -> None:
    assert [path.stem for path in FILES] == ["motion_shapes", "ucf101"]
    assert bundled("kinetics") is None and bundled("../bundled/ucf101") is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_small_and_says_what_it_is(path: Path) -> None:
    assert path.stat().st_size <= 2e6
    card = load_weights(path).described.card
    for told in ("- Data:", "- Top-1", "95 % intervals", "- Limits:", "- Licence:", "commit"):
        assert told in card
    assert "+" not in card.split("commit ")[1].splitlines()[0], "made from a checkout with changes"


@pytest.mark.long
def test_the_demonstration_knows_what_its_videos_show(capsys: pytest.CaptureFixture[str]) -> None:
    """Of four videos, whose names say what they show, it is right about three at least, and each
    network's own answer stands beside."""
    status, printed, errors = said(capsys, "--demo", "--json", "--top", "1")
    assert status == 0 and "error" not in errors
    videos = json.loads(printed)["videos"]
    assert [each["video"] for each in videos] == [f"{CLASSES[index]}.mp4" for index in SHOWN]
    right = [each["video"] == f"{each['top'][0]['class']}.mp4" for each in videos]
    assert sum(right) >= 3
    assert all(len(each["members"]) == 2 for each in videos)

    status, printed, errors = said(capsys, "--demo", "--top", "2")
    assert status == 0 and "error" not in errors
    assert "flow layer" in " ".join(printed.split()) and "- Licence:" in printed


@pytest.mark.long
def test_weights_are_asked_by_their_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the videos lie in a folder of that name."""
    monkeypatch.setattr("repflow_pl.showing.bundled.SHOWN", SHOWN[:2])
    videos = demo_videos(tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("motion_shapes").mkdir()
    status, printed, _ = said(capsys, *videos, "--weights", "motion_shapes", "--csv", "--top", "1")
    assert status == 0
    assert [line["video"] for line in csv.DictReader(io.StringIO(printed))] == [*map(str, videos)]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "name videos to ask about, or --demo"),
        (["v.mp4", "--demo"], "name videos to ask about, or --demo"),
        (["--demo", "--weights", "ucf101"], "--demo has weights of its own"),
        (["v.mp4"], "or the name of some that come with the package"),
        (["v.mp4", "--weights", "ucf"], "error: "),
    ],
)
def test_mistakes_are_one_sentence(
    given: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed, errors = said(capsys, *given)
    assert (status, printed) == (2, "") and sentence in errors
    assert len(errors.splitlines()) == 1
