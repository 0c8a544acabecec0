"""Triton kernels of the fused CUDA backend: Alg. 1 and its adjoint, one launch for all iterations.

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

Imported by :mod:`repflow_pl.ops.flow_cuda` on first use; nothing else needs triton.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from repflow_pl.ops.flow_op import segment_length

EPS = tl.constexpr(1e-12)

# Columns of `taps`: image_x, image_y (9 each, row by row), flow_x, flow_y, div_x, div_y (2 each).
# A plane's parameter gradients ("sums"): those of its taps, then theta's, lambda's and tau's.
IMAGE_Y, FLOW, DIV = tl.constexpr(9), tl.constexpr(18), tl.constexpr(22)
N_TAPS, N_SUMS = tl.constexpr(26), tl.constexpr(29)

FIXED = tl.constexpr(3)  # fields that all iterations share: grad F2 (x, y) and rho_c
STATE = tl.constexpr(
    6
)  # fields of a state: u_x, u_y; p: x- and y-part of u_x's dual, then of u_y's
# Fields of the backward. The first three are the adjoints of the FIXED ones.
ADJ_OLD, ADJ_NEW = tl.constexpr(3), tl.constexpr(5)  # of u (2) before and after an iteration
ADJ_P, ADJ_D = tl.constexpr(7), tl.constexpr(11)  # of p (4) and of grad u (4)
ADJOINT = tl.constexpr(15)


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


# --- backward ------------------------------------------------------------------------------------


@triton.jit
def _dual_adjoint(
    new: tl.tensor,
    adjoint: tl.tensor,
    rate: tl.tensor,
    flow: tl.tuple,
    div: tl.tuple,
    sums: tl.tuple,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Adjoint of an iteration's second half, whose result was the p of the state ``new``.

    First ADJ_P takes over what the next iteration's divergence passes on, the transposed divergence
    of ADJ_NEW; then it turns in place into the adjoint of the old p, and ADJ_D receives that of
    grad u. Adds, pixel by pixel, to the sums of tau/theta and of the four taps of grad u.
    """
    size = HEIGHT * WIDTH
    s_rate, s0, s1, s2, s3 = sums
    for start in range(0, HEIGHT, ROWS):
        row, column, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
        has_right, has_below = inside & (column < WIDTH - 1), inside & (row < HEIGHT - 1)
        for component in tl.static_range(2):
            au = adjoint + (ADJ_NEW + component) * size + k
            a_here = tl.load(au, mask=inside, other=0)
            a_right = tl.load(au + 1, mask=has_right, other=0)
            a_below = tl.load(au + WIDTH, mask=has_below, other=0)
            ap = adjoint + (ADJ_P + 2 * component) * size + k
            ax, ay = tl.load(ap, mask=inside, other=0), tl.load(ap + size, mask=inside, other=0)
            ax += tl.where(has_right, div[0] * a_right + div[1] * a_here, 0.0)
            ay += tl.where(has_below, div[2] * a_below + div[3] * a_here, 0.0)

            here, right, below, dx, dy = _flow_gradient(
                new + component * size, k, inside, has_right, has_below, flow, WIDTH
            )
            q = new + (2 + 2 * component) * size + k
            qx, qy = tl.load(q, mask=inside, other=0), tl.load(q + size, mask=inside, other=0)
            norm = tl.sqrt(dx * dx + dy * dy + EPS)
            shrink = 1.0 / (1.0 + rate * norm)
            ax *= shrink
            ay *= shrink
            adj_norm = -(ax * qx + ay * qy)  # up to the factor tau/theta
            ratio = adj_norm / norm
            ex = tl.where(has_right, rate * (ax + ratio * dx), 0.0)
            ey = tl.where(has_below, rate * (ay + ratio * dy), 0.0)
            tl.store(ap, ax, mask=inside)
            tl.store(ap + size, ay, mask=inside)
            ad = adjoint + (ADJ_D + 2 * component) * size + k
            tl.store(ad, ex, mask=inside)
            tl.store(ad + size, ey, mask=inside)
            s_rate += ax * dx + ay * dy + adj_norm * norm
            s0 += ex * here
            s1 += ex * right
            s2 += ey * here
            s3 += ey * below
    return s_rate, s0, s1, s2, s3


@triton.jit
def _flow_gradient_adjoint(
    adj_d: tl.tensor,
    k: tl.tensor,
    size: tl.tensor,
    inside: tl.tensor,
    has_left: tl.tensor,
    has_above: tl.tensor,
    flow: tl.tuple,
    WIDTH: tl.constexpr,
) -> tl.tensor:
    """The transposed differences of the adjoint of grad u, for one component."""
    left, x_here, above, y_here = _divergence(adj_d, k, size, inside, has_left, has_above, WIDTH)
    return flow[0] * x_here + flow[1] * left + (flow[2] * y_here + flow[3] * above)


@triton.jit
def _primal_adjoint(
    fixed: tl.tensor,
    old: tl.tensor,
    adjoint: tl.tensor,
    limit: tl.tensor,
    flow: tl.tuple,
    sums: tl.tuple,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Adjoint of an iteration's first half, which started from the state ``old``.

    ADJ_OLD, still the adjoint of the new u but for what grad u passes on (ADJ_D), is completed to
    ADJ_NEW and then replaced by the adjoint of the old u. Adds to the adjoints of the fixed fields
    and, pixel by pixel, to the sums of lambda theta and of the four taps of theta * divergence.
    """
    size = HEIGHT * WIDTH
    s_limit, s0, s1, s2, s3 = sums
    for start in range(0, HEIGHT, ROWS):
        row, column, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
        has_left, has_above = inside & (column > 0), inside & (row > 0)
        au = adjoint + ADJ_OLD * size + k
        ax, ay = tl.load(au, mask=inside, other=0), tl.load(au + size, mask=inside, other=0)
        adj_d = adjoint + ADJ_D * size
        ax += _flow_gradient_adjoint(adj_d, k, size, inside, has_left, has_above, flow, WIDTH)
        adj_d += 2 * size
        ay += _flow_gradient_adjoint(adj_d, k, size, inside, has_left, has_above, flow, WIDTH)
        tl.store(adjoint + ADJ_NEW * size + k, ax, mask=inside)
        tl.store(adjoint + (ADJ_NEW + 1) * size + k, ay, mask=inside)

        a, b, c, d = _divergence(old + 2 * size, k, size, inside, has_left, has_above, WIDTH)
        s0 += ax * a
        s1 += ax * b
        s2 += ax * c
        s3 += ax * d
        a, b, c, d = _divergence(old + 4 * size, k, size, inside, has_left, has_above, WIDTH)
        s0 += ay * a
        s1 += ay * b
        s2 += ay * c
        s3 += ay * d

        gx = tl.load(fixed + k, mask=inside, other=0)
        gy = tl.load(fixed + size + k, mask=inside, other=0)
        rho_c = tl.load(fixed + 2 * size + k, mask=inside, other=0)
        ux = tl.load(old + k, mask=inside, other=0)
        uy = tl.load(old + size + k, mask=inside, other=0)
        square, free, step = _data_step(gx, gy, rho_c, ux, uy, limit)
        adj_step = gx * ax + gy * ay
        s_limit += tl.where(free > limit, adj_step, 0.0)
        s_limit -= tl.where(free < -limit, adj_step, 0.0)
        # at a tie the clamp passes the gradient on, as torch.clamp does
        adj_free = tl.where((free >= -limit) & (free <= limit), adj_step, 0.0)
        adj_rho = -adj_free / square
        twice = 2.0 * adj_rho * free  # of |grad F2|^2, times the 2 of its own derivative
        g = adjoint + k
        adj_gx = tl.load(g, mask=inside, other=0) + step * ax + adj_rho * ux + twice * gx
        adj_gy = tl.load(g + size, mask=inside, other=0) + step * ay + adj_rho * uy + twice * gy
        adj_rho_c = tl.load(g + 2 * size, mask=inside, other=0) + adj_rho
        tl.store(g, adj_gx, mask=inside)
        tl.store(g + size, adj_gy, mask=inside)
        tl.store(g + 2 * size, adj_rho_c, mask=inside)
        tl.store(au, ax + adj_rho * gx, mask=inside)
        tl.store(au + size, ay + adj_rho * gy, mask=inside)
    return s_limit, s0, s1, s2, s3


@triton.jit
def _interior(
    adjoint: tl.tensor,
    k: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    inside: tl.tensor,
    HEIGHT: tl.constexpr,
    tap: tl.tensor,
    WIDTH: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Adjoints of grad F2 (x, y) at the pixel whose ``tap`` (0 to 8) weighs this one.

    Zero where that pixel is not in the plane, or where frame 1 has overwritten it.
    """
    dy, dx = tap // 3 - 1, tap % 3 - 1
    row, column, at = row - dy, column - dx, k - dy * WIDTH - dx
    exists = inside & (row >= 0) & (row < HEIGHT) & (column >= 0) & (column < WIDTH)
    in_x = exists & (column > 0) & (column < WIDTH - 1)
    in_y = exists & (row > 0) & (row < HEIGHT - 1)
    adj_gx = tl.load(adjoint + at, mask=in_x, other=0)
    return adj_gx, tl.load(adjoint + HEIGHT * WIDTH + at, mask=in_y, other=0)


@triton.jit
def _prepare_adjoint(
    taps: tl.tensor,
    adjoint: tl.tensor,
    grad1: tl.tensor,
    grad2: tl.tensor,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Adjoint of :func:`_prepare` for the frames."""
    size = HEIGHT * WIDTH
    for start in range(0, HEIGHT, ROWS):
        row, column, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
        rho_c = tl.load(adjoint + 2 * size + k, mask=inside, other=0)
        two = rho_c
        for tap in range(9):
            adj_gx, adj_gy = _interior(adjoint, k, row, column, inside, HEIGHT, tap, WIDTH)
            two += tl.load(taps + tap) * adj_gx + tl.load(taps + IMAGE_Y + tap) * adj_gy
        tl.store(grad2 + k, two, mask=inside)
        # a border pixel of grad F2 is half the difference of it and its neighbour in frame 1
        gx, gy = adjoint + k, adjoint + size + k
        one = tl.load(gx, mask=inside & (column == WIDTH - 1), other=0)
        one -= tl.load(gx, mask=inside & (column == 0), other=0)
        one += tl.load(gx - 1, mask=inside & (column == 1), other=0)
        one -= tl.load(gx + 1, mask=inside & (column == WIDTH - 2), other=0)
        one += tl.load(gy, mask=inside & (row == HEIGHT - 1), other=0)
        one -= tl.load(gy, mask=inside & (row == 0), other=0)
        one += tl.load(gy - WIDTH, mask=inside & (row == 1), other=0)
        one -= tl.load(gy + WIDTH, mask=inside & (row == HEIGHT - 2), other=0)
        tl.store(grad1 + k, 0.5 * one - rho_c, mask=inside)


@triton.jit
def _image_sums(
    frame2: tl.tensor,
    adjoint: tl.tensor,
    sums: tl.tensor,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Adjoint of :func:`_prepare` for the image kernels."""
    for tap in range(9):
        x_sum = tl.zeros([ROWS, COLUMNS], adjoint.dtype.element_ty)
        y_sum = x_sum
        for start in range(0, HEIGHT, ROWS):
            row, column, inside, k = _tile(start, HEIGHT, WIDTH, ROWS, COLUMNS)
            adj_gx, adj_gy = _interior(adjoint, k, row, column, inside, HEIGHT, tap, WIDTH)
            pixel = _real(frame2, k, inside, adjoint)
            x_sum += adj_gx * pixel
            y_sum += adj_gy * pixel
        tl.store(sums + tap, _total(x_sum))
        tl.store(sums + IMAGE_Y + tap, _total(y_sum))


@triton.jit
def _total(tile: tl.tensor) -> tl.tensor:
    return tl.sum(tile.to(tl.float64))


@triton.jit
def _store_sums(
    taps: tl.tensor,
    scalars: tl.tensor,
    dual: tl.tuple,
    primal: tl.tuple,
    sums: tl.tensor,
) -> None:
    """Chain rule through theta * divergence, limit = lambda theta and rate = tau / theta."""
    theta = tl.load(scalars).to(tl.float64)
    lam, tau = tl.load(scalars + 1).to(tl.float64), tl.load(scalars + 2).to(tl.float64)
    adj_rate, adj_limit = _total(dual[0]), _total(primal[0])
    adj_theta = lam * adj_limit - tau / (theta * theta) * adj_rate
    for tap in tl.static_range(4):
        tl.store(sums + FLOW + tap, _total(dual[1 + tap]))
        adj_div = _total(primal[1 + tap])
        tl.store(sums + DIV + tap, theta * adj_div)
        adj_theta += tl.load(taps + DIV + tap).to(tl.float64) * adj_div
    tl.store(sums + N_TAPS, adj_theta)
    tl.store(sums + N_TAPS + 1, theta * adj_limit)
    tl.store(sums + N_TAPS + 2, adj_rate / theta)


@triton.jit(do_not_specialize=["n_planes", "channels", "n_iter", "segment"])
def backward_kernel(
    frame1: tl.tensor,
    frame2: tl.tensor,
    taps: tl.tensor,
    scalars: tl.tensor,
    cotangent: tl.tensor,
    grad1: tl.tensor,
    grad2: tl.tensor,
    sums: tl.tensor,
    scratch: tl.tensor,
    n_planes: tl.tensor,
    channels: tl.tensor,
    n_iter: tl.tensor,
    segment: tl.tensor,
    WITH_SUMS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    """Gradients of all planes from the cotangents of their flow; n_iter and segment >= 1.

    A plane's states are computed again, ``segment`` iterations at a time from stored checkpoints.
    ``sums`` [planes, 29], float64, receives each plane's share of the gradients of the parameters
    if ``WITH_SUMS``.
    """
    size = HEIGHT * WIDTH
    n_segments = (n_iter + segment - 1) // segment
    plane = tl.program_id(0).to(tl.int64)
    fields = FIXED + ADJOINT + STATE * (segment + n_segments)
    fixed = scratch + plane * fields * size
    adjoint = fixed + FIXED * size
    states = adjoint + ADJOINT * size
    checkpoints = states + STATE * (segment + 1) * size
    zero = tl.zeros([ROWS, COLUMNS], scratch.dtype.element_ty)
    while plane < n_planes:
        kernel = taps + (plane % channels) * N_TAPS
        limit, rate, flow, div = _coefficients(kernel, scalars)
        at = plane * size
        _prepare(frame1 + at, frame2 + at, kernel, limit, fixed, HEIGHT, WIDTH, ROWS, COLUMNS)
        _clear(adjoint, ADJOINT, HEIGHT, WIDTH, ROWS, COLUMNS)
        _clear(states, STATE, HEIGHT, WIDTH, ROWS, COLUMNS)
        tl.debug_barrier()
        cot_x = cotangent + _flow_plane(plane, channels) * size
        cot_y = cot_x + channels * size
        _copy(cot_x, adjoint + ADJ_OLD * size, 1, HEIGHT, WIDTH, ROWS, COLUMNS)
        _copy(cot_y, adjoint + (ADJ_OLD + 1) * size, 1, HEIGHT, WIDTH, ROWS, COLUMNS)
        tl.debug_barrier()
        for number in range(n_segments - 1):
            checkpoint = checkpoints + number * STATE * size
            _copy(states, checkpoint, STATE, HEIGHT, WIDTH, ROWS, COLUMNS)
            tl.debug_barrier()
            for _ in range(segment):
                _iterate(
                    fixed, states, states, limit, rate, flow, div, HEIGHT, WIDTH, ROWS, COLUMNS
                )  # fmt: skip
        dual = (zero, zero, zero, zero, zero)
        primal = (zero, zero, zero, zero, zero)
        for back in range(n_segments):
            number = n_segments - 1 - back
            if back > 0:
                checkpoint = checkpoints + number * STATE * size
                _copy(checkpoint, states, STATE, HEIGHT, WIDTH, ROWS, COLUMNS)
                tl.debug_barrier()
            length = min(segment, n_iter - number * segment)
            for t in range(length):
                old = states + t * STATE * size
                _iterate(
                    fixed, old, old + STATE * size, limit, rate, flow, div,
                    HEIGHT, WIDTH, ROWS, COLUMNS,
                )  # fmt: skip
            for done in range(length):
                old = states + (length - 1 - done) * STATE * size
                if back + done > 0:  # the last iteration's p is not used
                    found = _dual_adjoint(
                        old + STATE * size, adjoint, rate, flow, div, dual,
                        HEIGHT, WIDTH, ROWS, COLUMNS,
                    )  # fmt: skip
                    dual = found if WITH_SUMS else dual
                    tl.debug_barrier()
                found = _primal_adjoint(
                    fixed, old, adjoint, limit, flow, primal, HEIGHT, WIDTH, ROWS, COLUMNS
                )  # fmt: skip
                primal = found if WITH_SUMS else primal
                tl.debug_barrier()
        _prepare_adjoint(kernel, adjoint, grad1 + at, grad2 + at, HEIGHT, WIDTH, ROWS, COLUMNS)
        if WITH_SUMS:
            own = sums + plane * N_SUMS
            _image_sums(frame2 + at, adjoint, own, HEIGHT, WIDTH, ROWS, COLUMNS)
            _store_sums(kernel, scalars, dual, primal, own)
        tl.debug_barrier()
        plane += tl.num_programs(0)


# --- launches ------------------------------------------------------------------------------------

#: Pixels of a tile and of a warp's share of it: two a thread, which lets the backward keep its
#: pixel-by-pixel sums in registers.
TILE, PIXELS_PER_WARP = 512, 64

#: Warps on a multiprocessor: what 64 registers a thread (forward) and 128 (backward) let it hold.
FORWARD_WARPS, BACKWARD_WARPS = 32, 16

#: Bytes of the backward's states up to which it keeps all of them; above, it keeps about
#: 2 sqrt(n_iter) and pays one more forward. The second-level cache of an H100.
CACHE_BYTES = 50 * 2**20

#: Bytes up to which a scratch may grow; where planes are large, fewer programs then share it.
SCRATCH_BYTES = 2**30


def forward(
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    multiprocessors: int,
    flow: Tensor,
) -> None:
    """Writes the flow [..., 2 C, H, W] of frames [..., C, H, W]; taps [C, 26], scalars [3].

    All are contiguous; frames and flow of one dtype, taps and scalars of that of the arithmetic.
    """
    channels, height, width = frame1.shape[-3:]
    n_planes = frame1.numel() // (height * width)
    tile = _tile_of(height, width)
    programs = min(n_planes, _programs(FORWARD_WARPS, tile, multiprocessors))
    scratch = _scratch(frame1, taps.dtype, programs, int(FIXED + STATE))
    forward_kernel[(len(scratch),)](
        frame1, frame2, taps, scalars, flow, scratch, n_planes, channels, n_iter,
        HEIGHT=height, WIDTH=width, ROWS=tile.rows, COLUMNS=tile.columns,
        num_warps=tile.warps, num_stages=1,
    )  # fmt: skip


def backward(
    cotangent: Tensor,
    frame1: Tensor,
    frame2: Tensor,
    taps: Tensor,
    scalars: Tensor,
    n_iter: int,
    with_sums: bool,
    multiprocessors: int,
    grad1: Tensor,
    grad2: Tensor,
) -> Tensor:
    """Writes the gradients of both frames; if ``with_sums``, the parameters' [C, 29], float64.

    Tensors as for :func:`forward`, the cotangent as the flow; n_iter >= 1.
    """
    channels, height, width = frame1.shape[-3:]
    n_planes = frame1.numel() // (height * width)
    sums = frame1.new_zeros(n_planes // channels, channels, int(N_SUMS), dtype=torch.float64)
    tile = _tile_of(height, width)
    scratch, segment = _backward_scratch(frame1, taps.dtype, n_iter, tile, multiprocessors)
    backward_kernel[(len(scratch),)](
        frame1, frame2, taps, scalars, cotangent, grad1, grad2, sums, scratch,
        n_planes, channels, n_iter, segment, WITH_SUMS=with_sums,
        HEIGHT=height, WIDTH=width, ROWS=tile.rows, COLUMNS=tile.columns,
        num_warps=tile.warps, num_stages=1,
    )  # fmt: skip
    return sums.sum(0)


class _Tile(NamedTuple):
    rows: int
    columns: int
    warps: int


def _tile_of(height: int, width: int) -> _Tile:
    columns = triton.next_power_of_2(width)
    rows = min(triton.next_power_of_2(height), max(1, TILE // columns))
    return _Tile(rows, columns, max(1, rows * columns // PIXELS_PER_WARP))


def _backward_scratch(
    frame: Tensor, dtype: torch.dtype, n_iter: int, tile: _Tile, multiprocessors: int
) -> tuple[Tensor, int]:
    """The scratch, and the iterations between two checkpoints."""
    height, width = frame.shape[-2:]
    n_planes = frame.numel() // (height * width)
    programs = min(n_planes, _programs(BACKWARD_WARPS, tile, multiprocessors))
    state_bytes = int(STATE) * height * width * dtype.itemsize
    segment = segment_length(n_iter, programs * state_bytes, CACHE_BYTES)
    n_segments = -(-n_iter // segment)
    fields = int(FIXED + ADJOINT + STATE * (segment + n_segments))
    return _scratch(frame, dtype, programs, fields), segment


def _programs(warps: int, tile: _Tile, multiprocessors: int) -> int:
    return max(1, warps // tile.warps) * multiprocessors


def _scratch(frame: Tensor, dtype: torch.dtype, programs: int, fields: int) -> Tensor:
    """[programs, fields, H, W], with fewer programs where they would need too many bytes."""
    height, width = frame.shape[-2:]
    program_bytes = fields * height * width * dtype.itemsize
    programs = max(1, min(programs, SCRATCH_BYTES // program_bytes))
    return frame.new_empty(programs, fields, height, width, dtype=dtype)
