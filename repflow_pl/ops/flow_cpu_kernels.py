"""Numba kernels of the fused CPU backend: Alg. 1 and its adjoint, one plane at a time.

A plane (one channel of one frame pair) stays in a core's cache through all iterations. Its fields
are flat rows of a scratch array: ``width`` zeros, the ``height * width`` pixels, a tail. A shift by
one column or row is then a shift of the index by 1 or ``width``, and every inner loop is one run
over many pixels without a branch, which LLVM turns into vector instructions. The borders cost one
selection: the last column of the x-part of grad u and p, and the last row of the y-part, are kept
at zero, so a divergence that reads over the left border finds the zero that Alg. 1 asks for.

Inner loops read views that start at the run's first pixel, because an index that LLVM cannot prove
non-negative keeps a loop scalar. They write to other arrays than they read, or to the very element
they read. "fast" mathematics is limited to what leaves NaN and infinity alone.

docs/adjoint.md derives what is computed, in the paper's symbols. All is in one file, because Numba
keeps code with the date of the kernel's own file: a change in another would go unseen.

Imported by :mod:`repflow_pl.ops.flow_cpu` on first use; nothing else needs numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from repflow_pl.ops.numba_code import jit, make_ready

Array = NDArray[Any]  # float32 or float64, one of them in any one call
_Function = TypeVar("_Function", bound=Callable[..., Any])

GRAD_X, GRAD_Y, RHO_C, INV_SQ, HAS_RIGHT = range(5)  # rows of `fixed`: what all iterations share
LIMIT, RATE = range(2)  # first entries of `coef`; then the taps of theta * divergence, of grad u
DIV, FLOW, ADJ_FLOW, N_COEF = 2, 6, 10, 14  # and of tau/theta * grad u
IMAGE_Y, FLOW_TAPS, DIV_TAPS = 9, 18, 22  # where in `taps` these begin; image_x is at 0
N_TAPS = 26  # columns of `taps`: image_x, image_y (9 each), flow_x, flow_y, div_x, div_y (2 each)
N_SUMS = N_TAPS + 3  # a plane's parameter gradients: the taps', then theta's, lambda's, tau's
ADJ_LIMIT, ADJ_RATE = N_TAPS, N_TAPS + 1  # what their places hold until _finish_sums

#: Pixels of a run: both halves of an iteration work on a run while it is in the first-level cache.
RUN = 1024

LINE_BYTES = 64  # of a cache line, and of the widest vectors

WHAT = (
    "Numba compiles the flow layer for this processor, about 15 s in the first forward and 30 s in "
    "the first backward pass"
)

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    # Every kernel whole in itself: with calls between them, the first process, which has compiled
    # the callees on their own, and later ones, which load from the cache, end in other last bits.
    "forceinline": True,
    "fastmath": {"contract", "reassoc", "nsz", "arcp"},
}


def _jit(function: _Function) -> _Function:
    return jit(function, _OPTIONS)


_ready: set[tuple[Any, Any]] = set()  # the kernels that have been made ready, and for which dtype


def _call(kernel: Any, frame1: Planes, *others: Any) -> None:
    """Call a kernel, whose arguments' types all follow from the dtype of the frames."""
    if (kernel, frame1.pixels.dtype) not in _ready:
        make_ready(kernel, (frame1, *others), WHAT)
        _ready.add((kernel, frame1.pixels.dtype))
    kernel(frame1, *others)


class Planes(NamedTuple):
    """Planes in one array: plane i has the ``height * width`` pixels from ``starts[i]`` on."""

    pixels: Array
    starts: NDArray[np.int64]
    height: int
    width: int


def plane_starts(sizes: Sequence[int], strides: Sequence[int]) -> NDArray[np.int64]:
    """Where the planes of a tensor begin whose leading dimensions have these sizes and strides."""
    starts = np.zeros(1, np.int64)
    for size, stride in zip(sizes, strides, strict=False):
        starts = (starts[:, None] + stride * np.arange(size)).reshape(-1)
    return starts


@_jit
def _plane(planes: Planes, i: int) -> Array:
    start, size = planes.starts[i], planes.height * planes.width
    return planes.pixels[start : start + size].reshape(planes.height, planes.width)


# --- one iteration -------------------------------------------------------------------------------


@_jit
def _image_gradients(frame: Array, taps: Array, gx: Array, gy: Array) -> None:
    """The frame under both 3x3 image kernels, with zeros outside; gx and gy have a plane's pixels.

    In the outer columns of gx, and in the first and last row of gy, anything may stand afterwards:
    Alg. 1 takes nothing else from frame 2 there.
    """
    height, width = frame.shape
    pixels = frame.reshape(height * width)
    for di in (1, 0, 2):  # the kernels' middle rows first, which meet every row of the frame
        n = (height - abs(di - 1)) * width - 2
        start, at = max(0, di - 1) * width, max(0, 1 - di) * width + 1
        left, mid = pixels[start : start + n], pixels[start + 1 : start + 1 + n]
        right = pixels[start + 2 : start + 2 + n]
        out_x, out_y = gx[at : at + n], gy[at : at + n]
        x0, x1, x2 = taps[3 * di], taps[3 * di + 1], taps[3 * di + 2]
        y0, y1, y2 = taps[IMAGE_Y + 3 * di], taps[IMAGE_Y + 3 * di + 1], taps[IMAGE_Y + 3 * di + 2]
        if di == 1:
            for k in range(n):
                out_x[k] = x0 * left[k] + x1 * mid[k] + x2 * right[k]
                out_y[k] = y0 * left[k] + y1 * mid[k] + y2 * right[k]
        else:
            for k in range(n):
                out_x[k] += x0 * left[k] + x1 * mid[k] + x2 * right[k]
                out_y[k] += y0 * left[k] + y1 * mid[k] + y2 * right[k]
    # such runs take the pixel before a row, or behind it, for a neighbour of its ends
    for i in range(1, height - 1):
        for j in (0, width - 1):
            total = frame.dtype.type(0)
            for di in range(3):
                for dj in range(max(0, 1 - j), min(3, width + 1 - j)):
                    total += taps[IMAGE_Y + 3 * di + dj] * frame[i + di - 1, j + dj - 1]
            gy[i * width + j] = total


@_jit
def _prepare(frame1: Array, frame2: Array, taps: Array, limit: Any, fixed: Array) -> None:
    """Eq. 8 and what follows from it; the borders are those of the released code (flow.py)."""
    real = frame1.dtype.type
    half, eps = real(0.5), real(1e-12)
    one = real(1) if limit == limit else limit  # a NaN limit must not vanish in the clamp
    height, width = frame1.shape
    size = height * width
    gx, gy = fixed[GRAD_X, width : width + size], fixed[GRAD_Y, width : width + size]
    _image_gradients(frame2, taps, gx, gy)
    for i in range(height):
        gx[i * width] = half * (frame1[i, 1] - frame1[i, 0])
        gx[(i + 1) * width - 1] = half * (frame1[i, width - 1] - frame1[i, width - 2])
    for i in (0, height - 1):
        up, down = frame1[max(i - 1, 0)], frame1[min(i + 1, height - 1)]
        row = gy[i * width : (i + 1) * width]
        for j in range(width):
            row[j] = half * (down[j] - up[j])
    first, second = frame1.reshape(size), frame2.reshape(size)
    rho, inverse = fixed[RHO_C, width : width + size], fixed[INV_SQ, width : width + size]
    for k in range(size):
        rho[k] = second[k] - first[k] + eps
        inverse[k] = one / (gx[k] * gx[k] + gy[k] * gy[k] + eps)


@_jit
def _primal_step(
    fixed: Array,
    u: Array,
    p: Array,
    coef: Array,
    width: int,
    at: int,
    n: int,
    out: Array,
    in_place: bool,
) -> None:
    """out = v + theta * div p on the n pixels from ``at``; u, out: [2, .], p: [2, 2, .]."""
    gx, gy = fixed[GRAD_X, at : at + n], fixed[GRAD_Y, at : at + n]
    rho_c, inverse = fixed[RHO_C, at : at + n], fixed[INV_SQ, at : at + n]
    ux, uy = u[0, at : at + n], u[1, at : at + n]
    pxx, pxx_left = p[0, 0, at : at + n], p[0, 0, at - 1 : at - 1 + n]
    pxy, pxy_up = p[0, 1, at : at + n], p[0, 1, at - width : at - width + n]
    pyx, pyx_left = p[1, 0, at : at + n], p[1, 0, at - 1 : at - 1 + n]
    pyy, pyy_up = p[1, 1, at : at + n], p[1, 1, at - width : at - width + n]
    out_x = ux if in_place else out[0, at : at + n]
    out_y = uy if in_place else out[1, at : at + n]
    limit = coef[LIMIT]
    x0, x1, y0, y1 = coef[DIV], coef[DIV + 1], coef[DIV + 2], coef[DIV + 3]
    for k in range(n):
        step = -(rho_c[k] + gx[k] * ux[k] + gy[k] * uy[k]) * inverse[k]
        step = -limit if step < -limit else step
        step = limit if step > limit else step
        div_x = x0 * pxx_left[k] + x1 * pxx[k] + (y0 * pxy_up[k] + y1 * pxy[k])
        div_y = x0 * pyx_left[k] + x1 * pyx[k] + (y0 * pyy_up[k] + y1 * pyy[k])
        out_x[k] = ux[k] + step * gx[k] + div_x
        out_y[k] = uy[k] + step * gy[k] + div_y


@_jit
def _dual_step(
    fixed: Array,
    u: Array,
    p: Array,
    coef: Array,
    width: int,
    at: int,
    n: int,
    has_below: bool,
    out: Array,
    in_place: bool,
) -> None:
    """out = (p + tau/theta grad u) / (1 + tau/theta |grad u|), of one component; p, out: [2, .]."""
    real = u.dtype.type
    zero, one, eps = real(0), real(1), real(1e-12)
    has_right = fixed[HAS_RIGHT, at : at + n]
    here, right, below = u[at : at + n], u[at + 1 : at + 1 + n], u[at + width : at + width + n]
    px, py = p[0, at : at + n], p[1, at : at + n]
    out_x = px if in_place else out[0, at : at + n]
    out_y = py if in_place else out[1, at : at + n]
    rate = coef[RATE]
    x0, x1, y0, y1 = coef[FLOW], coef[FLOW + 1], coef[FLOW + 2], coef[FLOW + 3]
    for k in range(n):
        dx = x0 * here[k] + x1 * right[k]
        dx = dx if has_right[k] > zero else zero
        dy = y0 * here[k] + y1 * below[k]
        dy = dy if has_below else zero
        shrink = one / (one + rate * math.sqrt(dx * dx + dy * dy + eps))
        qx = (px[k] + rate * dx) * shrink
        out_x[k] = qx if has_right[k] > zero else zero  # NaN times zero is not
        qy = (py[k] + rate * dy) * shrink
        out_y[k] = qy if has_below else zero


@_jit
def _iterate(
    fixed: Array,
    old: Array,
    new: Array,
    in_place: bool,
    coef: Array,
    height: int,
    width: int,
    dual: bool,
) -> None:
    """One iteration from a state to the next, run by run; p follows u at a distance of one row.

    The gradient of the new u needs that row, and so does the divergence of the old p where ``new``
    is ``old``. ``in_place`` says that it is: LLVM does not see that by itself, and leaves loops
    scalar whose arrays may overlap. Without ``dual`` the new p is left as it is.
    """
    u, p, new_p = new[0], old[1:], new[1:]
    size = height * width
    done_u, done_p = 0, 0
    while done_u < size:
        n = min(RUN, size - done_u)
        _primal_step(fixed, old[0], p, coef, width, width + done_u, n, u, in_place)
        done_u += n
        ready = done_u - width
        if dual and ready > done_p:
            at, n = width + done_p, ready - done_p
            for c in range(2):
                _dual_step(fixed, u[c], p[c], coef, width, at, n, True, new_p[c], in_place)
            done_p = ready
    if dual:
        for c in range(2):  # the last row, where grad u has no y-part
            _dual_step(fixed, u[c], p[c], coef, width, size, width, False, new_p[c], in_place)


@_jit
def _coefficients(taps: Array, scalars: Array, coef: Array) -> None:
    theta, lam, tau = scalars
    coef[LIMIT] = lam * theta
    coef[RATE] = tau / theta
    for i in range(4):
        coef[DIV + i] = theta * taps[DIV_TAPS + i]
        coef[FLOW + i] = taps[FLOW_TAPS + i]
        coef[ADJ_FLOW + i] = coef[RATE] * taps[FLOW_TAPS + i]


@_jit
def _set_has_right(fixed: Array, height: int, width: int) -> None:
    real = fixed.dtype.type
    for i in range(height):
        for j in range(width):
            fixed[HAS_RIGHT, width + i * width + j] = real(1 if j < width - 1 else 0)


@_jit
def _copy_state(source: Array, target: Array) -> None:
    for i in range(3):
        for j in range(2):
            from_row, to_row = source[i, j], target[i, j]
            for k in range(from_row.size):
                to_row[k] = from_row[k]


@_jit
def _clear(rows: Array) -> None:
    zero = rows.dtype.type(0)
    for i in range(rows.shape[0]):
        row = rows[i]
        for k in range(row.size):
            row[k] = zero


@_jit
def _from_plane(plane: Array, row: Array) -> None:
    height, width = plane.shape
    for i in range(height):
        source, target = plane[i], row[width + i * width : width + (i + 1) * width]
        for j in range(width):
            target[j] = source[j]


@_jit
def _to_plane(row: Array, plane: Array) -> None:
    height, width = plane.shape
    for i in range(height):
        source, target = row[width + i * width : width + (i + 1) * width], plane[i]
        for j in range(width):
            target[j] = source[j]


# --- forward -------------------------------------------------------------------------------------


def forward(
    frame1: Planes,
    frame2: Planes,
    taps: Array,
    scalars: Array,
    n_iter: int,
    first: int,
    last: int,
    flow_x: Planes,
    flow_y: Planes,
) -> None:
    """Flow of the planes ``first <= i < last``; taps [C, 26], scalars [3]."""
    # allocated here, because np.zeros inside a compiled function doubles the compile time
    fixed, state = _rows(frame1, 5), _rows(frame1, 3, 2)
    coef = np.zeros(N_COEF, frame1.pixels.dtype)
    _call(
        _forward, frame1, frame2, taps, scalars, n_iter, first, last, flow_x, flow_y,
        fixed, state, coef,
    )  # fmt: skip


def _rows(frames: Planes, *shape: int) -> Array:
    """Scratch rows of zeros, [*shape, .]: ``width`` of them, a plane's pixels, a tail.

    The pixels of every row begin at a cache line, so that of the reads and writes of an inner loop
    only the shifted ones cross lines. Up to a tenth of the time.
    """
    width, itemsize = frames.width, frames.pixels.itemsize
    per_line = LINE_BYTES // itemsize
    length = -(-(frames.height * width + 2 * width + 16) // per_line) * per_line
    size = math.prod(shape) * length
    raw = np.zeros(size + per_line, frames.pixels.dtype)
    first = -(raw.ctypes.data // itemsize + width) % per_line
    return raw[first : first + size].reshape(*shape, length)


@_jit
def _forward(
    frame1: Planes,
    frame2: Planes,
    taps: Array,
    scalars: Array,
    n_iter: int,
    first: int,
    last: int,
    flow_x: Planes,
    flow_y: Planes,
    fixed: Array,
    state: Array,
    coef: Array,
) -> None:
    height, width = frame1.height, frame1.width
    _set_has_right(fixed, height, width)
    for i in range(first, last):
        kernel = taps[i % taps.shape[0]]
        _coefficients(kernel, scalars, coef)
        _prepare(_plane(frame1, i), _plane(frame2, i), kernel, coef[LIMIT], fixed)
        for j in range(3):
            _clear(state[j])
        for t in range(n_iter):
            _iterate(fixed, state, state, True, coef, height, width, t < n_iter - 1)
        _to_plane(state[0, 0], _plane(flow_x, i))
        _to_plane(state[0, 1], _plane(flow_y, i))


# --- backward ------------------------------------------------------------------------------------


@_jit
def _dual_adjoint(
    fixed: Array,
    u: Array,
    q: Array,
    coef: Array,
    width: int,
    at: int,
    n: int,
    has_below: bool,
    adj_p: Array,
    adj_d: Array,
) -> Any:
    """Adjoint of :func:`_dual_step`, whose result was q.

    ``adj_p`` [2, .] turns in place from the adjoint of the new p into that of the old one;
    ``adj_d`` [2, .] receives the adjoint of grad u over tau/theta. Returns that of tau/theta.
    At a border, where p is no variable, anything may stand in adj_p: it meets zeros only.
    """
    real = u.dtype.type
    zero, one, eps = real(0), real(1), real(1e-12)
    has_right = fixed[HAS_RIGHT, at : at + n]
    here, right, below = u[at : at + n], u[at + 1 : at + 1 + n], u[at + width : at + width + n]
    qx, qy = q[0, at : at + n], q[1, at : at + n]
    adj_px, adj_py = adj_p[0, at : at + n], adj_p[1, at : at + n]
    adj_dx, adj_dy = adj_d[0, at : at + n], adj_d[1, at : at + n]
    rate = coef[RATE]
    x0, x1, y0, y1 = coef[FLOW], coef[FLOW + 1], coef[FLOW + 2], coef[FLOW + 3]
    adj_rate = zero
    for k in range(n):
        dx = x0 * here[k] + x1 * right[k]
        dx = dx if has_right[k] > zero else zero
        dy = y0 * here[k] + y1 * below[k]
        dy = dy if has_below else zero
        norm = math.sqrt(dx * dx + dy * dy + eps)
        shrink = one / (one + rate * norm)
        ax, ay = adj_px[k] * shrink, adj_py[k] * shrink
        adj_norm = -(ax * qx[k] + ay * qy[k])  # up to the factor tau/theta
        ratio = adj_norm / norm
        adj_rate += ax * dx + ay * dy + adj_norm * norm
        ex = ax + ratio * dx
        ey = ay + ratio * dy
        adj_px[k] = ax
        adj_py[k] = ay
        adj_dx[k] = ex if has_right[k] > zero else zero
        adj_dy[k] = ey if has_below else zero
    return adj_rate


@_jit
def _flow_gradient_adjoint(
    u: Array, adj_d: Array, coef: Array, width: int, size: int, adj_u: Array, sums: Array
) -> None:
    """adj_u += the transposed forward differences of adj_d, for one component.

    Adds the gradients of the flow kernels, over tau/theta as adj_d is, to theirs in `sums`.
    """
    stop = width + size
    here, adj = u[width:stop], adj_u[width:stop]
    ex, ex_left = adj_d[0, width:stop], adj_d[0, width - 1 : stop - 1]
    ey, ey_up = adj_d[1, width:stop], adj_d[1, :size]
    x0, x1, y0, y1 = coef[ADJ_FLOW], coef[ADJ_FLOW + 1], coef[ADJ_FLOW + 2], coef[ADJ_FLOW + 3]
    zero = u.dtype.type(0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    for k in range(size):
        adj[k] += x0 * ex[k] + x1 * ex_left[k] + (y0 * ey[k] + y1 * ey_up[k])
        s0 += ex[k] * here[k]
        s1 += ex_left[k] * here[k]
        s2 += ey[k] * here[k]
        s3 += ey_up[k] * here[k]
    sums[FLOW_TAPS] += s0
    sums[FLOW_TAPS + 1] += s1
    sums[FLOW_TAPS + 2] += s2
    sums[FLOW_TAPS + 3] += s3


@_jit
def _divergence_adjoint(
    p: Array, adj_u: Array, coef: Array, width: int, size: int, adj_p: Array, sums: Array
) -> None:
    """adj_p += the transposed divergence of adj_u, for one component.

    Adds the gradients of theta times the divergence kernels to theirs in `sums`.
    """
    stop = width + size
    here, right = adj_u[width:stop], adj_u[width + 1 : stop + 1]
    below = adj_u[2 * width : stop + width]
    px, py = p[0, width:stop], p[1, width:stop]
    adj_px, adj_py = adj_p[0, width:stop], adj_p[1, width:stop]
    x0, x1, y0, y1 = coef[DIV], coef[DIV + 1], coef[DIV + 2], coef[DIV + 3]
    zero = adj_u.dtype.type(0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    for k in range(size):
        adj_px[k] += x0 * right[k] + x1 * here[k]
        adj_py[k] += y0 * below[k] + y1 * here[k]
        s0 += right[k] * px[k]
        s1 += here[k] * px[k]
        s2 += below[k] * py[k]
        s3 += here[k] * py[k]
    sums[DIV_TAPS] += s0
    sums[DIV_TAPS + 1] += s1
    sums[DIV_TAPS + 2] += s2
    sums[DIV_TAPS + 3] += s3


@_jit
def _primal_adjoint(
    fixed: Array,
    u: Array,
    coef: Array,
    width: int,
    size: int,
    adj_u: Array,
    with_frames: bool,
    adj_fixed: Array,
) -> Any:
    """Adjoint of v: updates adj_u in place, returns the adjoint of the limit; adds to adj_fixed.

    u is the flow before the step. adj_fixed has the adjoints of grad F2 (x, y), of rho_c and of
    |grad F2|^2.
    """
    zero = u.dtype.type(0)
    stop = width + size
    gx, gy = fixed[GRAD_X, width:stop], fixed[GRAD_Y, width:stop]
    rho_c, inverse = fixed[RHO_C, width:stop], fixed[INV_SQ, width:stop]
    ux, uy = u[0, width:stop], u[1, width:stop]
    adj_ux, adj_uy = adj_u[0, width:stop], adj_u[1, width:stop]
    adj_gx, adj_gy = adj_fixed[0, width:stop], adj_fixed[1, width:stop]
    adj_rho_c, adj_sq = adj_fixed[2, width:stop], adj_fixed[3, width:stop]
    limit = coef[LIMIT]
    adj_limit = zero
    for k in range(size):
        free = -(rho_c[k] + gx[k] * ux[k] + gy[k] * uy[k]) * inverse[k]
        step = -limit if free < -limit else free
        step = limit if step > limit else step
        ax, ay = adj_ux[k], adj_uy[k]
        adj_step = gx[k] * ax + gy[k] * ay
        adj_limit += adj_step if free > limit else zero
        adj_limit -= adj_step if free < -limit else zero
        # at a tie the clamp passes the gradient on, as torch.clamp does
        adj_free = adj_step if free >= -limit else zero
        adj_free = adj_free if free <= limit else zero
        adj_rho = -adj_free * inverse[k]
        if with_frames:
            adj_gx[k] += step * ax + adj_rho * ux[k]
            adj_gy[k] += step * ay + adj_rho * uy[k]
            adj_rho_c[k] += adj_rho
            adj_sq[k] += adj_rho * free
        adj_ux[k] = ax + adj_rho * gx[k]
        adj_uy[k] = ay + adj_rho * gy[k]
    return adj_limit


@_jit
def _image_gradients_adjoint(
    frame: Array, taps: Array, adj_gx: Array, adj_gy: Array, grad: Array, sums: Array
) -> None:
    """Adjoint of :func:`_image_gradients`: adds to the frame's gradient and to the 18 taps' sums.

    ``adj_gx`` and ``adj_gy`` are scratch rows, zero where Alg. 1 takes nothing from frame 2; the
    outer columns of ``adj_gy`` become zero too.
    """
    height, width = frame.shape
    zero = frame.dtype.type(0)
    for i in range(1, height - 1):
        for j in (0, width - 1):
            at = width + i * width + j
            for di in range(3):
                for dj in range(max(0, 1 - j), min(3, width + 1 - j)):
                    tap, row, column = IMAGE_Y + 3 * di + dj, i + di - 1, j + dj - 1
                    grad[row, column] += taps[tap] * adj_gy[at]
                    sums[tap] += adj_gy[at] * frame[row, column]
            adj_gy[at] = zero
    pixels, targets = frame.reshape(height * width), grad.reshape(height * width)
    for di in range(3):
        n = (height - abs(di - 1)) * width
        start, at = max(0, di - 1) * width, width + max(0, 1 - di) * width
        source, target = pixels[start : start + n], targets[start : start + n]
        ax0, ay0 = adj_gx[at + 1 : at + 1 + n], adj_gy[at + 1 : at + 1 + n]
        ax1, ay1 = adj_gx[at : at + n], adj_gy[at : at + n]
        ax2, ay2 = adj_gx[at - 1 : at - 1 + n], adj_gy[at - 1 : at - 1 + n]
        x, y = 3 * di, IMAGE_Y + 3 * di
        x0, x1, x2, y0, y1, y2 = (
            taps[x],
            taps[x + 1],
            taps[x + 2],
            taps[y],
            taps[y + 1],
            taps[y + 2],
        )
        sx0, sx1, sx2, sy0, sy1, sy2 = zero, zero, zero, zero, zero, zero
        for k in range(n):
            from_x = x0 * ax0[k] + x1 * ax1[k] + x2 * ax2[k]
            from_y = y0 * ay0[k] + y1 * ay1[k] + y2 * ay2[k]
            target[k] += from_x + from_y
            sx0 += ax0[k] * source[k]
            sx1 += ax1[k] * source[k]
            sx2 += ax2[k] * source[k]
            sy0 += ay0[k] * source[k]
            sy1 += ay1[k] * source[k]
            sy2 += ay2[k] * source[k]
        sums[x] += sx0
        sums[x + 1] += sx1
        sums[x + 2] += sx2
        sums[y] += sy0
        sums[y + 1] += sy1
        sums[y + 2] += sy2


@_jit
def _prepare_adjoint(
    frame2: Array,
    taps: Array,
    fixed: Array,
    adj_fixed: Array,
    grad1: Array,
    grad2: Array,
    sums: Array,
) -> None:
    """Adjoint of :func:`_prepare`: sets grad1 and grad2, adds the image kernels' to `sums`."""
    real = frame2.dtype.type
    half, two, zero = real(0.5), real(2), real(0)
    height, width = frame2.shape
    size = height * width
    gx, gy = fixed[GRAD_X, width : width + size], fixed[GRAD_Y, width : width + size]
    adj_gx, adj_gy = adj_fixed[0, width : width + size], adj_fixed[1, width : width + size]
    adj_rho_c, adj_sq = adj_fixed[2, width : width + size], adj_fixed[3, width : width + size]
    pixels1, pixels2 = grad1.reshape(size), grad2.reshape(size)
    for k in range(size):
        adj_gx[k] += two * gx[k] * adj_sq[k]
        adj_gy[k] += two * gy[k] * adj_sq[k]
        pixels1[k] = -adj_rho_c[k]
        pixels2[k] = adj_rho_c[k]
    for i in range(height):
        for j in (0, width - 1):
            adj = half * adj_gx[i * width + j]
            grad1[i, max(j - 1, 0)] -= adj
            grad1[i, min(j + 1, width - 1)] += adj
            adj_gx[i * width + j] = zero
    for i in (0, height - 1):
        row = adj_gy[i * width : (i + 1) * width]
        up, down = grad1[max(i - 1, 0)], grad1[min(i + 1, height - 1)]
        for j in range(width):
            up[j] -= half * row[j]
        for j in range(width):
            down[j] += half * row[j]
            row[j] = zero
    _image_gradients_adjoint(frame2, taps, adj_fixed[0], adj_fixed[1], grad2, sums)


@_jit
def _iteration_adjoint(
    fixed: Array,
    old: Array,
    new: Array,
    coef: Array,
    height: int,
    width: int,
    is_first: bool,
    is_last: bool,
    with_frames: bool,
    adjoint: Array,
    adj_d: Array,
    adj_fixed: Array,
    sums: Array,
) -> None:
    """Adjoint of the iteration from state ``old`` to ``new``.

    ``adjoint`` turns in place from that of ``new`` into that of ``old``. The first iteration starts
    from zeros, and the last one's p is not used; what that makes needless is skipped.
    """
    size = height * width
    inner = size - width
    adj_u = adjoint[0]
    for c in range(2):
        u, q, adj_p = new[0, c], new[1 + c], adjoint[1 + c]
        if not is_last:
            rate = _dual_adjoint(fixed, u, q, coef, width, width, inner, True, adj_p, adj_d)
            rate += _dual_adjoint(fixed, u, q, coef, width, size, width, False, adj_p, adj_d)
            sums[ADJ_RATE] += rate
            _flow_gradient_adjoint(u, adj_d, coef, width, size, adj_u[c], sums)
        if not is_first:
            _divergence_adjoint(old[1 + c], adj_u[c], coef, width, size, adj_p, sums)
    sums[ADJ_LIMIT] += _primal_adjoint(
        fixed, old[0], coef, width, size, adj_u, with_frames, adj_fixed
    )


def backward(
    frame1: Planes,
    frame2: Planes,
    taps: Array,
    scalars: Array,
    n_iter: int,
    segment: int,
    with_frames: bool,
    first: int,
    last: int,
    cot_x: Planes,
    cot_y: Planes,
    grad1: Planes,
    grad2: Planes,
    grad_parameters: Array,
) -> None:
    """Gradients of the planes ``first <= i < last``, from the cotangents of their flow.

    A plane's states are computed again, ``segment`` iterations at a time from stored checkpoints.
    ``grad_parameters`` [planes, 29], zeros in float64, receives each plane's share of the gradients
    of its 26 taps and of theta, lambda and tau. The gradients of the frames and the shares of the
    image kernels are meaningless where ``with_frames`` is false.
    """
    n_segments = max(1, -(-n_iter // segment))
    fixed, adj_fixed = _rows(frame1, 5), _rows(frame1, 4)
    states = _rows(frame1, segment + 1, 3, 2)
    checkpoints = _rows(frame1, n_segments, 3, 2)  # the first one stays zero
    adjoint, adj_d = _rows(frame1, 3, 2), _rows(frame1, 2)
    coef = np.zeros(N_COEF, frame1.pixels.dtype)
    _call(
        _backward, frame1, frame2, taps, scalars, n_iter, segment, with_frames, first, last,
        cot_x, cot_y, grad1, grad2, grad_parameters,
        fixed, adj_fixed, states, checkpoints, adjoint, adj_d, coef,
    )  # fmt: skip


@_jit
def _backward(
    frame1: Planes,
    frame2: Planes,
    taps: Array,
    scalars: Array,
    n_iter: int,
    segment: int,
    with_frames: bool,
    first: int,
    last: int,
    cot_x: Planes,
    cot_y: Planes,
    grad1: Planes,
    grad2: Planes,
    grad_parameters: Array,
    fixed: Array,
    adj_fixed: Array,
    states: Array,
    checkpoints: Array,
    adjoint: Array,
    adj_d: Array,
    coef: Array,
) -> None:
    height, width = frame1.height, frame1.width
    n_segments = checkpoints.shape[0]
    _set_has_right(fixed, height, width)
    for i in range(first, last):
        kernel, sums = taps[i % taps.shape[0]], grad_parameters[i]
        _coefficients(kernel, scalars, coef)
        _prepare(_plane(frame1, i), _plane(frame2, i), kernel, coef[LIMIT], fixed)
        _from_plane(_plane(cot_x, i), adjoint[0, 0])
        _from_plane(_plane(cot_y, i), adjoint[0, 1])
        _clear(adjoint[1])
        _clear(adjoint[2])
        if with_frames:
            _clear(adj_fixed)
        for s in range(2 * n_segments - 1):
            # up through the segments for their checkpoints, then down again for the gradients
            upwards = s < n_segments - 1
            number = s if upwards else 2 * n_segments - 2 - s
            start = number * segment
            length = min(segment, n_iter - start)
            if n_segments > 1:  # else the first state stays zero
                _copy_state(checkpoints[number], states[0])
            for t in range(min(length, n_iter - 1 - start)):  # the last iteration's is not used
                _iterate(fixed, states[t], states[t + 1], False, coef, height, width, True)
            if upwards:
                _copy_state(states[segment], checkpoints[number + 1])
            else:
                for t in range(length - 1, -1, -1):
                    is_first, is_last = start + t == 0, start + t == n_iter - 1
                    _iteration_adjoint(
                        fixed, states[t], states[t + 1], coef, height, width, is_first, is_last,
                        with_frames, adjoint, adj_d, adj_fixed, sums,
                    )  # fmt: skip
        if with_frames:
            grads = _plane(grad1, i), _plane(grad2, i)
            _prepare_adjoint(_plane(frame2, i), kernel, fixed, adj_fixed, *grads, sums)
        _finish_sums(kernel, scalars, sums)


@_jit
def _finish_sums(taps: Array, scalars: Array, sums: Array) -> None:
    """Chain rule through tau/theta * grad u, theta * divergence, and limit = lambda theta."""
    theta, lam, tau = scalars
    adj_limit, adj_rate = sums[ADJ_LIMIT], sums[ADJ_RATE]
    adj_theta = lam * adj_limit - tau / (theta * theta) * adj_rate
    for i in range(FLOW_TAPS, DIV_TAPS):
        sums[i] *= tau / theta
    for i in range(DIV_TAPS, N_TAPS):
        adj_theta += taps[i] * sums[i]
        sums[i] *= theta
    sums[N_TAPS] = adj_theta
    sums[N_TAPS + 1] = theta * adj_limit
    sums[N_TAPS + 2] = adj_rate / theta
