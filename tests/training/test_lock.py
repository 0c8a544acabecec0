"""A run's folder belongs to one process, and to nobody when that has died."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from repflow_pl.errors import UserError
from repflow_pl.training.planning.lock import BusyError, held, is_held

HOLD = (
    "import sys, time; from pathlib import Path\n"
    "from repflow_pl.training.planning.lock import held\n"
    "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def test_is_given_back_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    assert not is_held(folder)
    with pytest.raises(KeyError), held(folder):
        assert is_held(folder)
        with pytest.raises(BusyError), held(folder):
            pass
        raise KeyError
    assert not is_held(folder)


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"held\n"
    assert is_held(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.wait()
    other.stdout.close()
    with held(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"), held(tmp_path / "file" / "run"):
        pass
