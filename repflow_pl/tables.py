"""The scripts' tables: built for a list of videos, found again from results, written."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repflow_pl.data.facts import DataFacts, facts_path, kept_facts
from repflow_pl.errors import UserError
from repflow_pl.profiles import Profile, ProfileName, build_profile
from repflow_pl.report.publish import publish
from repflow_pl.report.table import Context, MetadataBaseline, Rendered, Table, render
from repflow_pl.specs import DataSpec, spec_hash

TableBuilder = Callable[[Profile, DataSpec], Table]


@dataclass(frozen=True)
class Setting:
    """The options that decide what a table shows; the others decide how it is come by."""

    data: str = "motion_shapes"
    profile: ProfileName = "demo"
    backbone: str | None = None
    """None for the profile's own."""
    pretrained: bool = False
    """Start from torchvision's weights."""

    @property
    def folder(self) -> str:
        """Folder of the tables, another for each setting: `<data>` for the demo profile, then
        `<data>-paper`, `<data>-resnet18`, `<data>-paper-resnet50-pretrained`."""
        parts = [
            self.data,
            None if self.profile == "demo" else self.profile,
            self.backbone,
            "pretrained" if self.pretrained else None,
        ]
        return "-".join(part for part in parts if part)


def plain_setting(setting: Setting) -> Setting:
    """The same setting, without a backbone that is the profile's own anyway."""
    own = build_profile(setting.profile, setting.data).backbone
    return dataclasses.replace(setting, backbone=None) if setting.backbone == own else setting


def build_tables(
    builders: Sequence[TableBuilder], setting: Setting, fingerprint: str
) -> list[Table]:
    """The tables on a list of videos."""
    profile = build_profile(setting.profile, setting.data, setting.backbone, setting.pretrained)
    data = DataSpec(setting.data, profile.clip, fingerprint)
    return [build(profile, data) for build in builders]


def kept_tables(
    builders: Sequence[TableBuilder], setting: Setting, runs: Path
) -> tuple[DataFacts, list[Table]]:
    """The tables on the list of videos that the results in a folder are of; no video is opened.

    Errors: UserError where there is no list of videos of that name, or where several have results.
    """
    known = [
        (facts, build_tables(builders, setting, facts.fingerprint))
        for facts in kept_facts(runs, setting.data)
    ]
    found = [
        (facts, tables) for facts, tables in known if any(_seeds(table, runs) for table in tables)
    ] or known
    if len(found) > 1:
        names = [facts_path(runs, facts.name, facts.fingerprint).name for facts, _ in found]
        raise UserError(
            f"{runs} has results on {len(found)} different lists of videos of {setting.data}: "
            f"keep one of {', '.join(names)} in {runs / 'data'} and move the others away."
        )
    return found[0]


def write_table(
    table: Table, facts: DataFacts, setting: Setting, runs: Path, seeds: int, out: Path
) -> Rendered:
    """Render a table from the results in `runs`, and keep these in `<out>/runs` beside it.

    Its seeds are 0 to `seeds` - 1 and those that earlier calls finished: no result is left out.
    """
    setting = plain_setting(setting)
    shown = sorted({*range(seeds), *_seeds(table, runs)})
    context = context_of(facts, setting, shown_command(table, setting, max(shown) + 1))
    files = render(table, context, runs, shown, out)
    publish(table, runs, shown, facts_path(runs, facts.name, facts.fingerprint), out / "runs")
    return files


def context_of(facts: DataFacts, setting: Setting, command: str) -> Context:
    """What a table says about the data beside the runs' own figures."""
    ceiling = None
    notes: tuple[str, ...] = ()
    if facts.name == "motion_shapes":
        from repflow_pl.data.motion_shapes import DIRECTIONS

        ceiling = 1 / len(DIRECTIONS)
        notes = (
            "Shuffled frames still show the line along which a shape moves, but not which way: "
            f"they allow at most {2 * ceiling:.0%}.",
        )
    return Context(
        data=facts.name,
        profile=setting.profile,
        command=command,
        chance=facts.chance,
        metadata=MetadataBaseline(facts.metadata_accuracy, facts.metadata_half_width, facts.chance),
        ceiling=ceiling,
        notes=notes,
        backbone=setting.backbone,
        folder=setting.folder,
    )


def shown_command(table: Table, setting: Setting, seeds: int) -> str:
    """The command that makes the whole table, however it came about: no folder of the user."""
    parts = ["python", f"experiments/table_{table.name}.py"]
    if seeds > 1:
        parts += ["--seeds", str(seeds)]
    for field in dataclasses.fields(setting):
        value = getattr(setting, field.name)
        if value != field.default:
            option = f"--{field.name.replace('_', '-')}"
            parts += [option] if value is True else [option, str(value)]
    return shlex.join(parts)


def _seeds(table: Table, runs: Path) -> set[int]:
    """The seeds of which at least one row has a result."""
    return {
        int(path.parent.name.removeprefix("seed"))
        for row in table.rows
        for path in (runs / spec_hash(row.spec)).glob("seed*/result.json")
    }
