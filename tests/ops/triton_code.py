"""The Triton kernels' code for an H100; `python -m tests.ops.triton_code KERNEL HEIGHT WIDTH`."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass

from . import sass


@dataclass(frozen=True)
class TritonCode:
    """A kernel as compiled, and what a launch counts on."""

    triton: str  # the compiler's version
    dtype: str
    registers: int
    spilt: int
    converts_layouts: bool
    threads: int  # of a program
    wanted_warps: int  # on a multiprocessor


def compiled(
    kernel: str, size: tuple[int, int], dtype: str = "fp32", with_sums: bool = True
) -> TritonCode:
    """The "forward" or "backward" kernel for planes of this height and width."""
    import triton
    from triton.backends.compiler import GPUTarget

    from repflow_pl.ops import flow_triton

    function = getattr(flow_triton, f"{kernel}_kernel")
    tile = flow_triton._tile_of(*size)
    height, width = size
    constants = {"HEIGHT": height, "WIDTH": width, "ROWS": tile.rows, "COLUMNS": tile.columns}
    if kernel == "backward":
        constants["WITH_SUMS"] = with_sums
    integers = {"n_planes", "channels", "n_iter", "segment"}
    signature, aligned = {}, {}
    for k, name in enumerate(function.arg_names):
        if name in constants:
            signature[name] = "constexpr"
        elif name in integers:
            signature[name] = "i32"
        else:
            signature[name] = "*fp64" if name == "sums" else f"*{dtype}"
            aligned[(k,)] = [["tt.divisibility", 16]]
    source = triton.compiler.ASTSource(function, signature, constants, aligned)
    options = {"num_warps": tile.warps, **flow_triton.OPTIONS}
    asm = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm
    found = sass.read(asm["cubin"])
    return TritonCode(
        triton=triton.__version__,
        dtype=dtype,
        registers=found.registers,
        spilt=found.spilt,
        converts_layouts="ttg.convert_layout" in str(asm["ttgir"]),
        threads=32 * tile.warps,
        wanted_warps=getattr(flow_triton, f"{kernel.upper()}_WARPS"),
    )


if __name__ == "__main__":
    kernel, height, width = sys.argv[1:]
    print(json.dumps(dataclasses.asdict(compiled(kernel, (int(height), int(width))))))
