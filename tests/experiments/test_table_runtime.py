"""The run times' script on a folder of small videos, and how all_tables.py comes to run it."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import all_tables
import pandas as pd
import pytest
import table_runtime
from bench.command import shown_command
from table_runtime import Options, main

from repflow_pl import cli
from repflow_pl.errors import UserError
from repflow_pl.options import parse
from repflow_pl.report.page import YOURS
from repflow_pl.report.paper import PAPER_FOLDER
from repflow_pl.tables import NOT_TIMED, Setting
from repflow_pl.training.costs import clip_times, step_costs
from repflow_pl.training.costs.measure import in_turns

SCRIPT = "table_runtime.py"
PAPER = pd.read_csv(PAPER_FOLDER / "sota.csv")


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one round, not three: half of what these take."""
    for costs in (clip_times, step_costs):
        monkeypatch.setattr(costs, "in_turns", partial(in_turns, warm_up=1))


@pytest.mark.long
def test_every_row_of_the_paper_is_timed(
    video_folder: Path,
    shared_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    arguments = ["--data", "folder", "--data-root", str(video_folder), "--rounds", "2"]
    before = set((shared_cache / "tvl1").glob("*"))  # of other tests
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.glob("tables/yours/folder-*")
    assert {p.name for p in folder.iterdir()} == {"runtime.md", "runtime.csv", "runtime.png"}
    assert not (tmp_path / "runs").exists()
    made = set((shared_cache / "tvl1").glob("*")) - before
    assert not made, "one clip's fields are not those of a set"

    frame = pd.read_csv(folder / "runtime.csv")
    assert len(frame) == 19 and set(frame["n"]) == {2}
    for column in ("row", "group"):
        assert list(frame[column]) == list(PAPER[column])
    for column in ("runtime_ms", "runtime_sd"):
        assert list(frame[f"paper_{column}"]) == list(PAPER[column])
    assert list(frame["paper_ratio_to_rgb"]) == pytest.approx(
        list(PAPER["runtime_ms"] / 225), abs=1e-4
    )
    with_tvl1 = frame[frame["tvl1_share"] > 0]
    # In the paper too these are the ones that take more than 5 seconds.
    assert list(with_tvl1["row"]) == list(PAPER[PAPER["runtime_ms"] > 5000]["row"])
    assert (with_tvl1["ms_median"] > with_tvl1["tvl1_ms_median"]).all()
    assert frame.loc[0, "ratio_to_rgb_median"] == 1

    printed = capsys.readouterr().out
    assert str(video_folder) not in (folder / "runtime.md").read_text(encoding="utf-8")
    assert "--data folder --rounds 2`" in printed and "8 frames of 64 x 64 pixels" in printed
    assert "### Run time per clip: folder" in (tmp_path / YOURS / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.long
def test_the_rows_of_today_are_timed_without_weights(
    video_folder: Path,
    shared_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("repflow_pl.data.fields.raft.UPDATES", 1)
    arguments = ["--data", "folder", "--data-root", str(video_folder), "--rounds", "2"]
    assert main([*arguments, "--table", "today", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("tables/yours/folder-*/runtime_today.csv")
    frame = pd.read_csv(path).set_index("row")
    assert len(frame) == 18 and set(frame["table"]) == {"runtime_today"}
    with_fields = frame.index[frame["tvl1_ms_median"] > 0]
    kinds = {"Flow CNN", "Two-stream CNN", "Motion vectors", "RAFT"}
    assert set(with_fields) == kinds | {"RGB + Motion vectors", "RGB + RAFT"}
    vectors, tvl1, raft = (
        frame.loc[row, "tvl1_ms_median"] for row in ("Motion vectors", "Flow CNN", "RAFT")
    )
    assert vectors < tvl1 < raft
    assert (frame["step_ms_median"] > 0).all() and (frame["kept_bytes"] > 0).all()
    page = path.with_suffix(".md").read_text()
    assert "RAFT: torchvision's small network, freshly initialised" in page
    assert "| training step, ms | its × RGB | MB it keeps |" in page
    assert "--table today`" in page and "| of it flow |" in page and "paper: " not in page


@pytest.mark.long
def test_times_of_any_table_stand_on_its_page(
    video_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of one whose rows the plain network is not among, and of fields of fields."""
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    videos = ["--data", "folder", "--data-root", str(video_folder)]
    assert main([*videos, "--rounds", "2", "--table", "architecture", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("tables/yours/folder-*/runtime_architecture.csv")
    times = pd.read_csv(path).set_index("row")
    assert len(times) == 6 and times.loc["TV-L1 twice", "tvl1_ms_median"] > 0
    assert "paper: ms" not in path.with_suffix(".md").read_text()
    assert (times["ratio_to_rgb_median"] != 1).all(), "it is timed beside them"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rounds", "1"], "--rounds is a count of 2 or more"),
        (["--rounds", "many"], "rounds"),
        (["--data", "folders"], "unknown data set 'folders': did you mean folder"),
        (["--data", "folder"], "no folder was given"),
        (["--table", "placment"], "unknown table 'placment': did you mean placement"),
        (["--backbone", "resnet18"], "see --help"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and sentence in error


def test_the_command_on_the_page_has_no_folders() -> None:
    assert shown_command(SCRIPT, Options()) == "python experiments/table_runtime.py"
    options = Options(Setting(profile="paper"), Path("/home/x"), rounds=9, out=Path("/tmp"))
    assert shown_command(SCRIPT, options).endswith("table_runtime.py --profile paper --rounds 9")


def test_all_tables_hands_its_options_on() -> None:
    timed = Setting("hmdb51", "paper", split="2", low_res=True, precision="bf16")
    setting = dataclasses.replace(timed, backbone="resnet50", pretrained=True, compile=True)
    options = cli.Options(setting, data_root=Path("a b"), out=Path("o"))
    command = all_tables.runtime_command(options)
    assert command is not None
    assert {"--low-res", "--split", "--precision"} < set(command)
    assert Path(command[1]) == Path(table_runtime.__file__)
    assert parse(Options, command[2:], skip=NOT_TIMED) == Options(timed, Path("a b"), out=Path("o"))
    command = all_tables.runtime_command(cli.Options())
    assert command is not None and parse(Options, command[2:]) == Options()


@pytest.mark.parametrize(
    "changes", [{"list": True}, {"from_results": Path("runs")}, {"rows": "RGB"}], ids=str
)
def test_all_tables_times_nothing_where_nothing_is_to_be_run(changes: dict[str, object]) -> None:
    options = dataclasses.replace(cli.Options(), **changes)  # type: ignore[arg-type]
    assert all_tables.runtime_command(options) is None


def test_all_tables_times_last_and_hides_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = iter([0, 1, 1, 2])
    monkeypatch.setattr(all_tables, "main", lambda *_, **__: next(statuses))
    ran = []
    status = type("Done", (), {"returncode": -9})
    monkeypatch.setattr(all_tables.subprocess, "run", lambda c, check: ran.append(c) or status)
    assert all_tables.all_tables(["--data", "folder"]) == -9
    assert all_tables.all_tables(["--data", "folder"]) == 1
    assert all_tables.all_tables(["--from-results", "x"]) == 1
    assert all_tables.all_tables(["--mistake"]) == 2
    assert len(ran) == 2 and ran[0][2:4] == ["--data", "folder"]


def test_mistakes_are_errors_of_the_user() -> None:
    with pytest.raises(UserError, match="2 or more"):
        Options(rounds=1)
