"""Several tables at once: runs shared and counted once; settings kept apart; results found."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from repflow_pl.changes import ClipChanges, ModelChanges, RecipeChanges
from repflow_pl.cli import Options, run_tables
from repflow_pl.data.index import open_set
from repflow_pl.data.upkeep.facts import DataFacts, facts_path
from repflow_pl.errors import UserError
from repflow_pl.profiles import Profile, ProfileName
from repflow_pl.report.choose import choose_rows
from repflow_pl.report.collect import seeds_of
from repflow_pl.report.page import YOURS
from repflow_pl.report.publish import unite
from repflow_pl.report.table import Row, Table
from repflow_pl.specs import DataSpec, RunSpec, spec_hash
from repflow_pl.tables import (
    Setting,
    context_of,
    kept_tables,
    refuse_void,
    shown_command,
    split_tables,
)


def short(spec: RunSpec) -> RunSpec:
    return dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, epochs=1))


def one(profile: Profile, data: DataSpec) -> Table:
    rows = (
        Row("RGB", short(profile.rgb(data))),
        Row("Block 1", short(profile.flow_after(data, 1, n_iter=2))),
    )
    return Table("one", "The first", rows)


def two(profile: Profile, data: DataSpec) -> Table:
    rows = (
        Row("Plain", short(profile.rgb(data))),
        Row("Block 3", short(profile.flow_after(data, 3, n_iter=2))),
    )
    return Table("two", "The second", rows)


class Both:
    """Both tables on the small videos of the tests."""

    def __init__(self, videos: Path, out: Path) -> None:
        self.out = out
        self.options = Options(Setting("folder"), data_root=videos, out=out, wandb="disabled")

    def run(self, **options: object) -> tuple[int, str]:
        changed = dataclasses.replace(self.options, **options)  # type: ignore[arg-type]
        output = io.StringIO()
        console = Console(file=output, soft_wrap=True, markup=False)
        return run_tables([one, two], changed, console), output.getvalue()

    def results(self) -> set[str]:
        return {path.parts[-3] for path in self.out.glob("runs/*/seed*/result.json")}


@pytest.fixture
def both(
    video_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Both:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    open_set("folder", video_folder)  # --list knows the runs' names once the videos are checked
    return Both(video_folder, tmp_path)


@pytest.mark.long
def test_tables_share_their_runs_and_a_failed_one_fails_alone(both: Both) -> None:
    status, output = both.run(list=True)
    assert status == 0
    blocked = re.search(r"Block 3 +runs/(\w{12}) ", output)
    assert blocked is not None and "two: The second" in output
    folder = both.out / "runs" / blocked[1] / "seed0"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"no checkpoint")

    status, output = both.run()
    assert status == 1
    assert "0 of 3 runs are done, 3 are left." in output, "four rows, one run in both tables"
    assert re.search(r"\[1/3\] one: RGB · seed 0 · epoch 1/1 .* about \S+ for all runs", output)
    assert "[2/3] one: Block 1 · seed 0 · done" in output
    assert "[3/3] two: Block 3 · seed 0 · FAILED" in output
    assert "Plain" not in output, "it is the run named RGB"
    tables = both.out / YOURS
    assert "| Block 3 | FAILED |" in (next(tables.glob("folder-*")) / "two.md").read_text(
        encoding="utf-8"
    )
    assert "missing" not in (next(tables.glob("folder-*")) / "two.md").read_text(encoding="utf-8")
    page = (tables / "README.md").read_text(encoding="utf-8")
    assert "### The first: folder" in page and "### The second: folder" in page
    assert f"wrote {tables / 'README.md'}" in output

    (folder / "last.ckpt").unlink()
    status, output = both.run()
    assert status == 0 and "2 of 3 runs are done, 1 are left." in output
    assert "[1/1]" in output and "FAILED" not in output

    runs, later = both.out / "runs", both.out / "later"
    found = kept_tables([one, two], Setting("folder"), runs)[1]
    assert [unite(table, runs, later / "runs") for table in found] == [
        {"new": 2}, {"new": 1, "the same": 1},
    ]  # fmt: skip
    assert {path.parts[-3] for path in later.glob("runs/*/seed*/result.json")} == both.results()
    status, output = both.run(out=later)
    assert status == 0 and "left" not in output, "published results are not trained again"


def test_rows_are_chosen_over_all_tables() -> None:
    tables = split_tables([one, two], Setting("folder"), "")
    chosen = choose_rows(tables, "block 3,RGB")
    assert [(table.name, row.name) for _, table, row in chosen] == [
        ("two", "Block 3"), ("one", "RGB"),
    ]  # fmt: skip
    assert len(choose_rows(tables, "all")) == 4
    with pytest.raises(UserError, match="did you mean Block"):
        choose_rows(tables, "RGB,Blok 3")


@pytest.mark.parametrize(
    ("setting", "folder", "command"),
    [
        (Setting(), "motion_shapes", ""),
        (Setting("folder"), "folder-0123", " --data folder"),
        (Setting("folder", "paper"), "folder-0123-paper", " --data folder --profile paper"),
        (Setting(backbone="narrow"), "motion_shapes", ""),
        (Setting(backbone="resnet18"), "motion_shapes-resnet18", " --backbone resnet18"),
        (Setting(profile="paper", backbone="resnet34"), "motion_shapes-paper", " --profile paper"),
        (
            Setting(profile="paper", backbone="resnet50"),
            "motion_shapes-paper-resnet50",
            " --profile paper --backbone resnet50",
        ),
        (Setting("hmdb51", split="all"), "hmdb51", " --data hmdb51 --split all"),
        (
            Setting("hmdb51", "paper", split="2", low_res=True),
            "hmdb51_split2_lowres-paper",
            " --data hmdb51 --profile paper --split 2 --low-res",
        ),
        (
            Setting(
                "folder",
                recipe=RecipeChanges(epochs=20, batch=4, lr=1e-3),
                clip=ClipChanges(crop=(48, 64), flip=True),
                model=ModelChanges(n_iter=5),
            ),
            "folder-0123-epochs20-batch4-lr0.001-crop48x64-flip-niter5",
            " --data folder --recipe.epochs 20 --recipe.batch 4 --recipe.lr 0.001"
            " --clip.crop '[48,64]' --clip.flip true --model.n-iter 5",
        ),
        (
            Setting(
                recipe=RecipeChanges(epochs=20, momentum=0.9),
                clip=ClipChanges(size=64, frames=16),
                model=ModelChanges(dropout=0.0),
            ),
            "motion_shapes-frames16",  # all else is the profile's own
            " --clip.frames 16",
        ),
        (
            Setting("folder", "paper", recipe=RecipeChanges(epochs=60)),
            "folder-0123-paper-epochs60",  # which the plain networks have not
            " --data folder --profile paper --recipe.epochs 60",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_setting_has_its_folder_and_command(
    setting: Setting, folder: str, command: str
) -> None:
    plain = setting.plain()
    (table,) = split_tables([one], plain, "")
    facts = DataFacts(setting.data, "0123", 0.5, 0.5, 0.1)
    assert context_of([facts], plain, "").folder == folder
    assert shown_command(table, plain, 1) == f"python experiments/table_one.py{command}"
    assert shown_command(table, plain, 3) == f"python experiments/table_one.py --seeds 3{command}"


@pytest.mark.parametrize(
    ("setting", "option"),
    [
        (Setting(recipe=RecipeChanges(momentum=0.5)), "--recipe.momentum"),  # AdamW has none
        (Setting(recipe=RecipeChanges(momentum=0.5, optimiser="sgd")), ""),
        (Setting(recipe=RecipeChanges(momentum=0.9)), ""),
        (Setting(recipe=RecipeChanges(epochs=2)), "--recipe.epochs"),  # the rows' own
        (Setting(recipe=RecipeChanges(flow_lr_factor=0.1)), ""),
        (
            Setting(recipe=RecipeChanges(flow_lr_factor=0.1), model=ModelChanges(learn=())),
            "--recipe.flow-lr-factor",
        ),
        (Setting(clip=ClipChanges(stride=3)), ""),
        (Setting(clip=ClipChanges(seconds=0.1)), ""),
        (Setting(clip=ClipChanges(seconds=0.1, stride=3)), "--clip.stride"),
        (Setting(low_res=True, clip=ClipChanges(size=99)), ""),
        (Setting(low_res=True, clip=ClipChanges(size=99, crop=(9, 9))), "--low-res"),
        (Setting(model=ModelChanges(stack=3)), "--model.stack"),
        (Setting(model=ModelChanges(n_iter=3)), "--model.n-iter"),
        (Setting(model=ModelChanges(dropout=0.5)), ""),
        (Setting(profile="paper", recipe=RecipeChanges(schedule="step")), ""),
        (Setting("folder", "paper", "resnet18", True, "2", compile=True), ""),
    ],
)
def test_an_option_that_changes_nothing_is_refused(setting: Setting, option: str) -> None:
    with pytest.raises(UserError) if option else nullcontext() as caught:
        refuse_void([one, two], setting)
    if option:
        assert str(caught.value).startswith(f"{option} changes none of these rows")  # type: ignore[union-attr]


def test_a_setting_is_not_refused_for_what_is_a_profiles_own() -> None:
    def flow_alone(profile: Profile, data: DataSpec) -> Table:
        return Table("flow", "One network", (Row("Block 1", profile.flow_after(data, 1)),))

    own = RecipeChanges(schedule="plateau", epochs=60)  # the plain networks have another one
    refuse_void([flow_alone], Setting(profile="paper", recipe=own, model=ModelChanges(dropout=0.3)))


def test_two_folders_of_videos_have_tables_of_their_own() -> None:
    first = DataFacts("folder", "0123", 0.5, 0.5, 0.1)
    second = dataclasses.replace(first, fingerprint="4567")
    folders = {context_of([facts], Setting("folder"), "").folder for facts in (first, second)}
    assert folders == {"folder-0123", "folder-4567"}


def test_the_ceiling_is_that_of_the_embedded_set_alone() -> None:
    facts = DataFacts("motion_shapes", "0123", 1 / 16, 0.06, 0.01)
    context = context_of([facts], Setting(), "")
    assert (context.ceiling, len(context.notes)) == (0.25, 2)
    assert "chosen on the validation part" in context.notes[1]
    assert len(context_of([facts], Setting(profile="paper"), "").notes) == 1, "of the demo recipe"
    other = context_of([dataclasses.replace(facts, name="folder")], Setting("folder"), "")
    assert (other.ceiling, other.notes, other.chance) == (None, (), 1 / 16)
    assert other.metadata is not None and other.metadata.accuracy == 0.06


def test_bounds_are_averages_over_the_splits_as_the_rows_are() -> None:
    each = [DataFacts("ucf101", str(k), 0.1 * k, 0.2 * k, 0.03 * k, split=k) for k in (1, 2, 3)]
    context = context_of(each, Setting("ucf101", split="all"), "")
    assert context.chance == pytest.approx(0.2)
    assert context.metadata is not None and context.metadata.accuracy == pytest.approx(0.4)
    # Independent of each other: variances add up.
    width = ((0.03**2 + 0.06**2 + 0.09**2) / 9) ** 0.5
    assert context.metadata.half_width == pytest.approx(width)


@pytest.mark.parametrize(
    ("data", "said"),
    [("ucf101", "take a group as one unit"), ("hmdb51", "cut from one source are a group")],
)
@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_a_page_says_what_its_intervals_take_as_one(
    data: str, said: str, profile: ProfileName
) -> None:
    facts = DataFacts(data, "0123", 0.5, 0.5, 0.1)
    notes = context_of([facts], Setting(data, profile, split="all"), "").notes
    assert said in notes[-1]


def keep(runs: Path, fingerprint: str) -> DataFacts:
    facts = DataFacts("folder", fingerprint, 0.5, 0.5, 0.1)
    path = facts_path(runs, facts.name, facts.fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(facts)))
    return facts


def give_result(runs: Path, table: Table) -> None:
    path = runs / spec_hash(table.rows[0].spec) / "seed0" / "result.json"
    path.parent.mkdir(parents=True)
    path.touch()


def test_the_list_of_videos_that_has_results_is_the_one_meant(tmp_path: Path) -> None:
    setting = Setting("folder")
    with pytest.raises(UserError, match="no results on folder"):
        kept_tables([one], setting, tmp_path)
    first = keep(tmp_path, "aaaa")
    assert kept_tables([one], setting, tmp_path)[0] == [first], "without results, but the only one"
    second = keep(tmp_path, "bbbb")
    with pytest.raises(UserError, match=r"2 different lists .* folder-aaaa\.json, folder-bbbb\.j"):
        kept_tables([one], setting, tmp_path)
    give_result(tmp_path, split_tables([one], setting, "bbbb")[0])
    facts, (table,) = kept_tables([one], setting, tmp_path)
    assert facts == [second] and table.rows[0].spec.data.fingerprint == "bbbb"
    give_result(tmp_path, split_tables([one], setting, "aaaa")[0])
    with pytest.raises(UserError, match="move the others away") as error:
        kept_tables([one], setting, tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="no results on motion_shapes"):
        kept_tables([one], Setting(), tmp_path)


def test_each_split_has_its_list_of_videos(tmp_path: Path) -> None:
    for split in (1, 2, 3):
        facts = DataFacts("hmdb51", f"{split}" * 4, 0.5, 0.5, 0.1, split)
        path = facts_path(tmp_path, facts.name, facts.fingerprint)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(facts)))
    kept, (table,) = kept_tables([one], Setting("hmdb51", split="all"), tmp_path)
    assert [facts.split for facts in kept] == [1, 2, 3]
    specs = [table.rows[0].spec, *table.rows[0].other_splits]
    assert [(s.data.split, s.data.fingerprint) for s in specs] == [
        (1, "1111"),
        (2, "2222"),
        (3, "3333"),
    ]
    (facts,), (table,) = kept_tables([one], Setting("hmdb51", split="2"), tmp_path)
    assert facts.split == 2 and table.rows[0].spec.data.split == 2


def test_what_is_no_run_is_left_alone(tmp_path: Path) -> None:
    """Copies that people keep beside their results are neither seeds nor lists of videos."""
    facts = keep(tmp_path, "aaaa")
    table = split_tables([one], Setting("folder"), "aaaa")[0]
    give_result(tmp_path, table)
    run = tmp_path / spec_hash(table.rows[0].spec)
    for name in ("seed0.bak", "seed0 (copy)", "seed", "seed-1", "seed01", "seeds", "seed²"):
        shutil.copytree(run / "seed0", run / name)
    (run / "seed7").touch()
    for name in ("notes.json", "folder-aaaa.json.bak", "._folder-aaaa.json", "folder-old.json"):
        (tmp_path / "data" / name).write_text("{}")
    (tmp_path / "seed0.bak").mkdir()
    assert kept_tables([one], Setting("folder"), tmp_path)[0] == [facts]
    assert seeds_of(tmp_path, table.rows[0].spec) == {0}
