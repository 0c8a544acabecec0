"""Workers that only pretend to make runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

STAND_IN = """
import sys
if sys.orig_argv[1:3] == ["-m", "repflow_pl.launching.worker"]:
    import json, os, signal, time
    from pathlib import Path
    from repflow_pl.specs import RunSpec, spec_hash
    from repflow_pl.strict import parse
    order = json.loads(sys.orig_argv[3])
    spec = parse(RunSpec, order["job"]["spec"])
    folder = Path(order["out"], "runs", spec_hash(spec), "seed0")
    folder.mkdir(parents=True, exist_ok=True)
    what, tries = order["job"]["row"], len(list(folder.glob("try*")))
    def end(*_):
        (folder / "ended").touch()
        os._exit(130)
    if what == "slow" and not tries:
        signal.signal(signal.SIGTERM, end)  # before anybody sees that it has begun
    (folder / f"try{tries}").touch()
    if "SLOT" in os.environ:
        print(order["label"], "on", os.environ["SLOT"], flush=True)
    else:
        print("not a line of progress")
        print(order["label"], "on", os.environ["LOKY_MAX_CPU_COUNT"], "cores", flush=True)
    if tries < {"crashes": 9, "crashes once": 1, "crashes thrice": 3}.get(what, 0):
        if what != "crashes":
            (folder / "last.ckpt").write_text(str(tries))
        print("the last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "fails":
        (folder / "error.txt").write_text("the reason\\nand more")
        os._exit(1)
    if what == "full disk":
        while len(list(Path(order["out"]).rglob("try0"))) < 2:
            time.sleep(0.05)  # for the other one to have begun
        print("cannot write here", file=sys.stderr, flush=True)
        os._exit(2)
    if what == "takes a while":
        time.sleep(4)
    if what == "busy once" and not tries:
        os._exit(75)
    if what == "slow" and not tries:
        sys.stdin.read()  # ends with the parent
        end()
    os._exit(0)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Workers that do what the row's name says, in a moment; the folder of their runs."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "path"), str(CHECKOUT)]))
    return tmp_path
