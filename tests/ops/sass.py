"""What a compiled kernel needs, read from its machine code without a GPU."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)(.*?);")


class Loop(NamedTuple):
    """A loop without a loop inside: names of its instructions, in order, with their suffixes."""

    instructions: list[str]

    def count(self, *names: str) -> int:
        """How many of its instructions start with one of these names; all, if none is given."""
        return sum(i.startswith(names or "") for i in self.instructions)


class Sass(NamedTuple):
    """Of one kernel: registers a thread, bytes of spilt ones, shared bytes a block, loops."""

    registers: int
    spilt: int
    shared: int
    loops: list[Loop]


def read(cubin: bytes) -> Sass:
    """Of a cubin with one kernel, in order of address. Skips the test where no tool reads it."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run("cuobjdump", "-res-usage", file.name)
        code = _run("nvdisasm", "-c", file.name)
    found = {name: int(n) for name, n in re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", usage)}
    return Sass(found["REG"], found["STACK"] + found["LOCAL"], found["SHARED"], _loops(code))


def _run(tool: str, *arguments: str) -> str:
    """Of NVIDIA's tools those that triton brings along."""
    triton = pytest.importorskip("triton")
    path = Path(triton.__file__).parent / "backends/nvidia/bin" / tool
    if not path.exists():
        pytest.skip(f"this triton has no {tool} to read machine code with")
    command = [str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _loops(code: str) -> list[Loop]:
    """The ranges that a branch backwards spans and that no other such range lies in."""
    labels: dict[str, int] = {}
    instructions: list[str] = []
    spans: set[tuple[int, int]] = set()
    for line in code.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        elif found := _INSTRUCTION.search(line):
            target = re.search(r"(\.L_x_\d+)", found[2])
            if found[1].startswith("BRA") and target and target[1] in labels:
                spans.add((labels[target[1]], len(instructions)))
            instructions.append(found[1])
    inner = [
        (first, last)
        for first, last in sorted(spans)
        if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in spans)
    ]
    # one instruction that jumps to itself fills the end of every kernel
    return [Loop(instructions[first : last + 1]) for first, last in inner if first < last]
