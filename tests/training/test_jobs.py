"""The order of runs: once each, streams before the network that averages them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from repflow_pl.profiles import build_profile
from repflow_pl.specs import DataSpec, spec_hash
from repflow_pl.training.planning.jobs import (
    Job,
    is_finished,
    is_made,
    label_of,
    left_to_do,
    member_runs,
    ordered,
    ready,
    run_folder,
)
from repflow_pl.training.planning.lock import held
from repflow_pl.training.recording.predictions import PREDICTIONS
from repflow_pl.training.recording.result import read_result, write_result

RESULT = Path(__file__).parents[1] / "report" / "sweep" / "rgb" / "seed0" / "result.json"

PROFILE = build_profile("demo", "motion_shapes")
DATA = DataSpec("motion_shapes", PROFILE.clip)


def job(name: str, seed: int = 0) -> Job:
    spec = {
        "rgb": PROFILE.rgb(DATA),
        "tvl1": PROFILE.tvl1(DATA),
        "both": PROFILE.two_stream(DATA),
        "flow": PROFILE.flow_after(DATA, 3),
    }[name]
    return Job("placement", name, spec, seed)


def give_result(out: Path, name: str, seed: int = 0) -> Path:
    """Put a result of its own into a job's folder."""
    path = run_folder(out, job(name).spec, 0) / "result.json"
    result = read_result(RESULT)
    write_result(path, dataclasses.replace(result, spec=spec_hash(job(name).spec), seed=seed))
    return path


def test_a_two_stream_run_brings_its_streams() -> None:
    both = job("both")
    rgb, tvl1, last = ordered([both])
    assert (rgb.spec, tvl1.spec, last) == (job("rgb").spec, job("tvl1").spec, both)
    assert rgb.row == "both: part 1"


def test_rows_that_are_streams_are_run_once_and_keep_their_names() -> None:
    assert [j.row for j in ordered([job("both"), job("rgb"), job("flow"), job("tvl1")])] == [
        "rgb",
        "tvl1",
        "both",
        "flow",
    ]


def test_the_same_spec_in_two_rows_is_one_run() -> None:
    assert ordered([job("rgb"), job("rgb")]) == [job("rgb")]
    assert len(ordered([job("rgb"), job("rgb", seed=1)])) == 2


def test_only_late_fusion_builds_on_others() -> None:
    assert member_runs(job("flow")) == ()


def test_finished_means_a_result(tmp_path: Path) -> None:
    rgb = job("rgb")
    assert not is_finished(tmp_path, rgb)
    folder = run_folder(tmp_path, rgb.spec, 0)
    assert folder == tmp_path / "runs" / spec_hash(rgb.spec) / "seed0"
    assert give_result(tmp_path, "rgb").parent == folder
    assert is_finished(tmp_path, rgb)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "\x00"])
def test_a_corrupt_result_is_none(tmp_path: Path, text: str) -> None:
    path = give_result(tmp_path, "rgb")
    path.write_text(text)
    assert not is_finished(tmp_path, job("rgb"))


def test_another_runs_result_is_none(tmp_path: Path) -> None:
    give_result(tmp_path, "rgb", seed=1)
    assert not is_finished(tmp_path, job("rgb"))
    path = give_result(tmp_path, "rgb")
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": 1}))
    assert not is_finished(tmp_path, job("rgb"))


def test_made_means_weights_too_where_there_are_any(tmp_path: Path) -> None:
    for name, alone in (("rgb", False), ("both", True)):
        folder = give_result(tmp_path, name).parent
        assert is_made(tmp_path, job(name)) is alone
        (folder / "last.ckpt").touch()
        assert is_made(tmp_path, job(name))


def test_parts_come_before_what_is_made_of_them(tmp_path: Path) -> None:
    rgb, tvl1, both = job("rgb"), job("tvl1"), job("both")
    assert list(ready([both, tvl1], [rgb], tmp_path)) == [tvl1]
    assert list(ready([both], [tvl1], tmp_path)) == []
    assert list(ready([both], [job("flow")], tmp_path)) == [both]
    assert list(ready([], [], tmp_path)) == []


def test_what_another_process_makes_is_left_to_it(tmp_path: Path) -> None:
    rgb, flow, both = job("rgb"), job("flow"), job("both")
    with held(run_folder(tmp_path, rgb.spec, 0)):
        assert list(ready([rgb, both, flow], [], tmp_path)) == [flow]
        assert list(ready([rgb, both], [], tmp_path)) == []
    assert list(ready([rgb, both], [], tmp_path)) == [rgb]


def test_labels_name_the_table_where_there_are_several() -> None:
    rgb, flow = job("rgb"), job("flow", seed=2)
    assert label_of(flow, 2, [rgb, flow]) == "[2/2] flow · seed 2"
    other = Job("another", "row", flow.spec, 0)
    assert label_of(flow, 1, [flow, other]) == "[1/2] placement: flow · seed 2"


def test_a_shared_run_stands_where_it_is_first_asked_for() -> None:
    again = Job("another table", "the same", job("rgb").spec, 0)
    assert ordered([job("rgb"), job("flow"), again]) == [job("rgb"), job("flow")]
    assert ordered([again, job("flow"), job("rgb")]) == [again, job("flow")]


def test_results_without_weights_do_for_their_own_rows_only(tmp_path: Path) -> None:
    def left() -> list[str]:
        return [j.row for j in left_to_do(tmp_path, ordered([job("flow"), job("both")]))]

    rgb, tvl1 = "both: part 1", "both: part 2"
    assert left() == ["flow", rgb, tvl1, "both"]
    for name in ("flow", "rgb", "tvl1"):
        give_result(tmp_path, name)
    assert left() == [rgb, tvl1, "both"]
    (run_folder(tmp_path, job("rgb").spec, 0) / "last.ckpt").touch()
    assert left() == [tvl1, "both"]
    (run_folder(tmp_path, job("rgb").spec, 0) / PREDICTIONS).touch()
    assert left() == [tvl1, "both"], "it is joined by weights or by answers, not by one of each"
    (run_folder(tmp_path, job("tvl1").spec, 0) / PREDICTIONS).touch()
    assert left() == ["both"]
    (run_folder(tmp_path, job("tvl1").spec, 0) / "result.json").unlink()
    assert left() == [tvl1, "both"], "one that is made keeps answers, which do with the other's"
    give_result(tmp_path, "tvl1")
    give_result(tmp_path, "both")
    assert left() == []
