"""What runs cannot be made on is refused, before anything is opened; no GPU is needed for it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from repflow_pl import cli
from repflow_pl.data.index import VideoSet
from repflow_pl.data.share import check_ranks
from repflow_pl.errors import UserError
from repflow_pl.launching.launch import check
from repflow_pl.profiles import Profile, build_profile
from repflow_pl.report.table import Row, Table
from repflow_pl.specs import DataSpec
from repflow_pl.training.planning.jobs import Job
from repflow_pl.training.planning.ranks import check_machine, chosen_gpus

PAGE = Path(__file__).parents[2] / "docs" / "running.md"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with four."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def torchrun(monkeypatch: pytest.MonkeyPatch, here: int, machines: int) -> None:
    variables = {"TORCHELASTIC_RUN_ID": "x", "RANK": 0, "WORLD_SIZE": here * machines}
    variables |= {"LOCAL_WORLD_SIZE": here, "GROUP_WORLD_SIZE": machines}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    ("batches", "ranks", "works"),
    [
        ({24}, 16, "1, 2, 3, 4, 6, 8, 12 or 24"),
        ({16, 12}, 8, "1, 2 or 4"),
        ({7}, 2, "1 or 7"),
        ({3, 4}, 2, "1"),
    ],
)
def test_counts_that_work_are_named(batches: set[int], ranks: int, works: str) -> None:
    with pytest.raises(UserError, match=f"among {ranks} processes or GPUs: make .* {works} of"):
        check_ranks(batches, ranks)
    for count in map(int, re.findall(r"\d+", works)):
        check_ranks(batches, count)


@pytest.mark.parametrize(
    ("devices", "per_run", "there", "sentence"),
    [
        (5, 1, 4, "--devices 5: there are 4 GPUs; name as many or fewer."),
        (None, 6, 4, "--gpus-per-run 6: there are 4 GPUs; name as many or fewer."),
        (2, 1, 1, "--devices 2: there is 1 GPU; name as many or fewer."),
        (None, 2, 1, "--gpus-per-run 2: there is 1 GPU; name as many or fewer."),
    ],
)
def test_more_gpus_than_there_are(
    gpus: pytest.MonkeyPatch, devices: int | None, per_run: int, there: int, sentence: str
) -> None:
    gpus.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(UserError) as error:
        check_machine({12}, devices, per_run, elsewhere=False)
    assert str(error.value) == sentence
    check_machine({12}, devices, per_run, elsewhere=True)  # a cluster may have them


def test_gpus_that_are_there_are_taken(gpus: pytest.MonkeyPatch) -> None:
    assert chosen_gpus(2, 1) == ["0", "1"] and chosen_gpus(None, 4) == ["0", "1", "2", "3"]
    gpus.setattr(torch.cuda, "device_count", lambda: 0)
    assert chosen_gpus(8, 1) == [], "processes on the CPU, as many as are asked for"


def test_torchrun_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    torchrun(monkeypatch, here=8, machines=2)
    with pytest.raises(UserError, match=r"a batch of 24 .* among 16 processes"):
        check_machine({24}, None, 1, elsewhere=False)
    with pytest.raises(UserError, match="torchrun says how many processes"):
        check_machine({16}, 2, 1, elsewhere=False)
    check_machine({16}, None, 1, elsewhere=False)


def test_the_pages_torchrun_can_share_out_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = re.findall(r"torchrun --nnodes.*?```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    machines, here = re.findall(r"--nnodes (\d+) --nproc-per-node (\d+)", command)[0]
    torchrun(monkeypatch, int(here), int(machines))
    assert "--profile paper" in command
    profile = build_profile("paper", "hmdb51")
    batches = {profile.recipe.batch, profile.baseline_recipe.batch}
    check_machine(batches, None, 1, elsewhere=False)


def test_a_batch_of_more_than_all_videos_is_refused_before_a_run(
    videos: VideoSet,
) -> None:
    spec = build_profile("demo", "folder").rgb(DataSpec("folder"))
    larger = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, batch=17))
    check([Job("t", "row", spec, 0)], videos)
    with pytest.raises(UserError, match="a batch of 17 is larger than the training part of 16"):
        check([Job("t", "row", larger, 0)], videos)


@pytest.mark.parametrize(
    "options",
    [["--devices", "5"], ["--gpus-per-run", "6"], ["--devices", "5", "--gpus-per-run", "5"]],
)
def test_a_command_refuses_before_it_opens_a_set(
    gpus: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    def opened(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a set was opened")

    gpus.setattr(cli, "open_set", opened)
    status = cli.main(placement_like, arguments=["--out", str(tmp_path), *options])
    (said,) = capsys.readouterr().err.splitlines()
    assert status == 2 and said.startswith("error: ")


def placement_like(profile: Profile, data: DataSpec) -> Table:
    return Table("t", "T", (Row("RGB", profile.rgb(data)),))
