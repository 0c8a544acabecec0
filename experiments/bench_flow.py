"""The flow op's benchmark: time and memory against the released way of writing Alg. 1.

Eager, torch.compile, the fused backend of the device and OpenCV's TV-L1, timed in turns with a
plain baseline (bench/baseline.py) at the sizes of blocks 0 to 5 and over the iterations. Writes
tables/bench/flow_<device>.{md,csv,png}. Three minutes on two CPU cores that do nothing else.

    python experiments/bench_flow.py
    python experiments/bench_flow.py --device cuda --patience 300 --minutes 10
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from bench.page import Context, csv_of, markdown_of
from bench.picture import picture_of
from bench.plan import build_plan
from bench.run import run

from repflow_pl.errors import UserError
from repflow_pl.files import atomic_write, check_writable

INTERRUPTED = 130
"""Exit status of a program ended by Ctrl-C."""


@dataclass(frozen=True)
class Options:
    """Time the flow op against the released way of writing it, with its memory and its floor."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""
    threads: int = 2
    """CPU threads of every backend."""
    minutes: float = 3
    """About how long; cells that do not fit are left empty and say so."""
    patience: float = 20
    """Seconds that torch.compile may take in all; 20 unrolled iterations alone need minutes."""
    out: Path = Path()
    """Folder that gets tables/bench/."""
    quick: bool = False
    """Tiny sizes, in seconds: shows that everything works, and its figures mean nothing."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UserError("--threads is a count of 1 or more.")
        if self.minutes <= 0 or self.patience <= 0:
            raise UserError("--minutes and --patience must be more than 0.")


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns the exit status: 0, or 2 for a mistake."""
    try:
        bench(parse(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: nothing was written.", file=sys.stderr)
        return INTERRUPTED
    return 0


def parse(arguments: Sequence[str]) -> Options:
    """The command line as Options. Errors: UserError, one sentence; --help exits by itself."""
    if not arguments:
        return Options()  # a bare GPU machine may lack the parser
    from jsonargparse import ArgumentParser, set_parsing_settings

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(description=Options.__doc__, exit_on_error=False)
    parser.add_class_arguments(Options, as_group=False, skip={"quick"})
    parser.add_argument(
        "--quick",
        action="store_true",
        help="Tiny sizes, in seconds: shows that everything works, and its figures mean nothing.",
    )
    try:
        parsed = parser.parse_args(list(arguments))
        return Options(**parsed.as_dict())
    except (UserError, SystemExit):
        raise
    except Exception as error:
        raise UserError(f"{' '.join(str(error).split())}; see --help.") from error


def bench(options: Options) -> None:
    """Measure, then write the three files."""
    device = chosen_device(options.device)
    folder = options.out / "tables" / "bench"
    check_writable(folder)
    results = run(
        build_plan(device, options.quick),
        device,
        options.threads,
        options.minutes,
        options.patience,
        lambda text: print(text, flush=True),
    )
    context = Context(device, options.threads, shown_command(options), options.quick)
    stem = folder / f"flow_{device.type}"
    page = markdown_of(results, context)
    contents = {".csv": csv_of(results).encode(), ".png": picture_of(results, context)}
    for ending, content in {**contents, ".md": page.encode()}.items():
        with atomic_write(stem.with_suffix(ending), "wb") as stream:
            stream.write(content)
    print(page)
    print(f"wrote {stem}.md, .csv and .png")


def chosen_device(name: str) -> torch.device:
    """Errors: UserError where a GPU is asked for and there is none."""
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise UserError("--device cuda needs a GPU that torch sees: take --device cpu here.")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def shown_command(options: Options) -> str:
    """The command that measures the same; folders of the user are not shown."""
    parts = ["python", "experiments/bench_flow.py"]
    for name, default in vars(Options()).items():
        value = getattr(options, name)
        if value != default and name != "out":
            parts += (
                [f"--{name}"]
                if name == "quick"
                else [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
            )
    return shlex.join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
