"""Command line: python -m repflow_pl.released SOURCE.pt TARGET.pt, see --help."""

from __future__ import annotations

import sys
from pathlib import Path

from repflow_pl.extras import needs
from repflow_pl.program import status_of
from repflow_pl.released.load import convert


def main(arguments: list[str] | None = None) -> int:
    """The command line; a mistake is one sentence and exit status 2."""
    with needs("video", program=True):  # the network itself needs no command line
        from repflow_pl.options import call

    return status_of(lambda: call(_convert, arguments))


def _convert(source: Path, target: Path, iterations: int | None = None) -> None:
    """Write released weights as a file of repflow_pl.

    Args:
        source: state dict of the authors' code, as they publish it or as their training saves it.
        target: file to write, for repflow_pl.released.load.load_released.
        iterations: of the flow layers, by default 10 or what a file of ours tells; needed for
            flow_2p1d_resnets, whose files do not tell them.
    """
    spec = convert(source, target, iterations).spec
    print(f"wrote {target}: {spec.name}, {spec.classes} classes, {spec.n_iter} iterations")


if __name__ == "__main__":
    sys.exit(main())
