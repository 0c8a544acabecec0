"""What a user makes stays out of git's sight; publishing unites, and never puts less over more."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import publish
import pytest
from all_tables import builder

from repflow_pl.data.upkeep import metadata
from repflow_pl.data.upkeep.facts import DataFacts, facts_path
from repflow_pl.files import atomic_write
from repflow_pl.report import classes, curves, fields_page, page, plot_claims
from repflow_pl.report import table as rendering
from repflow_pl.report.join import MARKS
from repflow_pl.report.page import YOURS, write_page
from repflow_pl.specs import spec_hash
from repflow_pl.tables import Setting, shown_command, split_tables, write_table
from repflow_pl.training import run as training
from repflow_pl.training.costs.measure import measure_latency
from tests.programs import CHECKOUT, run

# --- a user's commands, in a checkout


class Clone:
    """A checkout of its own, in which everything is committed, as the current folder."""

    def __init__(self, folder: Path, cache: Path, patched: pytest.MonkeyPatch) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("yours")
        shutil.copytree(CHECKOUT / "tables", folder / "tables", ignore=ignored)
        for name in ("README.md", ".gitignore", "Makefile"):
            shutil.copy(CHECKOUT / name, folder)
        self.git("init", "-q")
        self.git("add", "-A")
        name = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        self.git(*name, "-c", "commit.gpgsign=false", "commit", "-q", "-m", "all")
        patched.chdir(folder)
        patched.setenv("REPFLOW_CACHE", str(cache))
        patched.setattr(page, "PUBLISHED", folder / "tables")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout


@pytest.mark.long
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_sees_nothing_of_what_a_user_makes(
    video_folder: Path,
    shared_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(training, "measure_latency", partial(measure_latency, repeats=2))
    monkeypatch.setattr(metadata, "TREES", 20)
    clone = Clone(tmp_path / "clone", shared_cache, monkeypatch)
    videos = ("--data", "folder", "--data-root", str(video_folder))
    once = ("--recipe.epochs", "1")
    script = "experiments/table_placement.py"
    assert run(script, [*videos, *once, "--rows", "RGB CNN", "--wandb", "offline"]) == 0
    capsys.readouterr()
    assert run(script, ["--from-results", "tables/runs"]) == 0
    printed = capsys.readouterr().out
    assert (clone.folder / "wandb").is_dir() and clone.git("status", "--porcelain") == ""

    yours, published = clone.folder / YOURS, clone.folder / "tables"
    assert {path.parent.name.partition("-")[0] for path in yours.glob("*/placement.csv")} == {
        "folder", "motion_shapes",
    }  # fmt: skip
    name = Path("motion_shapes") / "placement.md"
    assert (yours / name).read_bytes() == (published / name).read_bytes()
    assert (yours / name).read_text(encoding="utf-8") in printed
    assert f"wrote {YOURS / name}, placement.csv and placement.png\n" in printed
    assert f"published, to compare with: tables/{name}\n" in printed
    joined = (yours / "README.md").read_text(encoding="utf-8")
    assert joined.startswith("# Your tables") and "(motion_shapes/placement.png)" in joined


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_sees_nothing_of_what_is_timed(
    video_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = Clone(tmp_path / "clone", shared_cache, monkeypatch)
    videos = ("--data", "folder", "--data-root", str(video_folder))
    assert run("experiments/table_runtime.py", [*videos, "--rounds", "2"]) == 0
    few = ("--frames", "4", "--workers", "1", "--quick")
    assert run("experiments/bench_data.py", [*videos, *few]) == 0
    assert clone.git("status", "--porcelain") == ""
    names = {path.name for path in (clone.folder / YOURS).glob("*/*.csv")}
    assert names == {"runtime.csv", "data_folder.csv"}


# --- less does not replace more


def counted(*counts: int) -> str:
    lines = [f"row {k},{n}" for k, n in enumerate(counts)]
    return "\n".join(("row,n", *lines)) + "\n"


def test_a_page_that_rests_on_more_stays(tmp_path: Path) -> None:
    stem = tmp_path / "resnet18.v2"
    assert not write_page(stem, "three", counted(3, 3), b"png").kept
    files = write_page(stem, "one", counted(3, 1), b"other")
    assert files.kept and files.said.startswith(f"kept {stem}.md: a row of it rests on more")
    assert (files.markdown.read_text(), files.csv.read_text()) == ("three", counted(3, 3))
    assert files.png.read_bytes() == b"png"
    for text in (counted(3, 3), counted(3, 4), counted(3), "what,n\nx,1\n", "what,n\nx,0\n"):
        assert not write_page(stem, "new", text, b"png").kept
    assert not write_page(stem, "what is left", counted(0), b"png", replace=True).kept
    files.png.unlink()
    assert not write_page(stem, "whole again", counted(0), b"png").kept


# --- the maintainers' command

SETTING = Setting("folder")
FACTS = DataFacts("folder", "a" * 12, 0.5, 0.5, 0.1)
(TABLE,) = split_tables([builder("placement")], SETTING, FACTS.fingerprint)
RUN = spec_hash(TABLE.rows[0].spec)
GIVEN = next((CHECKOUT / "tables" / "runs").glob("*/seed0/result.json"))


def put(runs: Path, seed: int, top1: float, *extras: str, run: str = RUN) -> None:
    """A result of the table's first row, or of another run, and the facts of its videos."""
    facts = facts_path(runs, FACTS.name, FACTS.fingerprint)
    result = {**json.loads(GIVEN.read_text()), "spec": run, "seed": seed, "top1": top1}
    folder = runs / run / f"seed{seed}"
    files = {facts: json.dumps(dataclasses.asdict(FACTS))}
    files |= {folder / "result.json": json.dumps(result), folder / "spec.json": "{}"}
    files |= {
        folder / name: "epoch,train_loss,train_top1\n1,1,1\n" for name in (*extras, "last.ckpt")
    }
    for path, text in files.items():
        with atomic_write(path) as stream:
            stream.write(text)


def give_page(stem: Path) -> None:
    write_page(stem, f"# {stem.name}\n", "row,n\nRGB,2\n", b"png")


def accuracies(tables: Path) -> str:
    with (tables / SETTING.folder(FACTS.fingerprint) / "placement.csv").open() as stream:
        return next(csv.DictReader(stream))["top1_by_seed"]


@pytest.mark.long
def test_publishing_unites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    tables, folder = checkout / "tables", SETTING.folder(FACTS.fingerprint)
    arguments = ["--data", "folder", "--out", str(out)]
    for seed in (0, 1):
        put(out / "runs", seed, 0.5)
    assert publish.main(arguments, checkout) == 2
    assert "there is no table folder-* in" in capsys.readouterr().err
    for name in (f"{folder}/placement", f"{folder}/runtime", "bench/flow_cpu", "bench-quick/x"):
        give_page(out / YOURS / name)
    (checkout / "README.md").parent.mkdir()
    (checkout / "README.md").write_text("\n".join(("a", *MARKS, "")))
    assert publish.main(arguments, checkout) == 0, capsys.readouterr().err
    assert "placement: 2 new" in capsys.readouterr().out
    assert accuracies(tables) == "50.0;50.0"
    assert {str(path.relative_to(tables)) for path in tables.rglob("*.md")} == {
        "README.md", "CLAIMS.md", f"{folder}/placement.md", f"{folder}/runtime.md",
        "bench/flow_cpu.md",
    }  # fmt: skip
    assert not list(tables.rglob("last.ckpt"))

    # A checkout that others have added to, and one seed of another machine.
    put(tables / "runs", 1, 0.5, "curve.csv")
    shutil.rmtree(out)
    put(out / "runs", 0, 0.25)
    put(out / "runs", 1, 0.25)
    put(out / "runs", 2, 0.75)
    assert publish.main(arguments, checkout) == 0
    assert "placement: 1 renewed, 1 kept, 1 new" in capsys.readouterr().out
    assert accuracies(tables) == "25.0;50.0;75.0", "the curve of seed 1 would be lost"

    before = {path: path.read_bytes() for path in tables.rglob("*") if path.is_file()}
    shutil.rmtree(out)
    assert publish.main(arguments, checkout) == 0, "from what is published alone"
    assert before == {path: path.read_bytes() for path in tables.rglob("*") if path.is_file()}


OTHER = dataclasses.replace(SETTING, precision="bf16")


@pytest.mark.long
def test_without_arguments_every_setting_is_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    arguments = ["--out", str(out)]
    assert publish.main(arguments, checkout) == 2
    assert "run one of the scripts in experiments/ first" in capsys.readouterr().err
    (other,) = split_tables([builder("placement")], OTHER, FACTS.fingerprint)
    put(out / "runs", 0, 0.5)
    put(out / "runs", 0, 0.75, run=spec_hash(other.rows[0].spec))
    for table, setting in ((TABLE, SETTING), (other, OTHER)):
        write_table(table, [FACTS], setting, out / "runs", 1, out / YOURS)
    for name in ("hmdb51-paper/runtime_card", "hmdb51/fields", "bench/flow_cpu", "bench-quick/x"):
        give_page(out / YOURS / name)
    one, two = (setting.folder(FACTS.fingerprint) for setting in (SETTING, OTHER))
    assert publish.main(arguments, checkout) == 0, capsys.readouterr().err
    tables = checkout / "tables"
    assert {str(path.relative_to(tables)) for path in tables.glob("*/*.csv")} == {
        f"{one}/placement.csv", f"{one}/placement_claims.csv", f"{two}/placement.csv",
        f"{two}/placement_claims.csv", "hmdb51-paper/runtime_card.csv", "bench/flow_cpu.csv",
        "hmdb51/fields.csv",
    }  # fmt: skip
    assert len(list((tables / "runs").glob("*/seed0/result.json"))) == 2

    before = {path: path.read_bytes() for path in tables.rglob("*") if path.is_file()}
    shutil.rmtree(out)
    (tables / one / "placement.md").write_text("- Made by `python x --data folder`.\n")
    (tables / one / "placement.csv").unlink()
    assert publish.main(arguments, checkout) == 0, "what is published is rendered anew"
    assert before == {path: path.read_bytes() for path in tables.rglob("*") if path.is_file()}

    give_page(out / YOURS / two / "placement")
    assert publish.main(arguments, checkout) == 2
    assert f"{two}/placement.md names no command: remove it." in capsys.readouterr().err


@pytest.mark.parametrize(
    "setting",
    [
        Setting(),
        Setting("ucf101", split="all"),
        Setting("hmdb51", "paper", "resnet50", True, "2", True, "bf16", True),
    ],
    ids=lambda setting: setting.folder("*"),
)
def test_a_page_tells_its_setting(setting: Setting, tmp_path: Path) -> None:
    for name in ("placement", "recipe"):
        table = dataclasses.replace(TABLE, name=name)
        page = f"# Page\n\n- Made by `{shown_command(table, setting, 3)}`.\n"
        write_page(tmp_path / setting.folder("0") / name, page, "row,n\nRGB,2\n", b"png")
    give_page(tmp_path / setting.folder("0") / "runtime")
    assert publish.settings_of(tmp_path) == [setting]


def test_run_times_alone_are_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    give_page(out / YOURS / "hmdb51-paper" / "runtime_card")
    give_page(out / YOURS / "hmdb51" / "runtime")
    asked = ["--data", "hmdb51", "--split", "all", "--profile", "paper", "--out", str(out)]
    assert publish.main(asked, checkout) == 0, capsys.readouterr().err
    found = {str(path.relative_to(checkout)) for path in checkout.rglob("*.csv")}
    assert found == {"tables/hmdb51-paper/runtime_card.csv"}


def test_part_of_a_setting_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert publish.main(["--profile", "paper"]) == 2
    assert "name its data set too, with --data" in capsys.readouterr().err


def test_what_is_published_is_what_this_version_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and words. Pictures depend on the version of what draws them, and to draw them is
    two thirds of the work."""
    for draws in (classes, curves, fields_page, plot_claims, rendering):
        monkeypatch.setattr(draws, "drawn", lambda draw: b"png")
    tables = tmp_path / "tables"
    shutil.copytree(CHECKOUT / "tables", tables, ignore=shutil.ignore_patterns("yours"))
    shutil.copy(CHECKOUT / "README.md", tmp_path)

    def pages() -> dict[Path, str]:
        files = (path for path in tmp_path.rglob("*") if path.suffix in (".md", ".csv"))
        return {f: f.read_text(encoding="utf-8") for f in files if "runs" not in f.parts}

    before = pages()
    assert publish.main(["--out", str(tmp_path / "nothing")], tmp_path) == 0
    changed = {path.relative_to(tmp_path) for path, _ in before.items() ^ pages().items()}
    assert not changed, "run `make publish`"
