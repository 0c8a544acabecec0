"""What W&B is given, as it lies on the disk: results and tables, nothing of the user or machine."""

from __future__ import annotations

import dataclasses
import io
import platform
import re
import socket
from pathlib import Path

import pytest
from rich.console import Console

from repflow_pl.changes import ClipChanges, ModelChanges, RecipeChanges
from repflow_pl.cli import Options, run_tables
from repflow_pl.profiles import Profile
from repflow_pl.report.page import YOURS
from repflow_pl.report.table import Row, Table
from repflow_pl.specs import DataSpec, FlowSpec, ModelSpec, RecipeSpec, RunSpec
from repflow_pl.tables import Setting
from repflow_pl.training.following import wandb_client
from repflow_pl.training.following.tracking import log_table
from repflow_pl.training.recording.result import EXTRAS, FILES

pytestmark = pytest.mark.long

SECRET, KEY, MACHINE = "s3cr3t-of-the-environment", "k" * 40, "a-machine-of-the-users"


def table(profile: Profile, data: DataSpec) -> Table:
    model = ModelSpec("narrow", flow=FlowSpec(3, n_iter=2, bottleneck=4))
    return Table("short", "One run", (Row("Flow", RunSpec(model, data, RecipeSpec(1, 8, 1e-3))),))


@pytest.fixture(scope="module")
def made(video_folder: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`out`: a table that was made with W&B offline; `staged`: W&B's copies for artifacts."""
    folder = tmp_path_factory.mktemp("tracked")
    options = Options(
        Setting("folder"), data_root=video_folder, out=folder / "out", wandb="offline"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPFLOW_CACHE", str(shared_cache))
        patch.setenv("REPFLOW_SECRET", SECRET)
        patch.setenv("WANDB_API_KEY", KEY)
        patch.setenv("WANDB_DATA_DIR", str(folder / "staged"))
        for module, function in ((socket, "gethostname"), (platform, "node")):
            patch.setattr(module, function, lambda: MACHINE)
        console = Console(file=io.StringIO(), markup=False)
        assert run_tables([table], options, console) == 0
        assert run_tables([table], options, console) == 0, "again, with nothing left to make"
    return folder


def test_a_run_and_a_table_are_logged_with_their_files_alone(made: Path) -> None:
    out = made / "out"
    runs = sorted((out / "wandb").glob("offline-run-*"))
    assert len(runs) == 2, "a run and a table, which a second call logs no more"
    logged = {path.stem: path.read_bytes() for run in runs for path in run.glob("*.wandb")}
    (result,) = (path for path in out.glob("runs/*/seed0/result.json"))
    name = f"{result.parts[-3]}-seed0"
    (facts,) = (out / "runs" / "data").iterdir()
    assert set(logged) == {f"run-{name}", f"run-table-{facts.stem}-short"}
    run, shown = logged[f"run-{name}"], logged[f"run-table-{facts.stem}-short"]
    for text in (f"result-{name}", "result.json", "spec.json", "short", "Flow · seed 0", "theta"):
        assert text.encode() in run, text
    for text in (
        f"table-{facts.stem}-short",
        "short.md",
        "short.csv",
        "short.png",
        f"data-{facts.stem}",
    ):
        assert text.encode() in shown, text

    staged = [path.read_bytes() for path in (made / "staged").rglob("*") if path.is_file()]
    tables = list((out / YOURS / facts.stem).iterdir())
    kept = [result.with_name(name) for name in (*FILES, *EXTRAS)]
    wanted = [*kept, facts, *tables]
    assert sorted(staged) == sorted(path.read_bytes() for path in wanted)


MANY = Setting(
    recipe=RecipeChanges(epochs=33, batch=12, lr=0.00123, momentum=0.91, weight_decay=0.000123),
    clip=ClipChanges(frames=12, stride=3, crop=(96, 96), views=5, jitter=(0.9, 1.1)),
    model=ModelChanges(learn=("theta", "tau"), bottleneck=24, n_iter=15),
)


@pytest.mark.parametrize("setting", [Setting(model=ModelChanges(learn=("theta", "tau"))), MANY])
def test_a_table_of_any_setting_can_be_called_what_it_is(
    setting: Setting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(wandb_client, "_left_out", False)
    log_table("architecture", setting.folder(""), [], [], tmp_path, "offline")
    assert wandb_client.LEFT_OUT not in capfd.readouterr().err
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_settings_of_many_changes_have_folders_of_their_own() -> None:
    other = dataclasses.replace(MANY, model=dataclasses.replace(MANY.model, n_iter=16))
    assert len({MANY.folder(""), other.folder("")}) == 2
    assert MANY.folder("").startswith("motion_shapes-epochs33-batch12-lr0.00123")
    assert len(MANY.folder("")) == len(other.folder("")) == 100


def test_nothing_of_the_user_or_the_machine_is_logged(made: Path) -> None:
    staged = str(made / "staged").encode()
    files = [path for path in (made / "out" / "wandb").glob("offline-run-*/**/*") if path.is_file()]
    files = [path for path in files if "logs" not in path.parts]  # W&B's own, never uploaded
    assert {path.suffix for path in files} <= {".wandb", ".png"}
    files += [path for path in (made / "staged").rglob("*") if path.is_file()]
    for path in files:
        # Where W&B finds the copies again that it is to upload: in this file and not uploaded.
        content = re.sub(re.escape(staged) + rb"[\w/.-]*", b"", path.read_bytes())
        for own in (str(made), str(Path.home()), SECRET, "REPFLOW_SECRET", KEY, MACHINE):
            assert own.encode() not in content, f"{own} is in {path.name}"
        if path.suffix != ".png":
            assert not re.search(rb"/(home|root|tmp|usr|work|Users)/", content), path.name
