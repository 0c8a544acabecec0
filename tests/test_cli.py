"""The table's script as a user runs it: real processes, real videos, real mistakes."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import runpy
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from repflow_pl.changes import ClipChanges, ModelChanges, RecipeChanges
from repflow_pl.cli import Options, main, parse
from repflow_pl.data.index import list_set
from repflow_pl.data.listing import manifest
from repflow_pl.errors import UserError
from repflow_pl.profiles import Profile, demo_profile
from repflow_pl.report.page import YOURS
from repflow_pl.report.table import Row, Table
from repflow_pl.specs import ClipSpec, DataSpec, FlowSpec, ModelSpec, RecipeSpec
from repflow_pl.tables import Setting, TableBuilder, averages
from repflow_pl.training.recording.result import EXTRAS, FILES
from tests.conftest import write_clip
from tests.programs import run
from tests.sweeps import results

CHECKOUT = Path(__file__).parents[1]
SCRIPT = CHECKOUT / "experiments" / "table_placement.py"
placement: TableBuilder = runpy.run_path(str(SCRIPT))["placement"]
RGB = "RGB CNN"
PAGES = {
    *(f"placement.{kind}" for kind in ("md", "csv", "png")),
    *(f"placement_{beside}.{kind}" for beside in ("classes", "curves") for kind in ("md", "png")),
    "placement_claims.csv",
}


SHORT = ("--rows", RGB, "--recipe.epochs", "4")


class Script:
    """`python experiments/table_placement.py`, with a cache and a data folder of the tests."""

    def __init__(self, videos: Path, cache: Path, out: Path) -> None:
        self.out = out
        self.arguments = ["--data", "folder", "--data-root", str(videos)]
        self.arguments += ["--out", str(out), "--wandb", "disabled"]
        self.command = [sys.executable, str(SCRIPT), *self.arguments]
        self.environment = {**os.environ, "REPFLOW_CACHE": str(cache), "COLUMNS": "200"}

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *options],
            env=self.environment,
            cwd=CHECKOUT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell's background jobs ignore Ctrl-C, and so would what they start.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *options: str) -> tuple[int, str, str]:
        process = self.start(*options)
        output, errors = process.communicate(timeout=250)
        return process.returncode, output, errors

    def stop_at(self, text: str, how: signal.Signals, *options: str) -> tuple[int, str, str]:
        """Send a signal when a line with the text is printed; that line is the last returned."""
        process = self.start(*options)
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if text in line:
                break
        else:
            pytest.fail(f"{text!r} was never printed: {process.communicate()[1]}")
        for _ in range(3):  # Python drops a Ctrl-C that meets a finaliser; people press again
            process.send_signal(how)
            try:
                errors = process.communicate(timeout=40)[1]
                return process.returncode, output, errors
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        pytest.fail(f"{how.name} did not end the script")

    def results(self) -> list[dict[str, Any]]:
        """All result.json, less what a clock or a machine decides."""
        return list(results(self.out).values())


@pytest.fixture
def script(
    video_folder: Path, shared_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Script:
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    return Script(video_folder, shared_cache, tmp_path)


@dataclass(frozen=True)
class OneRow:
    """What the script said and left of the plain network's row, trained once for all tests."""

    script: Script
    interrupted: tuple[int, str, str]
    """Status, output and errors: the first seed is trained, and Ctrl-C pressed amid another."""
    again: tuple[int, set[str], str]
    """`render_alone` of the same row, with nothing left to train."""
    touched: bool
    """Whether that changed a run's files."""

    def copy(self, script: Script) -> None:
        """As if the other script had trained the first seed alone."""
        others = shutil.ignore_patterns("seed1")
        shutil.copytree(self.script.out, script.out, ignore=others, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def one_row(
    video_folder: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> OneRow:
    script = Script(video_folder, shared_cache, tmp_path_factory.mktemp("one_row"))
    interrupted = script.stop_at("seed 1 · epoch 2/4", signal.SIGINT, *SHORT, "--seeds", "2")

    def times() -> dict[Path, int]:
        runs = script.out.glob("runs/*/seed*/*")
        return {path: path.stat().st_mtime_ns for path in runs}

    before = times()
    again = render_alone("table_placement.py", *script.arguments, *SHORT, cache=shared_cache)
    assert again[0] == 0, again[2]
    return OneRow(script, interrupted, again, touched=times() != before)


def one_error(errors: str) -> str:
    """The one line of an error: all of stderr, but for the bar of a set's first opening."""
    lines = [line for line in errors.splitlines() if line.strip() and "Checking" not in line]
    assert len(lines) == 1, errors
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.long
def test_runs_a_row_and_reuses_it(
    script: Script, one_row: OneRow, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = r"\[1/2\] RGB CNN · seed 0 · epoch 4/4 · loss \d\.\d+ · train .*%"
    assert re.search(trained, one_row.interrupted[1])
    assert one_row.again == (0, set(), ""), "no trainer for a finished run"
    assert not one_row.touched
    one_row.copy(script)
    (result,) = script.results()
    assert (result["videos_train"], result["videos_val"], result["videos_test"]) == (16, 4, 6)
    assert result["videos_broken"] == 0
    assert round(result["top1"] * 6) == pytest.approx(result["top1"] * 6)
    (folder,) = script.out.glob("tables/yours/folder-*")
    assert {p.name for p in folder.iterdir()} == PAGES
    assert "missing" in (folder / "placement.md").read_text(), "the other rows have no results"

    assert main(placement, arguments=[*script.arguments, *SHORT[2:], "--list"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"RGB CNN +runs/\w{12} +done", output)
    assert re.search(r"After block 3 +runs/\w{12} +0 of 1 seeds done", output)


@pytest.mark.long
def test_a_killed_run_ends_with_the_numbers_of_an_undisturbed_one(
    script: Script, one_row: OneRow, capsys: pytest.CaptureFixture[str]
) -> None:
    status, *_ = script.stop_at("epoch 2/4", signal.SIGKILL, *SHORT)
    assert status == -signal.SIGKILL and not script.results()
    assert main(placement, arguments=[*script.arguments, *SHORT]) == 0
    output = capsys.readouterr().out
    assert "epoch 1/4" not in output and "epoch 4/4" in output, "it did not resume"
    assert list(script.out.glob("tables/yours/folder-*/placement.md"))
    assert script.results() == one_row.script.results()


@pytest.mark.long
def test_ctrl_c_says_how_to_go_on(one_row: OneRow) -> None:
    status, _, errors = one_row.interrupted
    assert status == 130
    assert errors.splitlines()[-1] == (
        "interrupted: run the same command again and it goes on where it stopped."
    )
    assert "Traceback" not in errors
    (folder,) = one_row.script.out.glob("runs/*/seed1")
    assert (folder / "last.ckpt").is_file() and not (folder / "result.json").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rows", "After blok 3"], "unknown row 'After blok 3': did you mean After block 3"),
        (["--data", "motion_shape"], "unknown data set 'motion_shape': did you mean motion_shapes"),
        (["--backbone", "resnet-18"], "unknown backbone 'resnet-18': did you mean resnet18"),
        (["--pretrained"], "torchvision has no weights for backbone 'narrow': leave out"),
        (["--data-root", "nowhere"], "nowhere"),
        (["--seeds", "some"], "some"),
        (["--seeds", "0"], "--seeds, --devices and --gpus-per-run are counts of 1 or more"),
        (["--devices", "1", "--gpus-per-run", "2"], "--gpus-per-run 2 are more than --devices 1"),
        (["--devices", "5", "--gpus-per-run", "2"], "name 4 or 6 devices"),
        (["--slurm.partition", "gpu"], "name --launcher slurm too"),
        (["--recipe.momentum", "0.5"], "--recipe.momentum changes none of these rows"),
        (["--gpus-per-run", "5"], "a batch of 16 cannot be shared out evenly among 5 processes"),
        (["--profile", "papier"], "papier"),
        (["--sedes", "1"], "unknown option --sedes: did you mean --seeds?"),
        (["--data_root=x"], "unknown option --data_root: did you mean --data-root?"),
        (["--rows", "block"], "'block' is in the names of 6 rows, After block 1, "),
        (["--out", "README.md/inside"], "cannot write"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(
    script: Script, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(placement, arguments=[*script.arguments, "--rows", RGB, *options]) == 2
    assert sentence in one_error(capsys.readouterr().err)


@pytest.mark.long
def test_broken_videos_are_named_and_counted(
    script: Script, video_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "videos"
    for path in video_folder.rglob("*.mp4"):
        copy = root / path.relative_to(video_folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (root / "train" / "left" / "empty.mp4").touch()
    half = (root / "train" / "right" / "0.mp4").read_bytes()
    (root / "train" / "right" / "torn.mp4").write_bytes(half[: len(half) // 2])
    asked = ["--rows", RGB, "--data-root", str(root), "--recipe.epochs", "1"]
    assert main(placement, arguments=[*script.arguments, *asked]) == 0
    said = "".join(capsys.readouterr())
    assert "empty.mp4" in said and "torn.mp4" in said
    (result,) = script.results()
    assert (result["videos_train"], result["videos_broken"]) == (16, 2)


@pytest.mark.long
def test_a_failed_run_fails_alone(
    script: Script, one_row: OneRow, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checkpoints that are none stop their own run; the table says so."""
    one_row.copy(script)
    (folder,) = script.out.glob("runs/*/seed0")
    (folder / "result.json").unlink()
    for name in ("last.ckpt", "previous.ckpt"):
        (folder / name).write_bytes(b"no checkpoint")
    assert main(placement, arguments=[*script.arguments, *SHORT]) == 1
    output, errors = capsys.readouterr()
    assert "FAILED RGB CNN, seed 0" in output and "error.txt" in output
    (page,) = script.out.glob("tables/yours/folder-*/placement.md")
    assert "FAILED" in page.read_text()
    assert "Traceback" not in output + errors


@pytest.mark.slow
def test_two_processes_train_one_run(script: Script) -> None:
    status, output, errors = script.run(
        "--rows", "After block 3", "--devices", "2", "--gpus-per-run", "2"
    )
    assert status == 0, errors
    assert output.count("epoch 10/10") == 1
    (result,) = script.results()
    assert result["videos_test"] == 6 and result["ranks"] == 2
    assert round(result["top1"] * 6) == pytest.approx(result["top1"] * 6)


def test_splits_and_low_resolution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("YoYo", "Archery"):
        for group in (1, 8, 15):
            write_clip(tmp_path / "set" / f"v_{label}_g{group:02d}_c01.avi", group, (1, 0))
    monkeypatch.setenv("REPFLOW_CACHE", str(tmp_path / "cache"))
    specs = []

    def build(profile: Profile, data: DataSpec) -> Table:
        if data.fingerprint:  # of videos that were opened, not what options are tried on
            specs.append(data)
        return Table("t", "T", (Row(RGB, profile.rgb(data)),))

    arguments = ["--data", "ucf101", "--data-root", str(tmp_path / "set"), "--list"]
    arguments += ["--out", str(tmp_path), "--low-res"]
    with monkeypatch.context() as patched:
        patched.setattr(manifest, "isolated_map", lambda *_: pytest.fail("--list decodes"))
        assert main(build, arguments=[*arguments, "--split", "all"]) == 0
        assert main(build, arguments=["--data", "ucf101", "--list", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("  1 RGB CNN\n") == 2, "the rows are known before the videos are here"
    assert "  1 RGB CNN\nWhich runs are done is not known before the videos are checked" in shown
    list_set("ucf101", tmp_path / "set", workers=0)
    specs.clear()
    assert main(build, arguments=[*arguments, "--split", "all"]) == 0
    assert [data.split for data in specs] == [1, 2, 3]
    assert len({data.fingerprint for data in specs}) == 3
    assert all(data.clip.size == "half" and data.clip.crop == (112, 112) for data in specs)
    assert "0 of 1 seeds done" in capsys.readouterr().out
    assert main(build, arguments=[*arguments, "--split", "3"]) == 0
    assert specs[-1].split == 3
    (name,) = re.findall(r"runs/(\w{12})", capsys.readouterr().out)
    damaged = tmp_path / "runs" / name / "seed0" / "result.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{}")
    assert main(build, arguments=[*arguments, "--split", "3"]) == 0
    assert f"runs/{name}  0 of 1 seeds done" in capsys.readouterr().out
    tables = [Table("t", "T", (Row(RGB, demo_profile("ucf101").rgb(data)),)) for data in specs[:3]]
    ((row,),) = (table.rows for table in averages([[table] for table in tables]))
    assert [spec.data.split for spec in (row.spec, *row.other_splits)] == [1, 2, 3]


def test_options_are_typed() -> None:
    options = parse(["--seeds", "3", "--rows", "a,b", "--data-root", "x", "--pretrained"])
    assert options == Options(Setting(pretrained=True), "a,b", 3, data_root=Path("x"))
    assert parse(["--rows", "a", "--rows", "b,2"]).rows == "a,b,2"
    for named, runs in (([], "runs"), (["OUT/runs"], "OUT/runs")):
        assert parse(["--from-results", *named]).from_results == Path(runs)
    with pytest.raises(UserError, match="see --help"):
        parse(["--seeds", "three"])


CHANGED = Setting(
    "hmdb51", "paper", "resnet50", True, "2", True, "bf16", True,
    RecipeChanges(7, 5, 0.5, "sgd", 0.25, 0.75, 0.125, "step"),
    ClipChanges(5, 3, 0.5, (50, 60), (70, 80), (40, 48), False, 3, 3, "refuse", (1.0, 1.5)),
    ModelChanges(0.5, 3, 4, 7, ("theta", "tau"), "sobel"),
)  # fmt: skip
FIELDS = [
    (part, field.name)
    for part, kind in (
        ("", Setting), ("recipe", RecipeChanges), ("clip", ClipChanges), ("model", ModelChanges),
    )
    for field in dataclasses.fields(kind)
    if (part, field.name) not in {("", name) for name in ("recipe", "clip", "model")}
]  # fmt: skip


@pytest.mark.parametrize(("part", "name"), FIELDS, ids=lambda value: value)
def test_every_field_of_a_setting_is_an_option_and_names_a_folder(part: str, name: str) -> None:
    base = Setting("ucf101", split="all")  # all: so that one split has another folder

    def changed(setting: Setting) -> Setting:
        """With the one field as CHANGED has it."""
        if not part:
            return dataclasses.replace(setting, **{name: getattr(CHANGED, name)})
        value = getattr(getattr(CHANGED, part), name)
        inner = dataclasses.replace(getattr(setting, part), **{name: value})
        return dataclasses.replace(setting, **{part: inner})

    other = changed(base)
    assert other != base and other.folder("0123") != base.folder("0123")
    assert parse(other.arguments()).setting == other
    option = ".".join(filter(None, (part, name.replace("_", "-"))))
    assert changed(Setting()).arguments()[0] == f"--{option}"
    if part:
        before, after = base.profile_of(), other.profile_of()
        assert before != after and other.plain() == other


def test_a_rate_is_shown_to_its_last_digit() -> None:
    """As a search draws them: the command on a table's page asks for the table's own runs."""
    drawn, other = (Setting(recipe=RecipeChanges(lr=rate)) for rate in (10**-1.5, 0.03162278))
    assert parse(drawn.arguments()).setting == drawn and drawn.folder("") != other.folder("")
    assert Setting(recipe=RecipeChanges(lr=1.0)).changes_in_words == "lr 1"


def test_every_field_of_a_spec_can_be_asked_for() -> None:
    """Precision, compiling, backbone and weights have options of their own; shuffled clips are
    controls' alone; what a network sees and where its flow is, are the rows' subjects."""

    def names(kind: type) -> set[str]:
        return {field.name for field in dataclasses.fields(kind)}

    assert names(RecipeChanges) == names(RecipeSpec) - {"precision", "compile"}
    assert names(ClipChanges) == names(ClipSpec) - {"order", "fields"}
    subjects = {"stream", "flow", "motion", "after_block", "fuse", "layers", "convolve", "residual"}
    networks = names(ModelSpec) | names(FlowSpec)
    assert names(ModelChanges) == networks - subjects - {"backbone", "pretrained"}
    assert names(ModelChanges) < names(Profile)


def test_the_order_in_which_learned_parameters_are_typed_names_no_other_run() -> None:
    typed, other = (parse(["--model.learn", each]) for each in ("[tau,theta,tau]", "[theta,tau]"))
    assert typed == other and typed.setting.changes_in_words == "learn theta + tau"
    fixed = parse(["--model.learn", "[]"]).setting
    assert fixed.changes_in_words == "learn nothing"
    flow = fixed.profile_of().flow_after(DataSpec("motion_shapes"), 3).model.flow
    assert flow == FlowSpec(3, 10, 8, learn=())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recipe.epochs", "0"], "--recipe.epochs is a count of 1 or more"),
        (["--recipe.batch", "-1"], "--recipe.batch is a count of 1 or more"),
        (["--recipe.lr", "-1"], "--recipe.lr is a number of 0 or more"),
        (["--clip.frames", "0"], "--clip.frames is a count of 1 or more"),
        (["--clip.crop", "[0,64]"], "--clip.crop is in pixels, 1 or more"),
        (["--clip.crop", "64"], "see --help"),
        (["--clip.jitter", "[2,1]"], "--clip: jitter is a range of factors above 0"),
        (["--model.dropout", "1"], "--model.dropout is a share"),
        (["--model.n-iter", "0"], "--model.n-iter is a count of 1 or more"),
        (["--model.learn", "[tau,x]"], "it takes [image_grad|divergence|theta|lam|tau,...]; see"),
        (["--recipe.epoch", "3"], "unknown option --recipe.epoch: did you mean --recipe.epochs?"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        parse(arguments).setting.profile_of()


def plain_and_tvl1(profile: Profile, data: DataSpec) -> Table:
    return Table("t", "T", (Row(RGB, profile.rgb(data)), Row("TV-L1", profile.tvl1(data))))


@pytest.mark.long
def test_few_videos_are_trained_by_a_recipe_of_ones_own(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("REPFLOW_CACHE", str(shared_cache))
    videos = tmp_path / "videos"
    names = ("train/a/0", "train/a/1", "train/b/0", "train/b/1", "test/a/0", "test/b/0")
    for seed, name in enumerate(names):
        write_clip(videos / f"{name}.mp4", seed, (1, 0), frames=8)
    asked = ["--data", "folder", "--data-root", str(videos), "--out", str(tmp_path / "out")]
    asked += ["--wandb", "disabled"]
    assert main(plain_and_tvl1, arguments=asked) == 2
    assert "take a smaller batch, as --recipe.batch 2" in capsys.readouterr().err
    asked += ["--recipe.batch", "2", "--recipe.epochs", "1", "--clip.frames", "4"]
    assert main(plain_and_tvl1, arguments=asked) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: TV-L1: a stack of 5") and "others with --rows" in said
    assert not list(tmp_path.glob("out/runs/*/seed0/result.json")), "before the first run"
    asked += ["--model.stack", "2"]
    assert main(plain_and_tvl1, arguments=asked) == 0, capsys.readouterr().err
    (page,) = tmp_path.glob("out/tables/yours/folder-*-epochs1-batch2-frames4-stack2/t.md")
    text = page.read_text(encoding="utf-8")
    assert "; but with epochs 1, batch 2, frames 4, stack 2)" in text.splitlines()[0]
    assert "--recipe.epochs 1 --recipe.batch 2 --clip.frames 4 --model.stack 2`" in text
    shutil.rmtree(videos / "train" / "b")
    shutil.rmtree(videos / "test" / "b")
    assert main(plain_and_tvl1, arguments=asked) == 2
    assert "all videos are of one class, 'a'" in capsys.readouterr().err


def test_results_without_a_name_are_those_of_out() -> None:
    assert parse([]).from_results is None
    assert parse(["--from-results"]).from_results == Path("runs")
    assert parse(["--from-results", "--out", "o"]).from_results == Path("o/runs")
    assert parse(["--out", "o", "--from-results", "runs"]).from_results == Path("runs")


TRAINERS = {"torch", "torchvision", "lightning", "pytorch_lightning", "wandb", "numba", "sklearn"}
DECODERS = {"decord", "av", "cv2"}


def render_alone(
    name: str, *options: str, cache: Path = Path("/nowhere")
) -> tuple[int, set[str], str]:
    """A script in a fresh interpreter: its status, the heavy modules it loaded, its stderr.

    Where none is named, there is neither a cache nor a data set.
    """
    code = (
        "import runpy, sys\n"
        f"sys.argv = {['experiments/' + name, '--data', 'folder', *options]!r}\n"
        "try:\n"
        f"    runpy.run_path({str(CHECKOUT / 'experiments' / name)!r}, run_name='__main__')\n"
        "except SystemExit as ended:\n"
        "    print('STATUS', ended.code, *{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "REPFLOW_CACHE": str(cache)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=250,
    )
    status, *modules = done.stdout.splitlines()[-1].removeprefix("STATUS ").split()
    return int(status), (TRAINERS | DECODERS) & set(modules), done.stderr


def files_below(folder: Path) -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.long
def test_tables_from_results_alone(
    script: Script, one_row: OneRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes, from the runs and from what is for others of them, without a trainer."""
    one_row.copy(script)
    made = files_below(script.out / YOURS)
    (facts,) = (script.out / "runs" / "data").iterdir()
    claims = {"CLAIMS.md", "CLAIMS.png"}
    assert set(made) == {"README.md", *claims, *(f"{facts.stem}-epochs4/{name}" for name in PAGES)}
    published = tmp_path / "published"
    (run,) = script.out.glob("runs/*/seed0")
    for path in (facts, *(run / name for name in (*FILES, *EXTRAS))):
        copy = published / path.relative_to(script.out / "runs")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for name, content in {**made, **files_below(published)}.items():
        if name.endswith((".json", ".md", ".csv")):
            for own in (str(tmp_path), str(Path.home()), os.sep + "tmp", platform.node()):
                assert own.encode() not in content, f"{own} is in {name}"

    monkeypatch.setenv("REPFLOW_CACHE", "/nowhere")
    own = ["--data", "folder", "--out", str(script.out), "--from-results", *SHORT[2:]]
    assert main(placement, arguments=own) == 0
    assert files_below(script.out / YOURS) == made
    elsewhere = tmp_path / "elsewhere"
    others = ("--from-results", str(published), "--out", str(elsewhere), *SHORT[2:])
    assert render_alone("all_tables.py", *others) == (0, set(), "")
    copied = files_below(elsewhere / YOURS)
    joined = {"README.md", *claims}  # of all tables
    assert {name: copied[name] for name in made if name not in joined} == {
        name: content for name, content in made.items() if name not in joined
    }
    assert not (elsewhere / "runs").exists()


def test_no_results_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--data", "folder", "--from-results", str(tmp_path)]
    assert run("experiments/all_tables.py", asked) == 2
    errors = capsys.readouterr().err
    assert one_error(errors).startswith(f"error: there are no results on folder in {tmp_path}")
