"""What README and docs show runs: cheap commands for real, others up to what they would do."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from docs.blocks import blocks, prose
from docs.blocks import commands as commands_of
from repflow_pl import cli
from repflow_pl.__main__ import COMMANDS as PARTS
from repflow_pl.__main__ import PROGRAMS as OWN_PARSERS
from repflow_pl.data.index import set_names
from repflow_pl.errors import UserError
from repflow_pl.options import parse, read
from repflow_pl.showing.weights import save_weights
from repflow_pl.tables import NOT_TIMED, split_tables
from repflow_pl.training.planning.ranks import check_machine
from tests.data.layouts import hmdb51_files, ucf101_files
from tests.data.sets.test_ut_interaction import make_archive
from tests.installed import extras_of
from tests.programs import CHECKOUT, EXPERIMENTS, run
from tests.released.test_released import DESCRIBED, hollow, saved
from tests.showing.test_weights import small

sys.path.insert(0, str(EXPERIMENTS))

import bench_data
import bench_flow
import bench_training
import table_runtime
from all_tables import builder

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PAGES = [
    path.read_text(encoding="utf-8")
    for path in (*CHECKOUT.glob("*.md"), *sorted((CHECKOUT / "docs").glob("*.md")))
    if path.stem != "extend"  # is carried out, in a copy, by test_extend.py
]
PROGRAMS = ("python", "make", "pip", "repflow", "torchrun", "wandb")


def commands() -> Iterator[str]:
    """Every command of the pages, in a block or within a sentence."""
    for page in PAGES:
        yield from commands_of(page)
        for span in re.findall(r"`([^`]+)`", prose(page)):
            if span.startswith(tuple(f"{program} " for program in PROGRAMS)):
                yield span


COMMANDS = list(dict.fromkeys(shlex.join(shlex.split(c, comments=True)) for c in commands()))
"""Each once."""


# --- what stands for the reader's folders and files


@pytest.fixture(scope="module")
def desk(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small data sets, archives, weights and pages under the names that pages use."""
    desk = tmp_path_factory.mktemp("desk")
    clip = next(video_folder.rglob("*.mp4"))
    for name in hmdb51_files(desk / "hmdb51", clip)[0][6:]:
        (desk / "hmdb51" / name).unlink()
    (desk / "DOWNLOADS").mkdir()
    shutil.make_archive(str(desk / "DOWNLOADS" / "hmdb51_org"), "zip", desk / "hmdb51")
    ucf101_files(desk / "ucf101", ("YoYo", "Archery"), (1, 8, 15))
    for name in ("train/archery", "train/yoga", "val/archery", "val/yoga"):
        place = desk / "kinetics400" / name / "a.mp4"
        place.parent.mkdir(parents=True)
        shutil.copy(clip, place)
    (desk / "folder").symlink_to(video_folder)
    make_archive(desk).rename(desk / "ut_interaction.tar.gz")
    for name, network in (("rep_flow.pt", "kinetics_resnet50"), ("hmdb.pt", "fcf_resnet18")):
        saved(hollow(DESCRIBED[network]["state"]), desk / name)
    save_weights(desk / "WEIGHTS.safetensors", small())
    shutil.copy(clip, desk / "VIDEO.mp4")
    ignored = shutil.ignore_patterns("runs", "yours")
    shutil.copytree(CHECKOUT / "tables", desk / "tables", ignore=ignored)
    (desk / "README.md").write_text(README, encoding="utf-8")
    with_curves = next((CHECKOUT / "tables" / "runs").glob("*/seed0/curve.csv")).parents[1]
    shutil.copytree(with_curves, desk / "runs" / with_curves.name)
    (desk / "finished").mkdir()
    (desk / "finished" / "runs").symlink_to(CHECKOUT / "tables" / "runs")
    return desk


def at(desk: Path, words: list[str]) -> list[str]:
    """A command whose placeholders are the desk's; a ROOT is that of the data set it names."""
    words = ["folder" if word == "NAME" else word for word in words]
    named = [word for word in words if word in set_names()]
    places = {"VIDEO": "VIDEO.mp4", "WEIGHTS": "WEIGHTS.safetensors"}
    if named:
        places |= dict.fromkeys(("ROOT", "VIDEOS", "/path/to/videos"), named[0])
    return [str(desk / places[word]) if word in places else word for word in words]


@pytest.fixture
def place(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The desk as the current folder, with an empty OUT and an empty cache."""
    shutil.rmtree(desk / "OUT", ignore_errors=True)
    monkeypatch.chdir(desk)
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    # A process takes longer to start than these few small files take to read.
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    monkeypatch.setattr("repflow_pl.data.decoding.isolated.default_workers", lambda: 0)
    monkeypatch.setattr("repflow_pl.data.upkeep.metadata.TREES", 20)
    monkeypatch.setattr(
        "repflow_pl.report.pull.open_api", lambda: SimpleNamespace(runs=lambda project: iter(()))
    )
    return desk


# --- how each command is run


def for_real(words: list[str]) -> None:
    """As it stands there."""
    named, *rest = words
    program, *arguments = ("repflow_pl", *rest) if named == "repflow" else rest[rest[0] == "-m" :]
    assert run(program, arguments) == 0


def a_part(words: list[str]) -> None:
    """A part of the command, that is only named."""
    assert words[1] in PARTS.keys() | OWN_PARSERS.keys()


def understood(words: list[str]) -> None:
    """A part of the command that takes long: up to the options."""
    assert read(PARTS[words[1]].parser(), words[2:])


def incomplete(words: list[str]) -> None:
    """As it stands there: clips of the set are missing here."""
    assert run(words[2], words[3:]) == 1


def listed(words: list[str]) -> None:
    """A table's script: its rows are shown, with all options read, instead of made."""
    assert run(words[1], [*words[2:], "--list", "--out", "OUT"]) == 0


def listed_by_name(words: list[str]) -> None:
    """The same, found by the package."""
    program, *arguments = words[2:] if words[1] == "-m" else ("repflow_pl", *words[1:])
    assert run(program, [*arguments, "--list", "--out", "OUT"]) == 0


def listed_from_results(words: list[str]) -> None:
    assert run(words[1], [*words[2:], "--list", "--out", "finished"]) == 0


def timed(words: list[str]) -> None:
    """Run times: up to the options."""
    parse(table_runtime.Options, words[2:], skip=NOT_TIMED)


def benched(words: list[str]) -> None:
    """A benchmark of the layer: up to the options."""
    module = {"bench_flow": bench_flow, "bench_training": bench_training}[Path(words[1]).stem]
    parse(module.Options, words[2:])  # type: ignore[attr-defined]


def loaded(words: list[str]) -> None:
    """The data benchmark: up to its plan, on a data set that is there."""
    options = parse(bench_data.Options, words[2:])
    assert bench_data.plan_of(options).clips > 0
    assert options.data_root is not None and options.data_root.is_dir()


def made(words: list[str]) -> None:
    """make: what it would do."""
    subprocess.run([words[0], "-n", *words[1:]], cwd=CHECKOUT, check=True, capture_output=True)


def installed(words: list[str]) -> None:
    """pip: the checkout is what is installed, and it has these extras."""
    (extras,) = re.findall(r"^\.(?:\[(.*)\])?$", words[-1])
    assert (
        words[1:3] == ["install", "-e"]
        and set(filter(None, extras.split(","))) <= extras_of().keys()
    )


def distributed(words: list[str]) -> None:
    """torchrun: up to the check, made before training, that its processes can share a batch."""
    from torch.distributed.run import parse_args

    asked = parse_args(words[1:])
    options = cli.parse(asked.training_script_args)
    build = builder(Path(asked.training_script).stem.removeprefix("table_"))
    jobs = cli.jobs_for(split_tables([build], options.setting, fingerprint=""), options)
    batches = {job.spec.recipe.batch for job in jobs}

    def check(processes: int) -> None:
        world = {"WORLD_SIZE": int(asked.nnodes) * processes, "LOCAL_WORLD_SIZE": processes}
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("TORCHELASTIC_RUN_ID", asked.rdzv_id)
            patched.setenv("GROUP_WORLD_SIZE", asked.nnodes)
            for name, value in world.items():
                patched.setenv(name, str(value))
            check_machine(batches, options.device_count, options.gpus_per_run, elsewhere=False)

    check(int(asked.nproc_per_node))
    with pytest.raises(UserError, match="cannot be shared out evenly"):
        check(8)


def helped(words: list[str]) -> None:
    """wandb: it has that subcommand."""
    from wandb.cli.cli import cli as program

    done = CliRunner().invoke(program, [words[1], "--help"])
    assert done.exit_code == 0 and f"Usage: cli {words[1]} " in done.output, done.output


@dataclass(frozen=True)
class Rule:
    """Commands of this pattern are run so."""

    pattern: str
    run: Callable[[list[str]], None]


RULES = (
    Rule(r"make .*", made),
    Rule(r"pip install .*", installed),
    Rule(r"torchrun .*", distributed),
    Rule(r"wandb .*", helped),
    Rule(r"python experiments/table_(?!runtime)\w+\.py.*", listed),
    Rule(r"python -m repflow_pl\.scripts .*", listed_by_name),
    Rule(r"python experiments/all_tables\.py(?! --from-results).*", listed),
    Rule(r"python experiments/all_tables\.py --from-results.*", listed_from_results),
    Rule(r"python experiments/table_runtime\.py.*", timed),
    Rule(r"python experiments/bench_(flow|training)\.py.*", benched),
    Rule(r"python experiments/bench_data\.py.*", loaded),
    Rule(r"python -m repflow_pl\.data verify .*", incomplete),
    Rule(r"python -m repflow_pl\.data (import|prepare) .*", for_real),
    Rule(r"python -m repflow_pl\.report.*", for_real),
    Rule(r"repflow \w+", a_part),
    Rule(r"repflow table .*", listed_by_name),
    Rule(r"repflow export .* --to (onnx|torch)", understood),
    Rule(r"repflow (?!table |export .* --to )\w+ .*", for_real),
    Rule(r"python -m repflow_pl\.released .*", for_real),
)


def rules_of(command: str) -> list[Rule]:
    return [rule for rule in RULES if re.fullmatch(rule.pattern, command)]


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, place: Path) -> None:
    rules = rules_of(command)
    assert len(rules) == 1, "a command of a page needs one rule here"
    (rule,) = rules
    if rule.run is made and shutil.which("make") is None:
        pytest.skip("needs make")
    rule.run(at(place, shlex.split(command)))


def test_every_rule_is_used() -> None:
    assert {rule for command in COMMANDS for rule in rules_of(command)} == set(RULES)


def test_the_layers_example_runs() -> None:
    (example,) = [block.text for block in blocks(README) if block.language == "python"]
    found: dict[str, object] = {}
    exec(example, found)
    assert found["motion"].shape == (2, 128, 15, 28, 28)  # type: ignore[attr-defined]
    assert found["flow_x"].shape == (2, 32, 15, 28, 28)  # type: ignore[attr-defined]
