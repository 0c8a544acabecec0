"""One loop for all places; what each of them is at is in test_processes and test_arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from repflow_pl.data.index import VideoSet
from repflow_pl.errors import UserError
from repflow_pl.launching.order import Order
from repflow_pl.launching.outcome import BUSY, DONE, FAILED, MISTAKE, Ended, Failed
from repflow_pl.launching.pool import make_all
from repflow_pl.profiles import build_profile
from repflow_pl.specs import DataSpec
from repflow_pl.training.following import wandb_client
from repflow_pl.training.planning.jobs import Job, run_folder
from repflow_pl.training.planning.machine import Machine
from tests.sweeps import Told, rows

PROFILE = build_profile("demo", "folder")
JOBS = rows("row 1", "row 2", "row 3")


class Script:
    """A place in which runs end as was written down for them, two at a time."""

    look = 0.0

    def __init__(self, said: str = "first\nlast words", **ends: list[int | None]) -> None:
        self.said = said
        self.ends = {f"row {name[1:]}": list(statuses) for name, statuses in ends.items()}
        self.making: list[Order] = []
        self.begun: list[int] = []
        self.modes: list[str] = []
        self.most = 0
        self.stopped = 0

    def room(self) -> int:
        return 2 - len(self.making)

    def start(self, orders: Sequence[Order]) -> None:
        self.making += orders
        self.modes += [order.wandb for order in orders]
        self.begun += [order.number for order in orders]
        self.most = max(self.most, len(self.making))

    def watch(self, tell: Callable[[int, str], None]) -> list[Ended]:
        order = self.making.pop(0)
        if (status := self.ends.get(order.job.row, [DONE]).pop(0)) == 9:  # it got on before
            folder = run_folder(Path(order.out), order.job.spec, 0)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "last.ckpt").touch()
        return [Ended(order, status, self.said, "the process was ended")]

    def stop(self) -> None:
        self.stopped += 1


def make(out: Path, videos: VideoSet, place: Script) -> tuple[list[Failed], str]:
    console = Told()
    failures = make_all(JOBS, [videos], Machine(out, console=console), place)
    assert place.stopped == 1 and not place.making
    return failures, console.printed


def test_no_more_are_started_than_there_is_room_for(videos: VideoSet, tmp_path: Path) -> None:
    place = Script()
    assert make(tmp_path, videos, place) == ([], "")
    assert place.begun == [1, 2, 3] and place.most == 2


def test_runs_of_all_splits_are_made_side_by_side(videos: VideoSet, tmp_path: Path) -> None:
    """No core waits for the last run of a split."""
    sets = [videos, dataclasses.replace(videos, fold=2, root=tmp_path / "second")]
    jobs = [
        Job("t", "row 1", PROFILE.flow_after(DataSpec("folder", split=each.fold), 3), 0)
        for each in sets
    ]
    place = Script()
    watched: list[list[tuple[str, str]]] = []
    start = place.start

    def begin(orders: Sequence[Order]) -> None:
        watched.append([(order.label, order.data_root) for order in orders])
        start(orders)

    place.start = begin  # type: ignore[method-assign]
    assert make_all(jobs, sets, Machine(tmp_path, console=Told()), place) == []
    assert watched == [
        [
            ("[1/2] row 1 · seed 0 · split 1", str(videos.root.absolute())),
            ("[2/2] row 1 · seed 0 · split 2", str(tmp_path / "second")),
        ]
    ]


def test_a_busy_run_comes_last_and_one_that_got_on_next(videos: VideoSet, tmp_path: Path) -> None:
    place = Script(r1=[BUSY, DONE], r2=[9, DONE])
    failures, printed = make(tmp_path, videos, place)
    assert failures == [] and place.begun == [1, 2, 3, 2, 1]
    assert (
        printed == "[2/3] row 2 · seed 0 · the process was ended: it goes on from its checkpoint\n"
    )


def test_one_that_does_not_get_on_fails_also_where_it_has_no_status(
    videos: VideoSet, tmp_path: Path
) -> None:
    place = Script(r1=[None], r2=[FAILED])  # the second without an error.txt of its own
    failures, printed = make(tmp_path, videos, place)
    assert [failed.job.row for failed in failures] == ["row 1", "row 2"]
    reason = "the process was ended before it got any further; the next sweep goes on with it"
    assert {failed.reason for failed in failures} == {reason}
    assert failures[0].log.read_text().endswith("first\nlast words")
    assert printed.count(f"FAILED: {reason}") == 2


def test_a_mistake_stops_the_place(videos: VideoSet, tmp_path: Path) -> None:
    place = Script(r1=[MISTAKE])
    with pytest.raises(UserError, match=r"^last words$"):
        make_all(JOBS, [videos], Machine(tmp_path, console=Told()), place)
    assert place.stopped == 1 and len(place.begun) == 2


def test_where_wandb_failed_a_run_it_is_left_out_of_later_ones_and_that_is_said_once(
    videos: VideoSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(wandb_client, "_left_out", False)
    sentence = f"{wandb_client.LEFT_OUT} (no answer): runs go on."
    place = Script(said=f"a warning\n{sentence}\nanother\n")
    machine = Machine(tmp_path, wandb="online", console=Told())
    assert make_all(JOBS, [videos], machine, place) == []
    assert place.modes == ["online", "online", "offline"]
    assert capsys.readouterr().err == sentence + "\n"
