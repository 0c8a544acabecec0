"""How the CUDA kernels of cuda/flow.cu cut planes into blocks, and blocks into threads."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

REAL_BYTES = 4
FIELDS = 6  # of a state: two components of the flow, two parts of each one's dual
SUMS = 28  # a thread's, of the parameters' gradients


@dataclass(frozen=True)
class Gpu:
    """What of a GPU decides the tiling. `clusters`: blocks may read each other's memory."""

    multiprocessors: int
    shared_bytes: int  # of a multiprocessor
    block_shared_bytes: int  # of it, a block's at most
    clusters: bool


@dataclass(frozen=True)
class Tiling:
    """A plane of height x width: a block takes `planes` of them, or one of `bands` parts of one.

    A thread takes rows x strip pixels, which divide the block's. A multiprocessor is to hold
    `blocks` at once. For the backward a block keeps `kept` states in shared memory; 0 for the
    forward.
    """

    height: int
    width: int
    rows: int
    strip: int
    planes: int = 1
    bands: int = 1
    kept: int = 0
    blocks: int = 1

    @property
    def pack(self) -> int:
        """Pixels that one instruction moves."""
        return next(pack for pack in (4, 2, 1) if self.strip % pack == 0)

    @property
    def pixels(self) -> int:
        """Of a thread."""
        return self.rows * self.strip

    @property
    def workers(self) -> int:
        """Threads of a block that have pixels."""
        return self.planes * self.height * self.width // (self.bands * self.pixels)

    @property
    def threads(self) -> int:
        """Of a block: whole warps."""
        return -(-self.workers // 32) * 32

    @property
    def state(self) -> int:
        """Numbers of a state, in shared or global memory."""
        return FIELDS * self.pixels * self._slots

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block."""
        area = 2 * self._slots * (self.strip + self.rows)
        edges = 2 * (-(-area // 4) * 4)
        if not self.kept:
            return REAL_BYTES * edges
        all_sums = SUMS * self.planes
        team = max(1, self.workers // all_sums)
        sums = SUMS * self.workers + 2 * all_sums * (team + 1)
        return REAL_BYTES * max(edges + self.kept * self.state, sums)

    @property
    def _slots(self) -> int:
        return self.workers + 2  # one of zeros, one for idle threads

    def constants(self) -> dict[str, int]:
        """What the kernels' source is compiled with."""
        return {
            "HEIGHT": self.height,
            "WIDTH": self.width,
            "ROWS": self.rows,
            "STRIP": self.strip,
            "PACK": self.pack,
            "PLANES": self.planes,
            "BANDS": self.bands,
            "BLOCKS": self.blocks,
            "SHARED": self.shared_bytes,
            **({"KEPT": self.kept} if self.kept else {}),
        }

    def groups(self, n_planes: int) -> int:
        """Blocks, or clusters of `bands` blocks, that so many planes are dealt to."""
        return -(-n_planes // self.planes)


# --- the choice ----------------------------------------------------------------------------------

#: Pixels of a thread at most, so that a multiprocessor has warps enough to hide what each waits
#: for; planes of a block; blocks of a cluster, as every GPU has them that has any.
MAX_PIXELS, MAX_PLANES, MAX_BANDS = 8, 32, 8

#: States in shared memory at most. With n iterations the backward runs 2 n - n / k - k of them
#: forward, k one less than this: no fewer with more.
MAX_KEPT = 5

#: What a barrier adds to half an iteration of a block alone on its multiprocessor, in cycles, and
#: of a cluster; and how much slower a cluster is than a block that needs none. Estimates, not
#: measured; only the order of tilings depends on them.
BARRIER, CLUSTER_BARRIER, CLUSTER = 150, 500, 1.25


def forward_tiling(gpu: Gpu, n_planes: int, height: int, width: int) -> Tiling | None:
    """The tiling whose forward is expected to be the fastest; None if none fits."""
    return _best(gpu, _about(gpu, n_planes), height, width, False)


def backward_tiling(gpu: Gpu, n_planes: int, height: int, width: int) -> Tiling | None:
    """The tiling whose backward is expected to be the fastest; None if none fits."""
    return _best(gpu, _about(gpu, n_planes), height, width, True)


def _about(gpu: Gpu, n_planes: int) -> int:
    """Of a few numbers of planes the closest below, so that few kernels do for every batch."""
    numbers = [gpu.multiprocessors * n for n in (1, 4, 16, 64)]
    return max([n for n in numbers if n <= n_planes], default=numbers[0])


@functools.lru_cache(maxsize=256)
def _best(gpu: Gpu, n_planes: int, height: int, width: int, backward: bool) -> Tiling | None:
    fitting = (
        tiling
        for divided in _divisions(height, width, n_planes, MAX_BANDS if gpu.clusters else 1)
        for tiling in _occupying(gpu, divided, backward)
    )
    return min(fitting, key=lambda tiling: _cycles(gpu, tiling, n_planes), default=None)


def _divisions(height: int, width: int, n_planes: int, max_bands: int) -> Iterator[Tiling]:
    """Ways to cut planes of which there are at least so many."""
    for bands in _divisors(height, max_bands):
        for strip in _divisors(width, MAX_PIXELS):
            for rows in _divisors(height // bands, MAX_PIXELS // strip):
                for planes in range(1, min(n_planes, MAX_PLANES) + 1 if bands == 1 else 2):
                    tiling = Tiling(height, width, rows, strip, planes, bands)
                    if tiling.threads <= 1024:
                        yield tiling


def _occupying(gpu: Gpu, tiling: Tiling, backward: bool) -> Iterator[Tiling]:
    """The tiling for each number of blocks that a multiprocessor holds."""
    for blocks in range(1, 9):
        # each of a multiprocessor's four parts has registers for 512 threads' worth of 32
        warps = blocks * -(-tiling.threads // 128)
        if _registers(tiling.pixels, backward) > min(255, 512 // warps // 8 * 8):
            return
        shared = min(gpu.block_shared_bytes, gpu.shared_bytes // blocks - 1024)  # 1 KiB is its own
        for kept in range(MAX_KEPT, 1, -1) if backward else (0,):
            found = replace(tiling, blocks=blocks, kept=kept)
            if found.shared_bytes <= shared:
                yield found
                break


def _registers(pixels: int, backward: bool) -> int:
    """That a thread needs: what it keeps of each pixel, and the rest; as the compiler finds."""
    return 16 * pixels + 76 if backward else 11 * pixels + 28


def _cycles(gpu: Gpu, tiling: Tiling, n_planes: int) -> float:
    """Of an iteration of all planes: instructions issued, or barriers that nothing hides."""
    warps = -(-tiling.threads // 128)  # of one of a multiprocessor's four parts
    issued = warps * tiling.pixels * instructions(tiling)
    halves = 5 if tiling.kept else 2  # of iterations: forward, again, and the adjoint
    waits = halves * (BARRIER if tiling.bands == 1 else CLUSTER_BARRIER)
    at_once = gpu.multiprocessors * tiling.blocks // tiling.bands
    groups = tiling.groups(n_planes)
    rounds = -(-groups // at_once)
    blocks = min(tiling.blocks, -(-groups * tiling.bands // gpu.multiprocessors))
    return rounds * max(blocks * issued, issued + waits) * (1 if tiling.bands == 1 else CLUSTER)


def instructions(tiling: Tiling) -> float:
    """Of a thread for a pixel and iteration, about: arithmetic, own fields, edges, addresses.

    Counted in machine code for an H100; the backward's with the iterations that it repeats.
    """
    fixed, own, edges, others = (158.0, 23.0, 24.0, 25.0) if tiling.kept else (41.0, 0.0, 8.0, 10.0)
    rows, strip, pack = tiling.rows, tiling.strip, tiling.pack
    return fixed + own / pack + edges / (pack * rows) + edges / strip + others / tiling.pixels


def _divisors(number: int, largest: int) -> list[int]:
    return [n for n in range(1, min(number, largest) + 1) if number % n == 0]
