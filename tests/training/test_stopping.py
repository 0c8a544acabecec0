"""SIGTERM amid an epoch: saved at once, gone on with exactly there, the same result in the end."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from repflow_pl.data import module as data_module
from repflow_pl.data.clips import ClipDataset
from repflow_pl.data.index import VideoSet, open_set
from repflow_pl.errors import Terminated, terminate
from repflow_pl.specs import ClipSpec, DataSpec, ModelSpec, RecipeSpec, RunSpec
from repflow_pl.training.module import VideoClassifier
from repflow_pl.training.planning.jobs import Job, run_folder
from repflow_pl.training.recording.curve import CURVE, read_curve
from tests.sweeps import result_of, sweep

CLIP = ClipSpec(frames=4, size=32, crop=(32, 32))
EPOCHS, BATCHES = 3, 8
"""Of 16 videos, two a batch; 4 videos are validated on, one a batch."""


def checkpoint_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return found


def place_of(folder: Path) -> tuple[int, int]:
    """Epochs that are done, and batches of the next one."""
    loops = checkpoint_of(folder)["loops"]["fit_loop"]
    epochs = loops["epoch_progress"]["current"]["processed"]
    return epochs, loops["epoch_loop.batch_progress"]["current"]["processed"]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.fixture(autouse=True)
def asked_as_the_command_is(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    before = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, before)


@dataclasses.dataclass(frozen=True)
class OneRun:
    """A network with dropout, of three epochs."""

    videos: VideoSet
    job: Job

    def make(self, out: Path) -> list[str]:
        """What was printed."""
        failures, printed = sweep([self.job], self.videos, out)
        assert failures == []
        return printed.splitlines()

    def folder(self, out: Path) -> Path:
        return run_folder(out, self.job.spec, self.job.seed)


@pytest.fixture(params=["plateau", "one_cycle", "step"])
def one(request: pytest.FixtureRequest, video_folder: Path) -> OneRun:
    videos = open_set("folder", video_folder)
    recipe = RecipeSpec(EPOCHS, batch=2, lr=1e-3, optimiser="adamw", schedule=request.param)
    model = ModelSpec("narrow", dropout=0.5)
    job = Job("t", "rgb", RunSpec(model, DataSpec("folder", CLIP, videos.fingerprint), recipe), 0)
    return OneRun(videos, job)


class Steps:
    """Every step that is made, (kind, epoch, batch); in some this very process is asked to end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, int, int]] = []
        self.ask_at: set[tuple[str, int, int]] = set()
        for kind in ("training", "validation"):
            step = getattr(VideoClassifier, f"{kind}_step")
            monkeypatch.setattr(VideoClassifier, f"{kind}_step", self._watched(kind, step))

    def _watched(self, kind: str, step: Any) -> Any:
        def watched(module: VideoClassifier, batch: Any, batch_index: int) -> Any:
            place = (kind, module.current_epoch, batch_index)
            self.made.append(place)
            if place in self.ask_at:
                self.ask_at.remove(place)
                os.kill(os.getpid(), signal.SIGTERM)
            return step(module, batch, batch_index)

        return watched


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    folder: Path
    steps: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def made_before() -> dict[RunSpec, Undisturbed]:
    return {}


@pytest.fixture
def undisturbed(
    one: OneRun, made_before: dict[RunSpec, Undisturbed], tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """The same run in one go, which is made once for all tests that compare with it."""
    if one.job.spec not in made_before:
        out = tmp_path_factory.mktemp("undisturbed")
        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch)
            one.make(out)
        made_before[one.job.spec] = Undisturbed(one.folder(out), steps.made)
    return made_before[one.job.spec]


MOMENTS = {
    ("training", 0, 0): (0, 1),
    ("training", 1, 3): (1, 4),
    ("training", 1, BATCHES - 1): (1, BATCHES),  # saved in the first batch of validation
    ("validation", 2, 2): (2, BATCHES),
}
"""Where it is asked, and the place that the checkpoint is of."""


@pytest.mark.long
def test_a_run_goes_on_from_the_very_step(
    one: OneRun, undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = [place for place in undisturbed.steps if place[0] == "training"]
    assert len(trained) == EPOCHS * BATCHES

    steps = Steps(monkeypatch)
    steps.ask_at = set(MOMENTS)
    folder = one.folder(tmp_path / "asked")
    for place in MOMENTS.values():
        with pytest.raises(Terminated):
            one.make(tmp_path / "asked")
        assert place_of(folder) == place
        written = (folder / CURVE).is_file() and len(read_curve(folder / CURVE))
        assert int(written) == place[0], "the curve so far"
        assert signal.getsignal(signal.SIGTERM) is terminate
    lines = one.make(tmp_path / "asked")
    assert "epoch 3/3" in lines[0]
    assert [place for place in steps.made if place[0] == "training"] == trained, "none twice"
    expected = undisturbed.folder
    assert result_of(folder) == result_of(expected)
    assert (folder / CURVE).read_bytes() == (expected / CURVE).read_bytes()
    ended, wanted = checkpoint_of(folder), checkpoint_of(expected)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "last_epoch"):
        assert same(ended[part], wanted[part]), part


@pytest.mark.long
@pytest.mark.parametrize("one", ["plateau"], indirect=True)
def test_a_killed_run_with_a_plateau_goes_on_from_its_last_epoch(
    one: OneRun, undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the plateau counts is in the checkpoint of an epoch's end."""
    with monkeypatch.context() as patch:
        steps = Steps(patch)
        step = VideoClassifier.training_step

        def killed(module: VideoClassifier, batch: Any, batch_index: int) -> Any:
            if steps.made and steps.made[-1] == ("training", 2, 3):
                raise KeyboardInterrupt
            return step(module, batch, batch_index)

        patch.setattr(VideoClassifier, "training_step", killed)
        with pytest.raises(KeyboardInterrupt):
            one.make(tmp_path / "killed")
    one.make(tmp_path / "killed")
    ended, wanted = map(checkpoint_of, (one.folder(tmp_path / "killed"), undisturbed.folder))
    assert same(ended["lr_schedulers"], wanted["lr_schedulers"])
    assert ended["lr_schedulers"][0]["last_epoch"] == EPOCHS


@pytest.mark.long
@pytest.mark.parametrize("one", ["one_cycle"], indirect=True)
def test_loading_in_other_processes_goes_on_from_the_very_step(
    one: OneRun, undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They load ahead of the training, and are asked to end with it."""
    monkeypatch.setattr(ClipDataset, "cached", False)  # so that there are some
    monkeypatch.setattr(data_module, "MOST_WORKERS", 2)
    steps = Steps(monkeypatch)
    steps.ask_at = {("training", 1, 3)}
    kill = os.kill
    asked: list[int] = []

    def ask_all(pid: int, how: int) -> None:
        loaders = [child.pid for child in multiprocessing.active_children()]
        asked.extend(loaders)
        for process in (*loaders, pid):
            kill(process, how)

    with monkeypatch.context() as patch, pytest.raises(Terminated):
        patch.setattr(os, "kill", ask_all)
        one.make(tmp_path / "asked")
    assert len(asked) >= 2
    folder = one.folder(tmp_path / "asked")
    assert place_of(folder) == (1, 4)
    one.make(tmp_path / "asked")
    assert result_of(folder) == result_of(undisturbed.folder), "made without them"


# --- as a user and a scheduler do it

SCRIPT = """
import dataclasses, sys
from repflow_pl.cli import main
from repflow_pl.report.table import Row, Table

def build(profile, data):
    rows = []
    for name, spec in (("Flow", profile.flow_after(data, 3)), ("RGB", profile.rgb(data))):
        model = dataclasses.replace(spec.model, dropout=0.5)
        recipe = dataclasses.replace(spec.recipe, epochs=4, batch=2)
        rows.append(Row(name, dataclasses.replace(spec, model=model, recipe=recipe)))
    return Table("long", "Epochs of many steps", tuple(rows))

sys.exit(main(build))
"""
STEPS = 32
"""Of an epoch of it, on 64 videos."""


def command(script: Path, videos: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    arguments = ["--data", "folder", "--data-root", str(videos), "--out", str(out)]
    return subprocess.Popen(
        [sys.executable, str(script), *arguments, "--wandb", "disabled", *options],
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[2])},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "devices",
    [("--devices", "1"), ("--devices", "2"), ("--devices", "2", "--gpus-per-run", "2")],
    ids=["alone", "side by side", "together"],
)
def test_a_command_is_asked_to_end_amid_an_epoch(
    more_videos: Path, tmp_path: Path, devices: tuple[str, ...]
) -> None:
    script = tmp_path / "table_long.py"
    script.write_text(SCRIPT)
    undisturbed = command(script, more_videos, tmp_path / "undisturbed", *devices)
    output, errors = undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0, output + errors

    asked = command(script, more_videos, tmp_path / "asked", *devices)
    assert asked.stdout is not None
    for line in asked.stdout:
        if "epoch 1/4" in line:
            break
    time.sleep(0.3)
    start = time.monotonic()
    asked.send_signal(signal.SIGTERM)
    errors = asked.communicate(timeout=60)[1]
    assert time.monotonic() - start < 20
    assert asked.returncode == 143
    (said,) = [line for line in errors.splitlines() if line]
    assert said == "interrupted: run the same command again and it goes on where it stopped."
    places = [place_of(path.parent) for path in (tmp_path / "asked").rglob("last.ckpt")]
    assert any(0 < batches < STEPS for _, batches in places), places
    assert not list(tmp_path.rglob("error.txt"))

    again = command(script, more_videos, tmp_path / "asked", *devices)
    output, errors = again.communicate(timeout=600)
    assert again.returncode == 0, output + errors
    assert len(re.findall("epoch 1/4", output)) < 2, "it was gone on with"
    runs = sorted(path.parent for path in (tmp_path / "undisturbed").rglob("result.json"))
    assert len(runs) == 2
    for folder in runs:
        ended = tmp_path / "asked" / folder.relative_to(tmp_path / "undisturbed")
        assert result_of(ended) == result_of(folder)
