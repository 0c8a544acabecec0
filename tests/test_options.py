"""Every option of every command: what --help says of it, and what it is without being given."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repflow_pl import cli
from repflow_pl.__main__ import PROGRAMS
from repflow_pl.__main__ import main as repflow
from repflow_pl.data.__main__ import main as data
from repflow_pl.errors import UserError
from repflow_pl.options import arguments_of, parse
from repflow_pl.released.__main__ import main as released
from repflow_pl.report.__main__ import main as report
from tests.programs import CHECKOUT, EXPERIMENTS, run

sys.path.insert(0, str(EXPERIMENTS))

import bench_data
import bench_flow
import bench_training
import publish
import table_runtime

NAME = "repflow_pl"
START = 'if __name__ == "__main__":'
SCRIPTS = [
    f"experiments/{path.name}" for path in sorted(EXPERIMENTS.glob("*.py"))
    if START in path.read_text(encoding="utf-8")
]  # fmt: skip
COMMANDS = [
    ("repflow_pl", "predict"),
    ("repflow_pl", "look"),
    ("repflow_pl", "export"),
    ("repflow_pl", "curves"),
    ("repflow_pl", "audit"),
    ("repflow_pl", "completion"),
    ("repflow_pl.data", "import"),
    ("repflow_pl.data", "verify"),
    ("repflow_pl.data", "prepare"),
    ("repflow_pl.report",),
    ("repflow_pl.report", "html"),
    ("repflow_pl.report", "wandb"),
    ("repflow_pl.released",),
]


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert run(command[0], [*command[1:], "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [*((script,) for script in SCRIPTS), *COMMANDS], ids=lambda it: " ".join(it)
)
def test_every_option_says_its_default_once(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = help_of(capsys, *command)
    options = re.findall(r"^  (--(?!help\.).*(?:\n {6,}.*)*)", shown, re.MULTILINE)
    assert options or command[1:2] == ("wandb",)
    for option in (" ".join(text.split()) for text in options):
        assert len(re.findall("default", option, re.IGNORECASE)) == 1, option
        assert "null" not in option and "None" not in option, option


def test_every_command_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    (names,) = re.findall(r"^usage: .*?\{(.*)\}", help_of(capsys, "repflow_pl.data"))
    assert {command[1] for command in COMMANDS if "data" in command[0]} == set(names.split(","))
    (names,) = re.findall(
        r"^ +\{(.*)\} \.\.\.$", help_of(capsys, "repflow_pl.report"), re.MULTILINE
    )
    found = {command[1] for command in COMMANDS if command[0].endswith("report") and command[1:]}
    assert found == set(names.split(","))
    # Python 3.13 breaks the line before the brace
    (parts,) = re.findall(r"^usage: [^{]*\{(.*)\}", help_of(capsys, "repflow_pl"))
    own = {command[1] for command in COMMANDS if command[0] == NAME}
    assert own == set(parts.split(",")) - PROGRAMS.keys()
    readers = {
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__main__")
        for path in (CHECKOUT / "repflow_pl").rglob("*.py")
        if START in (text := path.read_text(encoding="utf-8")) and "repflow_pl.options" in text
    }
    assert readers - {"repflow_pl.scripts"} == {command[0] for command in COMMANDS}


@pytest.mark.parametrize(
    ("part", "program"),
    [
        (("table", "placement"), ("experiments/table_placement.py",)),
        (("data", "verify"), ("repflow_pl.data", "verify")),
        (("report", "html"), ("repflow_pl.report", "html")),
    ],
)
def test_a_part_with_its_own_parser_is_the_program(
    part: tuple[str, ...], program: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert part[0] in PROGRAMS
    assert _options(help_of(capsys, NAME, *part)) == _options(help_of(capsys, *program))


def _options(shown: str) -> str:
    """What --help says below the usage, in which the program's name is."""
    return shown.partition("\n\n")[2]


def test_options_are_printed_as_the_file_that_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = ["--launcher", "slurm", "--slurm.mem", "8GB"]
    asked = ["--data", "ucf101", "--rows", "1,2", "--recipe.epochs", "3", *jobs]
    with pytest.raises(SystemExit):
        cli.parse([*asked, "--seeds", "2", "--print-config"])
    file = tmp_path / "options.yaml"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    assert cli.parse(["--config", str(file), "--seeds", "4"]) == cli.parse([*asked, "--seeds", "4"])
    file.write_text("recipe:\n  epochs: 3\n", encoding="utf-8")
    assert cli.parse(["--config", str(file)]) == cli.parse(["--recipe.epochs", "3"])
    for written, typed in {"RGB CNN": "RGB CNN", "3": "3", "[3, RGB CNN]": "3,RGB CNN"}.items():
        file.write_text(f"rows: {written}\n", encoding="utf-8")
        assert cli.parse(["--config", str(file)]) == cli.parse(["--rows", typed])


@pytest.mark.parametrize(
    ("program", "given", "option"),
    [
        (data, ["verify", "hmdb51", "videos"], "workers: 3"),
        (data, ["prepare", "hmdb51", "videos", "out"], "short_side: 64"),
        (data, ["import", "ut_interaction", "archive.zip"], "data_root: elsewhere"),
        (report, [], "readme: other.md"),
        (report, ["wandb", "entity/project"], "runs: elsewhere"),
        (report, ["html"], "out: elsewhere"),
        (released, ["source.pt", "target.pt"], "iterations: 20"),
    ],
    ids=lambda it: it.__module__.split(".")[1] if callable(it) else None,
)
def test_every_program_reads_the_file_that_it_prints(
    program: Callable[[list[str]], int],
    given: list[str],
    option: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(option, encoding="utf-8")
    with pytest.raises(SystemExit, match="0"):
        program([*given, "--config", str(file), "--print-config"])
    assert option in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seeds", "x"], "--seeds x: it takes a whole number; see --help."),
        (["--recipe.lr", "x"], "--recipe.lr x: it takes a number; see --help."),
        (["--recipe.schedule", "x"], "it takes plateau or step or one_cycle; see --help."),
        (["--clip.crop", "64"], "--clip.crop 64: it takes [INT,INT]; see --help."),
        (["--seeds"], "argument --seeds: expected one argument; see --help."),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_what_is_taken(
    arguments: list[str], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        parse(cli.Options, arguments)
    assert str(caught.value).endswith(sentence)


def test_a_value_of_the_wrong_type_in_a_file_is_refused_alike(tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text("data_root: [3]\n")
    with pytest.raises(UserError, match=r"--data-root \[3\]: it takes a file or folder"):
        parse(cli.Options, ["--config", str(tmp_path / "options.yaml")])


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (b"", "it holds none"),
        (b"\xff\xfe\x00", "can't decode byte"),
        (b"recipe: [epochs: 2", "Problems parsing config"),
        (b"split: 1", "--split 1: it takes '1' in quotes"),
        (b"recipe: 20", "recipe has options of its own and takes no 20"),
        (b"low_res: 'no'", "--low-res no: it takes true or false"),
        (b"sedes: 3", "Option 'sedes' is not accepted"),
        (b"recipe:\n  epohcs: 3", "'recipe.epohcs' is not accepted"),
    ],
)
def test_a_mistake_in_a_file_of_options_is_one_sentence(
    written: bytes, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "options.yaml"
    file.write_bytes(written)
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        cli.parse(["--config", str(file)])
    assert "\n" not in str(caught.value) and str(caught.value).endswith("; see --help.")
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("program", "given", "written"),
    [
        (data, ["verify", "hmdb51", "videos"], "sedes: 3"),
        (released, ["source.pt", "target.pt"], "sedes: 3"),
        (report, ["html"], "sedes: 3"),
        (report, [], "html: {sedes: 3}"),
        (repflow, ["audit", "videos"], "sedes: 3"),
    ],
)
def test_a_file_with_what_is_no_option_is_named(
    program: Callable[[list[str]], int],
    given: list[str],
    written: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(written, encoding="utf-8")
    assert program([*given, "--config", str(file)]) == 2
    said = capsys.readouterr().err
    assert str(file) in said and "sedes" in said


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["predict", "v.mp4"], "no weights are named"),  # but videos are
        (["audit", "nowhere"], "there is no folder"),
    ],
)
def test_the_file_that_is_printed_holds_the_place_too(
    given: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    with pytest.raises(SystemExit, match="0"):
        repflow([*given, "--print-config"])
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    assert repflow([given[0], "--config", str(file)]) == 2
    assert sentence in capsys.readouterr().err


def test_what_a_file_leaves_empty_is_as_by_default(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("seeds:\nlow_res:\nrecipe:\n  # epochs: 2\ndata: ucf101\n", encoding="utf-8")
    assert cli.parse(["--config", str(file)]) == cli.parse(["--data", "ucf101"])


def test_the_users_folder_is_meant_where_no_shell_looks(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("data_root: ~/videos\n", encoding="utf-8")
    options = cli.parse(["--config", str(file), "--out=~"])
    assert (options.data_root, options.out) == (Path.home() / "videos", Path.home())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["prepare", "folder", "a", "b", "--short_side", "9"], "did you mean --short-side?"),
        (["verify", "folder", "a", "--wrokers=3"], "unknown option --wrokers: did you mean"),
        (["verify", "folder"], "see --help."),
        (["prepare", "folder", "a", "b", "--decoder", "decord"], "--decoder"),  # it has its own
        (["verfy", "folder", "a"], "unknown command 'verfy': did you mean verify?"),
        ([], "name what to do: one of import, verify, prepare; see --help."),
    ],
)
def test_a_mistake_in_looking_after_a_set_is_one_sentence(
    given: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data(given) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ") and sentence in said


BENCHES = (bench_data.Options, bench_flow.Options, bench_training.Options)


@pytest.mark.parametrize("options", BENCHES, ids=lambda it: it.__module__)
def test_a_benchmark_without_options_has_its_defaults(options: type[Any]) -> None:
    assert parse(options, []) == options()
    assert arguments_of(options()) == []


def test_other_commands_without_options_have_their_defaults() -> None:
    assert cli.parse([]) == cli.Options()
    assert publish.parse([]) == publish.Options()
    assert parse(table_runtime.Options, []) == table_runtime.Options()


def test_options_come_back_from_their_command_line() -> None:
    options = bench_flow.Options("cpu", threads=3, minutes=0.5, quick=True)
    line = "--device cpu --threads 3 --minutes 0.5 --quick"
    assert arguments_of(options) == line.split()
    assert parse(bench_flow.Options, arguments_of(options)) == options


def test_values_are_shown_also_where_none_is_a_default(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(capsys, "experiments/table_placement.py")
    assert "--decoder {decord,pyav}" in shown or "--decoder {pyav,decord}" in shown
    assert "--wandb {offline,online,disabled}" in shown
    assert "--slurm.minutes MINUTES" in shown and "--slurm CONFIG" not in shown
