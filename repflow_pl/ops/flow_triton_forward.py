"""Triton kernel of the fused CUDA backend's forward: Alg. 1, one launch for all iterations.

A program takes one plane (one channel of one frame pair) through all iterations, then its next
plane; there are only as many programs as the GPU holds at once. The plane's fields lie in a scratch
of global memory that belongs to the program. A neighbour is then a load one pixel or one row away,
and a barrier of the program's threads, which also orders their accesses to global memory, is all
that divides the halves of an iteration. The forward's fields of a 28 x 28 plane (9 x 3 KB) fit into
the first-level cache of an H100 (256 KB) several times, those of a 112 x 112 plane into the second.
Planes kept in registers would send each of the eight shifted fields of an iteration through shared
memory, with two barriers each, and would end where the registers do.

The first half of an iteration reads neighbours of p and writes u, the second reads neighbours of u
and writes p, so both may work in place. Each walks over the plane in tiles of ROWS whole rows,
COLUMNS wide: the next power of two from the width. The last column of the x-parts and the last row
of the y-parts of p, and of the adjoint of grad u, are kept at zero, as Alg. 1 asks. Height and
width are constants to the compiler: offsets between fields then cost no registers, without which
the oldest Triton allowed runs half as many of the backward's warps.

docs/adjoint.md derives what is computed, in the paper's symbols.

Its adjoint is in flow_triton_backward.py; both are launched by flow_triton.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPS = tl.constexpr(1e-12)

# Columns of `taps`: image_x, image_y (9 each, row by row), flow_x, flow_y, div_x, div_y (2 each).
# A plane's parameter gradients ("sums"): those of its taps, then theta's, lambda's and tau's.
IMAGE_Y, FLOW, DIV = tl.constexpr(9), tl.constexpr(18), tl.constexpr(22)
N_TAPS, N_SUMS = tl.constexpr(26), tl.constexpr(29)

FIXED = tl.constexpr(3)  # fields that all iterations share: grad F2 (x, y) and rho_c
# Fields of a state: u_x, u_y; p: x- and y-part of u_x's dual, then of u_y's.
STATE = tl.constexpr(6)


# --- pieces of an iteration ----------------------------------------------------------------------


@triton.jit
def _tile(
    start: tl.tensor,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """A tile's rows and columns, which of its pixels are in the plane, and their indices."""
    row = start + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    return row, column, (row < HEIGHT) & (column < WIDTH), row * WIDTH + column


@triton.jit
def _flow_plane(plane: tl.tensor, channels: tl.tensor) -> tl.tensor:
    """The place of a plane's x-flow: in a flow the y-parts of all channels follow the x-parts."""
    return plane + plane // channels * channels


@triton.jit
def _clear(
    fields: tl.tensor,
    N: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    zero = tl.zeros([ROWS, COLUMNS], fields.dtype.element_ty)
    for start in range(0, HEIGHT, ROWS):
        _, _, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
        for field in tl.static_range(N):
            tl.store(fields + field * HEIGHT * WIDTH + k, zero, mask=inside)


@triton.jit
def _copy(
    source: tl.tensor,
    target: tl.tensor,
    N: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    for start in range(0, HEIGHT, ROWS):
        _, _, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
        for field in tl.static_range(N):
            at = field * HEIGHT * WIDTH + k
            tl.store(target + at, tl.load(source + at, mask=inside), mask=inside)


@triton.jit
def _coefficients(
    taps: tl.tensor, scalars: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tuple[tl.tensor, ...], tuple[tl.tensor, ...]]:
    """lambda theta, tau / theta, the taps of grad u and those of theta times the divergence."""
    theta, lam, tau = tl.load(scalars), tl.load(scalars + 1), tl.load(scalars + 2)
    flow = (
        tl.load(taps + FLOW),
        tl.load(taps + FLOW + 1),
        tl.load(taps + FLOW + 2),
        tl.load(taps + FLOW + 3),
    )
    div = (
        theta * tl.load(taps + DIV),
        theta * tl.load(taps + DIV + 1),
        theta * tl.load(taps + DIV + 2),
        theta * tl.load(taps + DIV + 3),
    )
    return lam * theta, tau / theta, flow, div


@triton.jit
def _real(frame: tl.tensor, at: tl.tensor, mask: tl.tensor, fields: tl.tensor) -> tl.tensor:
    """Pixels of a frame of any type as numbers of that of the fields."""
    return tl.load(frame + at, mask=mask, other=0).to(fields.dtype.element_ty)


@triton.jit
def _prepare(
    frame1: tl.tensor,
    frame2: tl.tensor,
    taps: tl.tensor,
    limit: tl.tensor,
    fixed: tl.tensor,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Eq. 8 and rho_c; the borders are those of the released code (flow.py)."""
    size = HEIGHT * WIDTH
    # a NaN limit would vanish in the comparisons of the clamp
    eps = tl.where(limit == limit, EPS, limit)
    for start in range(0, HEIGHT, ROWS):
        row, column, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
        gx = tl.zeros([ROWS, COLUMNS], fixed.dtype.element_ty)
        gy = gx
        for tap in range(9):
            dy, dx = tap // 3 - 1, tap % 3 - 1
            exists = (row + dy >= 0) & (row + dy < HEIGHT) & (column + dx >= 0)
            exists = exists & (column + dx < WIDTH)
            pixel = _real(frame2, k + dy * WIDTH + dx, inside & exists, fixed)
            gx += tl.load(taps + tap) * pixel
            gy += tl.load(taps + IMAGE_Y + tap) * pixel
        one = _real(frame1, k, inside, fixed)
        first, last = inside & (column == 0), inside & (column == WIDTH - 1)
        gx = tl.where(first, 0.5 * (_real(frame1, k + 1, first, fixed) - one), gx)
        gx = tl.where(last, 0.5 * (one - _real(frame1, k - 1, last, fixed)), gx)
        first, last = inside & (row == 0), inside & (row == HEIGHT - 1)
        gy = tl.where(first, 0.5 * (_real(frame1, k + WIDTH, first, fixed) - one), gy)
        gy = tl.where(last, 0.5 * (one - _real(frame1, k - WIDTH, last, fixed)), gy)
        tl.store(fixed + k, gx, mask=inside)
        tl.store(fixed + size + k, gy, mask=inside)
        two = _real(frame2, k, inside, fixed)
        tl.store(fixed + 2 * size + k, two - one + eps, mask=inside)


@triton.jit
def _data_step(
    gx: tl.tensor, gy: tl.tensor, rho_c: tl.tensor, ux: tl.tensor, uy: tl.tensor, limit: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """|grad F2|^2 and the step along grad F2 (Eq. 6) before and after its clamp."""
    square = gx * gx + gy * gy + EPS
    free = -(rho_c + gx * ux + gy * uy) / square
    step = tl.where(free < -limit, -limit, free)  # comparisons let a NaN through
    step = tl.where(step > limit, limit, step)
    return square, free, step


@triton.jit
def _divergence(
    p: tl.tensor,
    k: tl.tensor,
    size: tl.tensor,
    inside: tl.tensor,
    has_left: tl.tensor,
    has_above: tl.tensor,
    WIDTH: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """What the divergence weighs: the x-part at the left and here, the y-part above and here."""
    left = tl.load(p + k - 1, mask=has_left, other=0)
    x_here = tl.load(p + k, mask=inside, other=0)
    above = tl.load(p + size + k - WIDTH, mask=has_above, other=0)
    y_here = tl.load(p + size + k, mask=inside, other=0)
    return left, x_here, above, y_here


@triton.jit
def _iterate(
    fixed: tl.tensor,
    old: tl.tensor,
    new: tl.tensor,
    limit: tl.tensor,
    rate: tl.tensor,
    flow: tl.tuple,
    div: tl.tuple,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """One iteration, from the state ``old`` to the state ``new``, which may be the same."""
    size = HEIGHT * WIDTH
    for start in range(0, HEIGHT, ROWS):
        row, column, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
        gx = tl.load(fixed + k, mask=inside, other=0)
        gy = tl.load(fixed + size + k, mask=inside, other=0)
        rho_c = tl.load(fixed + 2 * size + k, mask=inside, other=0)
        ux = tl.load(old + k, mask=inside, other=0)
        uy = tl.load(old + size + k, mask=inside, other=0)
        _, _, step = _data_step(gx, gy, rho_c, ux, uy, limit)
        has_left, has_above = inside & (column > 0), inside & (row > 0)
        a, b, c, d = _divergence(old + 2 * size, k, size, inside, has_left, has_above, WIDTH)
        ux += step * gx + (div[0] * a + div[1] * b + (div[2] * c + div[3] * d))
        a, b, c, d = _divergence(old + 4 * size, k, size, inside, has_left, has_above, WIDTH)
        uy += step * gy + (div[0] * a + div[1] * b + (div[2] * c + div[3] * d))
        tl.store(new + k, ux, mask=inside)
        tl.store(new + size + k, uy, mask=inside)
    tl.debug_barrier()
    for start in range(0, HEIGHT, ROWS):
        row, column, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
        has_right, has_below = inside & (column < WIDTH - 1), inside & (row < HEIGHT - 1)
        for component in tl.static_range(2):
            _, _, _, dx, dy = _flow_gradient(
                new + component * size, k, inside, has_right, has_below, flow, WIDTH
            )
            shrink = 1.0 / (1.0 + rate * tl.sqrt(dx * dx + dy * dy + EPS))
            p = (2 + 2 * component) * size + k
            px = tl.load(old + p, mask=inside, other=0)
            py = tl.load(old + p + size, mask=inside, other=0)
            tl.store(new + p, tl.where(has_right, (px + rate * dx) * shrink, 0.0), mask=inside)
            py = tl.where(has_below, (py + rate * dy) * shrink, 0.0)
            tl.store(new + p + size, py, mask=inside)
    tl.debug_barrier()


@triton.jit
def _flow_gradient(
    u: tl.tensor,
    k: tl.tensor,
    inside: tl.tensor,
    has_right: tl.tensor,
    has_below: tl.tensor,
    flow: tl.tuple,
    WIDTH: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """One component of the flow here, at the right and below, and its two differences."""
    here = tl.load(u + k, mask=inside, other=0)
    right = tl.load(u + k + 1, mask=has_right, other=0)
    below = tl.load(u + k + WIDTH, mask=has_below, other=0)
    dx = tl.where(has_right, flow[0] * here + flow[1] * right, 0.0)
    dy = tl.where(has_below, flow[2] * here + flow[3] * below, 0.0)
    return here, right, below, dx, dy


# --- forward -------------------------------------------------------------------------------------


@triton.jit(do_not_specialize=["n_planes", "channels", "n_iter"])
def forward_kernel(
    frame1: tl.tensor,
    frame2: tl.tensor,
    taps: tl.tensor,
    scalars: tl.tensor,
    flow: tl.tensor,
    scratch: tl.tensor,
    n_planes: tl.tensor,
    channels: tl.tensor,
    n_iter: tl.tensor,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Flow of all planes; frames [N, C, H, W], flow [N, 2 C, H, W], taps [C, 26], scalars [3]."""
    size = HEIGHT * WIDTH
    plane = tl.program_id(0).to(tl.int64)
    fixed = scratch + plane * (FIXED + STATE) * size
    state = fixed + FIXED * size
    while plane < n_planes:
        kernel = taps + (plane % channels) * N_TAPS
        limit, rate, flow_taps, div = _coefficients(kernel, scalars)
        at = plane * size
        _prepare(frame1 + at, frame2 + at, kernel, limit, fixed, HEIGHT, WIDTH, ROWS, COLUMNS)
        _clear(state, STATE, HEIGHT, WIDTH, ROWS, COLUMNS)
        tl.debug_barrier()
        for _ in range(n_iter):
            _iterate(
                fixed, state, state, limit, rate, flow_taps, div, HEIGHT, WIDTH, ROWS, COLUMNS
            )  # fmt: skip
        flow_x = flow + _flow_plane(plane, channels) * size
        _copy(state, flow_x, 1, HEIGHT, WIDTH, ROWS, COLUMNS)
        _copy(state + size, flow_x + channels * size, 1, HEIGHT, WIDTH, ROWS, COLUMNS)
        tl.debug_barrier()
        plane += tl.num_programs(0)
