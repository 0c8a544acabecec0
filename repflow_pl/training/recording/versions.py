"""What ran: versions, and the commit of the program's own checkout."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import lightning as L
import torch

import repflow_pl
from repflow_pl.training.recording.result import Versions


def versions() -> Versions:
    """What runs here."""
    return Versions(
        repflow_pl=repflow_pl.__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        lightning=L.__version__,
        commit=commit_of(Path(repflow_pl.__file__).parent),
    )


def commit_of(package: Path) -> str:
    """The commit of the checkout that a package's folder is at the top of, `+` added where it has
    changes; "unknown" outside one, also where another repository merely lies around the package.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=package, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        if Path(git("rev-parse", "--show-toplevel")).resolve() != package.resolve().parent:
            return "unknown"
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
