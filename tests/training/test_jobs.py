"""The order of runs: once each, streams before the network that averages them."""

from __future__ import annotations

from pathlib import Path

from repflow_pl.profiles import build_profile
from repflow_pl.specs import DataSpec, spec_hash
from repflow_pl.training.jobs import (
    Job,
    is_finished,
    left_to_do,
    member_runs,
    ordered,
    run_folder,
)

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
    folder.mkdir(parents=True)
    (folder / "result.json").touch()
    assert is_finished(tmp_path, rgb)


def test_a_shared_run_stands_where_it_is_first_asked_for() -> None:
    again = Job("another table", "the same", job("rgb").spec, 0)
    assert ordered([job("rgb"), job("flow"), again]) == [job("rgb"), job("flow")]
    assert ordered([again, job("flow"), job("rgb")]) == [again, job("flow")]


def test_results_without_weights_do_for_their_own_rows_only(tmp_path: Path) -> None:
    def keep(name: str, file: str) -> None:
        folder = run_folder(tmp_path, job(name).spec, 0)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()

    def left() -> list[str]:
        return [j.row for j in left_to_do(tmp_path, ordered([job("flow"), job("both")]))]

    rgb, tvl1 = "both: rgb stream", "both: tvl1 stream"
    assert left() == ["flow", rgb, tvl1, "both"]
    for name in ("flow", "rgb", "tvl1"):
        keep(name, "result.json")
    assert left() == [rgb, tvl1, "both"]
    keep("rgb", "last.ckpt")
    assert left() == [tvl1, "both"]
    keep("both", "result.json")
    assert left() == []
