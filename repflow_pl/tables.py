"""The scripts' tables: built for a list of videos, found again from results, written."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from repflow_pl.changes import (
    ClipChanges,
    ModelChanges,
    RecipeChanges,
    asked,
    changed,
    without_the_same,
    words,
)
from repflow_pl.data.fields.flow_files import fields_beside
from repflow_pl.data.index import VideoSet, fold_count, identity
from repflow_pl.data.upkeep.facts import DataFacts, facts_path, kept_facts
from repflow_pl.errors import UserError
from repflow_pl.options import arguments_of, spelt
from repflow_pl.profiles import Profile, ProfileName, build_profile
from repflow_pl.report.collect import seeds_of, whole_seeds
from repflow_pl.report.page import Rendered
from repflow_pl.report.table import Context, MetadataBaseline, Table, render
from repflow_pl.specs import DataSpec, Precision, RunSpec, effective, low_res, with_fields

NOT_TIMED = frozenset({"backbone", "pretrained", "compile", "recipe"})
"""Of a setting, for the table of run times: its rows have backbones of their own, weights change no
time, evaluation takes the network that is not compiled, and nothing is trained."""
LONGEST = 100
"""Characters of a setting's folder: a file system takes 255 of a name, W&B 128 with the table's."""
TableBuilder = Callable[[Profile, DataSpec], Table]


@dataclass(frozen=True)
class Setting:
    """The options that decide what a table shows; the others decide how it is come by.

    The docstrings are the options' help.
    """

    data: str = "motion_shapes"
    """Data set: motion_shapes (embedded), ut_interaction, hmdb51, ucf101, kinetics400,
    tiny_kinetics, or folder."""
    profile: ProfileName = "demo"
    """demo: a narrow backbone, minutes on two CPU cores; paper: its backbone, clip and recipe."""
    backbone: str | None = None
    """By default the profile's; or narrow, resnet18, resnet34 or resnet50; for clips narrow3d,
    r3d_18, r2plus1d_18, s3d, i3d or one of repflow_pl/backbones."""
    pretrained: bool = False
    """Start from torchvision's weights of the backbone, where it has any."""
    split: Literal["1", "2", "3", "all"] = "1"
    """Official split of hmdb51 and ucf101; all: every split is trained and their average shown."""
    low_res: bool = False
    """The paper's low-resolution clips: frames halved, then a crop of 112 x 112."""
    precision: Precision = "32"
    """bf16: train and evaluate in mixed precision; part of the recipe, so it names other runs."""
    compile: bool = False
    """Train what torch.compile makes of the network; part of the recipe."""
    recipe: RecipeChanges = field(default_factory=RecipeChanges)
    clip: ClipChanges = field(default_factory=ClipChanges)
    model: ModelChanges = field(default_factory=ModelChanges)

    def arguments(self) -> list[str]:
        """The command line's part that asks for this setting: what differs from the defaults."""
        return arguments_of(self)

    @property
    def splits(self) -> list[int]:
        """The official splits that are asked for."""
        return (
            list(range(1, fold_count(self.data) + 1)) if self.split == "all" else [int(self.split)]
        )

    @property
    def shown_data(self) -> str:
        """The data set's name, with the split where it is one of several, and `lowres`."""
        one = self.split != "all" and fold_count(self.data) > 1
        split = f"_split{self.split}" if one else ""
        return f"{self.data}{split}{'_lowres' if self.low_res else ''}"

    def folder(self, fingerprint: str) -> str:
        """Folder of the tables, another for each setting: `<data>` for the demo profile, then
        `<data>-paper`, `<data>-resnet18`, `<data>-paper-resnet50-pretrained`, `<data>-bf16`.
        `<data>` has the list's fingerprint where any folder of videos has the name. A name of many
        changes is cut, and ends in the hash of all."""
        parts = [
            identity(self.data, fingerprint) + self.shown_data.removeprefix(self.data),
            None if self.profile == "demo" else self.profile,
            self.backbone,
            "pretrained" if self.pretrained else None,
            None if self.precision == "32" else self.precision,
            "compile" if self.compile else None,
            *(word.replace(" ", "") for word in words(*self.changes)),
        ]
        name = "-".join(part for part in parts if part)
        if len(name) <= LONGEST:
            return name
        hashed = hashlib.sha256(name.encode()).hexdigest()[:12]
        return f"{name[: LONGEST - 13]}-{hashed}"

    @property
    def changes(self) -> tuple[RecipeChanges, ClipChanges, ModelChanges]:
        """What of the profile is to be another."""
        return self.recipe, self.clip, self.model

    @property
    def changes_in_words(self) -> str:
        """`epochs 20, batch 8`; empty where nothing is."""
        return ", ".join(words(*self.changes))

    def profile_of(self) -> Profile:
        """The profile, with all that is asked for. Errors: UserError, see `changed`."""
        return changed(self._profile(), *self.changes)

    def _profile(self) -> Profile:
        profile = build_profile(self.profile, self.data)
        recipe, baseline_recipe = (
            dataclasses.replace(recipe, precision=self.precision, compile=self.compile)
            for recipe in (profile.recipe, profile.baseline_recipe)
        )
        return dataclasses.replace(
            profile,
            backbone=profile.backbone if self.backbone is None else self.backbone,
            pretrained=self.pretrained,
            recipe=recipe,
            baseline_recipe=baseline_recipe,
            clip=low_res(profile.clip) if self.low_res else profile.clip,
        )

    def plain(self, how_many: Callable[[Iterable[bool]], bool] = all) -> Setting:
        """The same setting, without what is the profile's own anyway: that of `how_many` of its
        networks, `all` or `any`."""
        own = self._profile()
        backbone = build_profile(self.profile, self.data).backbone
        return dataclasses.replace(
            self,
            backbone=None if self.backbone == backbone else self.backbone,
            recipe=without_the_same(self.recipe, (own.recipe, own.baseline_recipe), how_many),
            clip=without_the_same(self.clip, (own.clip,)),
            model=without_the_same(
                self.model, (own, dataclasses.replace(own, dropout=own.baseline_dropout)), how_many
            ),
        )


def split_tables(
    builders: Sequence[TableBuilder],
    setting: Setting,
    fingerprint: str,
    split: int = 1,
    fields: Mapping[str, str] | None = None,
) -> list[Table]:
    """The tables on a list of videos, which is one of the data set's splits.

    Args:
        fields: how fields beside the videos were made, see `with_fields`.
    """
    profile = setting.profile_of()
    data = DataSpec(setting.data, profile.clip, fingerprint, split)
    tables = [build(profile, data) for build in builders]
    return [
        dataclasses.replace(
            table,
            rows=tuple(
                dataclasses.replace(row, spec=with_fields(row.spec, fields or {}))
                for row in table.rows
            ),
        )
        for table in tables
    ]


def refuse_void(builders: Sequence[TableBuilder], setting: Setting) -> None:
    """Errors: UserError for an option that changes how no row of the tables is trained."""

    def rows(of: Setting) -> list[RunSpec]:
        tables = split_tables(builders, of, fingerprint="")
        return [effective(row.spec) for table in tables for row in table.rows]

    setting = setting.plain(any)
    asked_for = rows(setting)
    for option, others in _each_left_out(setting):
        if rows(others) == asked_for:
            raise UserError(f"--{option} changes none of these rows: leave it out, see --help.")


def _each_left_out(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Each option of how is trained, and the setting without it."""
    for name in ("backbone", "pretrained", "low_res", "precision", "compile"):
        default: Any = getattr(Setting, name)
        if getattr(setting, name) != default:
            yield spelt(name), dataclasses.replace(setting, **{name: default})
    for group in ("recipe", "clip", "model"):
        changes: Any = getattr(setting, group)
        for name in asked(changes):
            others: Any = dataclasses.replace(changes, **{name: None})
            yield f"{group}.{spelt(name)}", dataclasses.replace(setting, **{group: others})


def tables_on(
    builders: Sequence[TableBuilder], setting: Setting, video_set: VideoSet
) -> list[Table]:
    """The tables on a split that is open."""
    fields = fields_beside(video_set)
    return split_tables(builders, setting, video_set.fingerprint, video_set.fold, fields)


def averages(by_split: Sequence[Sequence[Table]]) -> list[Table]:
    """Each table once, its rows standing for the same rows on all splits."""
    return [
        dataclasses.replace(
            first,
            rows=tuple(
                dataclasses.replace(row, other_splits=tuple(other.rows[k].spec for other in others))
                for k, row in enumerate(first.rows)
            ),
        )
        for first, *others in zip(*by_split, strict=True)
    ]


def kept_tables(
    builders: Sequence[TableBuilder], setting: Setting, runs: Path
) -> tuple[list[DataFacts], list[Table]]:
    """The tables on the lists of videos that the results in a folder are of; no video is opened.

    Errors: UserError where there is no list of videos of that name and split, or where several
    have results.
    """
    kept = [_kept_split(builders, setting, runs, split) for split in setting.splits]
    return [facts for facts, _ in kept], averages([tables for _, tables in kept])


def _kept_split(
    builders: Sequence[TableBuilder], setting: Setting, runs: Path, split: int
) -> tuple[DataFacts, list[Table]]:
    known = [
        (facts, split_tables(builders, setting, facts.fingerprint, split, facts.fields))
        for facts in kept_facts(runs, setting.data, split)
    ]
    found = [
        (facts, tables)
        for facts, tables in known
        if any(_has_results(table, runs) for table in tables)
    ] or known
    if len(found) > 1:
        names = [facts_path(runs, facts.name, facts.fingerprint).name for facts, _ in found]
        raise UserError(
            f"{runs} has results on {len(found)} different lists of videos of {setting.data}: "
            f"keep one of {', '.join(names)} in {runs / 'data'} and move the others away."
        )
    return found[0]


def write_table(
    table: Table,
    facts: Sequence[DataFacts],
    setting: Setting,
    runs: Path,
    seeds: int,
    out: Path,
    replace: bool = False,
) -> Rendered:
    """Render a table from the results in `runs`, below `out`; `replace` as in `write_page`.

    Its seeds are 0 to `seeds` - 1 and those that earlier calls finished: no result is left out.
    """
    setting = setting.plain()
    last = max({seeds - 1}.union(*(whole_seeds(runs, row) for row in table.rows)))
    context = context_of(facts, setting, shown_command(table, setting, last + 1))
    return render(table, context, runs, range(seeds), out, replace=replace)


def context_of(splits: Sequence[DataFacts], setting: Setting, command: str) -> Context:
    """What a table says about the data beside the runs' own figures; bounds are those of the rows:
    an average over the splits."""
    facts = splits[0]
    ceiling = None
    notes: tuple[str, ...] = ()
    count = fold_count(setting.data)
    if len(setting.splits) > 1:
        notes = (
            f"Every figure is the average of the {count} official splits; counts of videos are "
            "sums over them, speed is that of split 1.",
        )
    elif count > 1:
        notes = (f"Official split {setting.split} of {count}.",)
    if facts.name == "motion_shapes":
        from repflow_pl.data.sets.motion_shapes import DIRECTIONS

        ceiling = 1 / len(DIRECTIONS)
        notes += (
            "Shuffled frames still show the line along which a shape moves, but not which way: "
            f"they allow at most {2 * ceiling:.0%}.",
        )
        if setting.profile == "demo":
            notes += (
                "Epochs and learning rate of the demo recipe were chosen on the validation part: "
                "[how](../motion_shapes_validation/recipe.md).",
            )
    if facts.name == "ucf101" and setting.profile == "demo":
        notes += (
            "Epochs and learning rate of the demo recipe were chosen on groups 22 to 25, "
            "which no official split tests: [how](../ucf101_validation/recipe.md).",
        )
    if facts.name == "ucf101":
        notes += (
            "Videos of one group are cut from one source: intervals take a group as one unit.",
        )
    if facts.name == "hmdb51":
        notes += (
            "Clips of one class that are cut from one source are a group, which intervals take as "
            "one unit. Some clips are tested by several splits and count as several.",
        )
    return Context(
        data=setting.shown_data,
        profile=setting.profile,
        command=command,
        chance=fmean(each.chance for each in splits),
        metadata=MetadataBaseline(
            fmean(each.metadata_accuracy for each in splits),
            math.hypot(*(each.metadata_half_width for each in splits)) / len(splits),
        ),
        ceiling=ceiling,
        notes=notes,
        backbone=setting.backbone,
        folder=setting.folder(facts.fingerprint),
        changes=setting.changes_in_words,
        classes=facts.classes,
    )


def shown_command(table: Table, setting: Setting, seeds: int) -> str:
    """The command that makes the whole table, however it came about: no folder of the user."""
    parts = ["python", f"experiments/{table.script or f'table_{table.name}.py'}"]
    if seeds > 1:
        parts += ["--seeds", str(seeds)]
    return shlex.join([*parts, *setting.arguments()])


def _has_results(table: Table, runs: Path) -> bool:
    specs = (spec for row in table.rows for spec in (row.spec, *row.other_splits))
    return any(seeds_of(runs, spec) for spec in specs)
