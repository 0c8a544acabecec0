"""Triton kernel of the fused CUDA backend's backward: the adjoint of Alg. 1, one launch.

As the forward's (flow_triton_forward.py), whose parts it calls. docs/adjoint.md derives it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from repflow_pl.ops.flow_triton_forward import (
    DIV,
    EPS,
    FIXED,
    FLOW,
    IMAGE_Y,
    N_SUMS,
    N_TAPS,
    STATE,
    _clear,
    _coefficients,
    _copy,
    _data_step,
    _divergence,
    _flow_gradient,
    _flow_plane,
    _iterate,
    _prepare,
    _real,
    _tile,
)

# Fields of the backward. The first three are the adjoints of the FIXED ones.
ADJ_OLD, ADJ_NEW = tl.constexpr(3), tl.constexpr(5)  # of u (2) before and after an iteration
ADJ_P, ADJ_D = tl.constexpr(7), tl.constexpr(11)  # of p (4) and of grad u (4)
ADJOINT = tl.constexpr(15)


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
