"""The page of answers plays its videos with the flow over them, in a real browser."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from repflow_pl.__main__ import main
from repflow_pl.data.decoding.decode import probe
from repflow_pl.showing.answers import Answer
from repflow_pl.showing.answers_page import _shown
from repflow_pl.showing.overlay import Overlay
from tests.conftest import PHONE, write_clip
from tests.showing.conftest import Trained

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def page(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two videos of 14 and 40 frames by a late fusion, and of one that cannot be read."""
    place, told = tmp_path_factory.mktemp("answers"), io.StringIO()
    short, long, cut = (place / name for name in ("a & <b>.mp4", "long.mp4", "cut.mp4"))
    source = trained.videos.root / trained.videos.part("test")[0].path
    shutil.copy(source, short)
    write_clip(long, 5, (2, 1), frames=40)
    cut.write_bytes(source.read_bytes()[:500])
    out = place / "pages" / "what is it.html"
    given = ["predict", short, cut, long, "--weights", trained.both, "--html", out, "--csv"]
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stderr(told):
        patched.setenv("REPFLOW_CACHE", str(place / "cache"))
        assert main([str(each) for each in given]) == 1
    assert f"wrote {out}" in told.getvalue() and not (place / "cache").exists()
    return out


def test_a_page_has_each_video_with_every_networks_scores(page: Path) -> None:
    text = page.read_text()
    films = [page.parent / unquote(name) for name in re.findall(r'<video src="([^"]+)"', text)]
    assert [film.is_file() for film in films] == [True, True], "of what could be read"
    assert {film.parent for film in films} == {page.parent / "what is it_files"}
    for film, frames in zip(films, (14, 40), strict=True):
        found = probe(film)
        assert (found.frames, found.width, found.height) == (frames - 1, 256, 128)
    assert "a &amp; &lt;b&gt;.mp4" in text and "<b>" not in text
    assert "<th>narrow on RGB, flow layer after block 3</th><th>narrow on TV-L1</th>" in text
    lines = [line.split() for line in re.findall(r'<polyline class="line0" points="([^"]+)"', text)]
    assert len(lines[1]) == 2 + 20, "a clip of 4 frames for every second frame"
    assert lines[1][0].startswith("0.0,") and lines[1][-1].startswith("600.0,")


def test_a_click_plays_a_video(page: Path, browser: Any) -> None:
    browser.get(page.as_uri())
    wait = "const done = arguments[0], v = document.querySelector('video');"
    browser.execute_async_script(
        f"{wait} v.readyState > 1 ? done() : v.addEventListener('loadeddata', () => done());"
    )
    canvas, share = (browser.find_element("css selector", name) for name in ("canvas", "input"))
    with_flow = canvas.screenshot_as_png
    change = "arguments[0].value = 0; arguments[0].dispatchEvent(new Event('input'))"
    browser.execute_script(change, share)
    assert canvas.screenshot_as_png != with_flow, "the slider takes the flow away"
    assert browser.execute_script("return document.querySelector('video').currentTime") == 0
    browser.find_element("css selector", "button").click()
    browser.execute_async_script(
        f"{wait} v.addEventListener('timeupdate', () => v.currentTime > 0 && done());"
    )
    place = browser.find_element("css selector", ".now")
    browser.execute_async_script("requestAnimationFrame(() => arguments[0]())")
    assert place.get_attribute("x1") not in (None, "0", "0%"), "and the line goes with it"
    assert browser.find_element("css selector", "button").text == "Pause"
    assert browser.execute_script("return document.documentElement.scrollWidth") == PHONE
    assert browser.get_log("browser") == []


def test_a_video_without_motion_costs_no_answers(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page has the others; and a name with a colon is a name."""
    still, moves, out = tmp_path / "still.mp4", tmp_path / "10:30.mp4", tmp_path / "10:31.html"
    write_clip(still, 5, (2, 1), frames=1)
    write_clip(moves, 5, (2, 1), frames=10)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path)
        names = [each.name for each in (still, moves)]
        given = ["--weights", str(trained.flow), "--html", out.name, "--csv", "--top", "1"]
        assert main(["predict", *names, *given]) == 1
    told = capsys.readouterr()
    assert [line.split(",")[0] for line in told.out.splitlines()] == ["video", *names]
    assert "error: still.mp4 has one frame" in told.err
    assert re.findall("<h2>(.*)</h2>", out.read_text())[:1] == ["10:30.mp4"]


def test_classes_of_one_name_have_curves_of_their_own() -> None:
    views = np.array([[0.1, 0.7, 0.2], [0.1, 0.5, 0.4]])
    answer = Answer(Path("v.mp4"), 9, 25.0, ("a", "a", "b"), (0, 4), 4, views, (("m", views[0]),))
    shown = _shown(answer, answer, Overlay("", 1, 1, ""), 3)
    assert [line.members for line in shown.lines] == [(0.7,), (0.2,), (0.1,)]
    assert shown.points[0] != shown.points[2]


def test_a_page_is_called_as_one(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "v.mp4", "--weights", str(trained.flow), "--html", "page.txt"]) == 2
    assert "ends in .html" in capsys.readouterr().err


def test_looking_makes_a_page_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], browser: Any
) -> None:
    """With a film for each source, which nothing needs but the page."""
    video, out = tmp_path / "v.mp4", tmp_path / "flow.html"
    write_clip(video, 5, (2, 1), frames=10)
    assert main(["look", str(video), "--out", str(out)]) == 0
    assert "9 frames, layer on pixels, TV-L1" in capsys.readouterr().out
    assert len(list((tmp_path / "flow_files").iterdir())) == 2
    browser.get(out.as_uri())
    buttons = browser.find_elements("css selector", "button")
    assert len(buttons) == 2
    for button in buttons:
        button.click()
        browser.execute_async_script(
            "const done = arguments[1], v = arguments[0].closest('section').querySelector('video');"
            "v.addEventListener('timeupdate', () => done());",
            button,
        )
        assert button.text == "Pause"
    assert browser.get_log("browser") == []
