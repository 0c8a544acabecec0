"""W&B's client, used so that its server costs no run: once it cannot be reached, is silent, refuses
or fails, it is left out, and what it would have got stays on the disk for `wandb sync`."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from repflow_pl.extras import load
from repflow_pl.training.planning.machine import WandbMode

ASK, START, FINISH, CLOSE = 5.0, 6.0, 7.0, 3.0
"""Seconds that W&B has to answer a question, to begin a run, to take the rest of one that has
ended, and to end its own process: a run waits for it 10 seconds at most at either end. In between,
it is sent to beside the training."""
LEFT_OUT = "W&B is left out from now on"
"""How the sentence on standard error begins, by which another process knows it, too."""

_left_out = False
"""Whether W&B has failed this process, or one that made a run for it."""


def client() -> Any:
    """The module `wandb`, set to say nothing by itself and to report nothing on itself: at a silent
    server those reports hold up the end of a process for 12 seconds. Errors: NotInstalled."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_HTTP_TIMEOUT", f"{ASK:.0f}")
    return load("wandb")


def usable(mode: WandbMode) -> WandbMode:
    """Offline instead of online, once W&B is left out."""
    return "offline" if _left_out and mode == "online" else mode


def is_logged_in() -> bool:
    """Whether W&B's client has a key of the user's; nobody is asked for one, nor is W&B.

    Errors: wandb.Error for what cannot be a key.
    """
    return bool(client().login(prompt=False, verify=False))


def api(patience: float) -> Any:
    """W&B's public interface, whose questions have as many seconds; it knows the user.

    Errors: TimeoutError where W&B does not answer in time, wandb.Error where it refuses.
    """
    begun = time.monotonic()
    try:
        return client().Api(timeout=patience)
    except Exception as error:
        if time.monotonic() - begun < patience:
            raise
        raise TimeoutError(f"no good answer within {patience:.0f} seconds") from error


def ask() -> None:
    """See, before any run is made, that W&B answers and knows the user. Errors: as `api`."""
    try:
        api(ASK)
    finally:
        close()  # processes that make runs would use this one's connection


def start(mode: WandbMode, out: Path, identity: str, **arguments: Any) -> Any:
    """Begin a run or, online, go on with the one of this identity; offline where that fails."""
    wandb = client()
    arguments |= {"dir": out, "id": identity, "settings": _settings()}
    if usable(mode) == "online":
        with spared():
            return wandb.init(mode="online", resume="allow", **arguments)
        close()  # it holds on to the identity
    return wandb.init(mode="offline", **arguments)


def finish(run: Any, exit_code: int = 0) -> None:
    """End a run."""
    with spared():
        run.finish(exit_code)
        return
    close()


def close() -> None:
    """End the process that W&B has beside this one. If it died, its end would be an error here, or
    even the end of this process; if it does not end in time, it is left behind: it ends by itself
    after this process, whose end would otherwise wait for it, for ever where its server is silent.
    """

    def end() -> None:
        with suppress(Exception, SystemExit):
            client().teardown()

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(CLOSE)


@contextmanager
def spared() -> Iterator[None]:
    """Whatever the client raises in the block ends the use of W&B instead of the run."""
    try:
        yield
    except Exception as error:  # there are W&B's, other libraries' and the lost connection's
        reason = " ".join(str(error).split()) or type(error).__name__
        _leave_out(
            f"{LEFT_OUT} ({reason}): runs go on and are kept in the folder wandb/ of --out, "
            "from where `wandb sync` uploads them."
        )


def hear(said: str) -> None:
    """What another process, which made a run, said on standard error: where W&B failed it, W&B is
    left out here, too."""
    for line in said.splitlines():
        if line.startswith(LEFT_OUT):
            _leave_out(line)


def _leave_out(sentence: str) -> None:
    global _left_out
    if not _left_out:
        print(sentence, file=sys.stderr)
    _left_out = True


def _settings() -> Any:
    """Only the run's numbers leave the program: no console, code, packages, machine or path."""
    return client().Settings(
        init_timeout=START,
        finish_timeout=FINISH,
        finish_timeout_raises=True,
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        host="",
    )
