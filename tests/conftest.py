"""Small real videos that several test folders share."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from repflow_pl.data.index import VideoSet

# A shell's background jobs ignore Ctrl-C, and so would the tests that press it, and their children.
signal.signal(signal.SIGINT, signal.default_int_handler)

PHONE = 390
"""Pixels of its width."""


def write_clip(path: Path, seed: int, step: tuple[int, int], frames: int = 14) -> None:
    """H.264, 64 x 64: a texture that moves by `step` (x, y) pixels per frame."""
    av = pytest.importorskip("av")  # the layers' tests run where only torch is
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = coarse.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        for t in range(frames):
            moved = np.roll(picture, (t * step[1], t * step[0]), axis=(0, 1))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROOT/{train,val,test}/<class>/*.mp4: two classes, left and right; 16 + 4 + 6 videos."""
    root = tmp_path_factory.mktemp("videos")
    for split, count, first in (("train", 8, 0), ("val", 2, 100), ("test", 3, 200)):
        for label, step in (("left", (-2, 0)), ("right", (2, 0))):
            for k in range(count):
                seed = first + 2 * k + (label == "right")
                write_clip(root / split / label / f"{k}.mp4", seed, step)
    return root


@pytest.fixture(scope="session")
def more_videos(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each training video four times: epochs so long that a signal lands amid one."""
    root = tmp_path_factory.mktemp("more") / "videos"
    shutil.copytree(video_folder, root)
    for path in list((root / "train").rglob("*.mp4")):
        for k in range(3):
            shutil.copy(path, path.with_stem(f"{path.stem}_{k}"))
    return root


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the tests of whole scripts, so that videos are decoded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def videos(video_folder: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> VideoSet:
    """The small videos as a set; the shared cache is the user's."""
    from repflow_pl.data.index import open_set  # the layers' tests run where only torch is

    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    return open_set("folder", video_folder)


@pytest.fixture
def seeded() -> None:
    """A test draws the same numbers, whichever ran before it."""
    pytest.importorskip("torch").manual_seed(0)


@pytest.fixture
def ndimage() -> ModuleType:
    """SciPy's filters, where they are installed."""
    return pytest.importorskip("scipy.ndimage")


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """A browser of a phone's width; no page goes on after its test, nor does what it logged."""
    yield chromium
    chromium.get("about:blank")
    chromium.get_log("browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Chromium without a window, driven by selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs a browser: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    phone = {"width": PHONE, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    started.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    yield started
    started.quit()
