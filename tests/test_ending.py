"""Signals end a command and all that it started; whole commands, with loaders that hang."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
WITHIN = 10.0
"""Seconds from a signal on."""


@pytest.fixture(autouse=True)
def hang_up_counts() -> Iterator[None]:
    """Also where the tests run under nohup, whose children would be deaf to SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Marked:
    """Processes that are told apart by a variable, whoever their parent is."""

    def __init__(self) -> None:
        self.mark = f"REPFLOW_TEST={uuid.uuid4()}".encode()

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        name, _, value = self.mark.decode().partition("=")
        return subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **variables, name: value},
            start_new_session=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def there(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark in path.read_bytes():  # a dead one's is empty
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def gone(self, since: float) -> bool:
        """Whether all have ended in time."""
        while self.there():
            if time.monotonic() - since > WITHIN:
                return False
            time.sleep(0.05)
        return True


@pytest.fixture
def marked() -> Iterator[Marked]:
    made = Marked()
    yield made
    for pid in made.there():
        os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate()[0])
        time.sleep(0.05)


# --- a block


BLOCK = """
import signal, subprocess, sys, time
from repflow_pl import ending
ending.LIMIT = 1.0
try:
    with ending.ended_by_signals():
        if sys.argv[1] == "child":
            subprocess.Popen(["sleep", "60"], start_new_session=True)
        while sys.argv[1] != "plain":
            try:
                print("begun", flush=True)
                time.sleep(60)
            except KeyboardInterrupt:
                pass
        print("begun", flush=True)
        for _ in range(300):  # a handler comes late where one long sleep is about to begin
            time.sleep(0.01)
        print("undisturbed")
except KeyboardInterrupt as stop:
    print(type(stop).__name__)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("what", ["plain", "stubborn", "child"])
def test_a_signal_ends_a_block(marked: Marked, how: signal.Signals, what: str) -> None:
    process = marked.start("-c", BLOCK, what)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    since = time.monotonic()
    process.send_signal(how)
    assert marked.gone(since)
    said = process.communicate()[0]
    if what == "plain":
        assert said == ("KeyboardInterrupt\n" if how == signal.SIGINT else "Terminated\n")
        assert process.returncode == 0
    else:
        assert process.returncode == 128 + how and said in ("", "begun\n")


def test_what_is_ignored_stays_ignored(marked: Marked) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = marked.start("-c", BLOCK, "plain")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate()[0] == "undisturbed\n"


# --- whole commands


HANGING = """
import os, sys
if any(name in sys.orig_argv for name in ("repflow_pl.launching.worker", os.environ["SCRIPT"])):
    import signal, time
    from pathlib import Path
    from repflow_pl.data import module
    from repflow_pl.data.clips import ClipDataset

    ClipDataset.cached = False  # so that there are loaders
    module.MOST_WORKERS = 2
    load = ClipDataset.__getitems__
    main, loaded = os.getpid(), 0

    def hang_some_time(dataset, indices):
        global loaded
        loaded += 1
        if os.getpid() != main and dataset.training and loaded > 2:
            for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(how, signal.SIG_IGN)
            Path(os.environ["HUNG"], f"{os.getppid()}-{os.getpid()}").touch()
            while True:
                time.sleep(60)
        return load(dataset, indices)

    ClipDataset.__getitems__ = hang_some_time
"""

MOMENTS = [
    *(("side by side", how) for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)),
    *(("alone", how) for how in (signal.SIGINT, signal.SIGTERM)),
    ("together", signal.SIGTERM),
    *((which, signal.SIGKILL) for which in ("side by side", "alone", "together")),
]
DEVICES = {"side by side": ("2", "1"), "alone": ("1", "1"), "together": ("2", "2")}


@pytest.mark.long
@pytest.mark.parametrize(
    ("which", "how"),
    [
        ("alone", signal.SIGHUP),
        *(pytest.param(*moment, marks=pytest.mark.slow) for moment in MOMENTS),
    ],
)
def test_no_process_of_a_command_outlives_a_signal(
    marked: Marked,
    video_folder: Path,
    shared_cache: Path,
    tmp_path: Path,
    which: str,
    how: signal.Signals,
) -> None:
    """Runs whose loaders hang amid an epoch, and ignore all signals; another command goes on."""
    script = str(CHECKOUT / "experiments" / "table_placement.py")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HANGING)
    hung = tmp_path / "hung"
    hung.mkdir()
    devices, per_run = DEVICES[which]
    process = marked.start(
        *(script, "--data", "folder", "--data-root", str(video_folder), "--out", str(tmp_path)),
        *("--rows", "RGB CNN", "--seeds", "2", "--wandb", "disabled"),
        *("--devices", devices, "--gpus-per-run", per_run),
        PYTHONPATH=os.pathsep.join([str(tmp_path / "site"), str(CHECKOUT)]),
        REPFLOW_CACHE=str(shared_cache),
        SCRIPT=script,
        HUNG=str(hung),
    )

    def all_hang() -> bool:
        return len({path.name.split("-")[0] for path in hung.iterdir()}) == int(devices)

    wait_for(all_hang, process)
    assert len(marked.there()) > int(devices)
    since = time.monotonic()
    process.send_signal(how)
    assert marked.gone(since), marked.there()
    said = process.communicate()[0]
    assert "Traceback" not in said and not list(tmp_path.rglob("error.txt")), said


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("name", "function", "sentence"),
    [
        ("report", "report.__main__.join", "interrupted: run the same command again."),
        ("released", "options.call", "interrupted."),
    ],
)
def test_a_program_without_processes_ends_with_a_sentence(
    name: str,
    function: str,
    sentence: str,
    how: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), how)
        time.sleep(10)

    program = importlib.import_module(f"repflow_pl.{name}.__main__")
    monkeypatch.setattr(f"repflow_pl.{function}", interrupted)
    assert program.main([]) == {signal.SIGINT: 130, signal.SIGTERM: 143}[how]
    assert capsys.readouterr().err == f"{sentence}\n"
