// Alg. 1 and its adjoint with their state on the chip, one launch for all iterations.
//
// docs/adjoint.md derives what is computed, in the paper's symbols.
//
// A thread keeps ROWS x STRIP pixels of a plane (one channel of one frame pair) in registers. What
// its neighbours need of them, a row for those above or below and a column for those at the sides,
// goes through shared memory: a thread writes its own edges, a barrier, it reads its neighbours'.
// Small planes share a block, PLANES of them; a large one is cut into BANDS of whole rows, a block
// each, which read each other's edges as blocks of a cluster may. No pixel is padding: ROWS and
// STRIP divide the plane, only a block's last warp may have idle threads.
//
// The borders cost nothing: at the end of a plane a thread reads the ZERO slot in place of a
// neighbour's, and where Alg. 1 keeps p at zero (last column of the x-parts, last row of the
// y-parts) the taps that make it are zero.
//
// Constants from the compiler's command line: HEIGHT, WIDTH, BANDS, PLANES, ROWS, STRIP, FRAME (the
// frames' type), BLOCKS (on a multiprocessor); for the backward also KEPT (states in shared memory)
// and WITH_SUMS.

#define EACH_ROW _Pragma("unroll") for (int i = 0; i < ROWS; i++)
#define EACH_PIXEL EACH_ROW _Pragma("unroll") for (int j = 0; j < STRIP; j++)

constexpr int BAND_ROWS = HEIGHT / BANDS;
constexpr int ACROSS = WIDTH / STRIP, DOWN = BAND_ROWS / ROWS;  // threads of a band
constexpr int WORKERS = ACROSS * DOWN * PLANES;                 // of a block
constexpr int THREADS = (WORKERS + 31) / 32 * 32;
constexpr int ZERO = WORKERS, IDLE = WORKERS + 1;  // slots for what is outside and for idle threads
constexpr int SLOTS = WORKERS + 2;
static_assert(WIDTH % STRIP == 0 && BAND_ROWS % ROWS == 0 && HEIGHT % BANDS == 0, "no padding");
static_assert(BANDS == 1 || PLANES == 1, "a block has several planes or a part of one");

#define EPS Real(1e-12)

struct Tile { Real of[ROWS][STRIP]; };

struct State { Tile u[2], px[2], py[2]; };  // for each component of the flow: it, its dual's parts

struct Fixed { Tile gx, gy, rho, inverse; };  // grad F2, rho_c, -1 / |grad F2|^2

// --- where a thread is ---------------------------------------------------------------------------

struct Place {
    int plane;           // in the block
    int row, column;     // of its first pixel, in the plane
    int slot;            // its own
    int left, right;     // its neighbours', or ZERO
    Neighbour above, below;  // their slot's first pixel
    bool works, last_column, last_row;
};

__device__ inline Place place() {
    int thread = threadIdx.x, within = thread % (ACROSS * DOWN);
    int x = within % ACROSS, y = within / ACROSS, own_band = band();
    Place at;
    at.works = thread < WORKERS;
    at.plane = thread / (ACROSS * DOWN);
    at.row = own_band * BAND_ROWS + y * ROWS;
    at.column = x * STRIP;
    at.slot = at.works ? thread : IDLE;
    at.last_column = x == ACROSS - 1;
    at.last_row = at.row + ROWS == HEIGHT;
    at.left = at.works && x > 0 ? thread - 1 : ZERO;
    at.right = at.works && !at.last_column ? thread + 1 : ZERO;
    int above = thread - ACROSS, below = thread + ACROSS, band_above = own_band, band_below = own_band;
    if (y == 0) {
        above += ACROSS * DOWN;
        band_above--;
    }
    if (y == DOWN - 1) {
        below -= ACROSS * DOWN;
        band_below++;
    }
    if (!at.works || band_above < 0) above = ZERO, band_above = own_band;
    if (!at.works || band_below == BANDS) below = ZERO, band_below = own_band;
    if (BANDS == 1 && y == 0) above = ZERO;
    if (BANDS == 1 && y == DOWN - 1) below = ZERO;
    at.above = neighbour(above * STRIP, band_above);
    at.below = neighbour(below * STRIP, band_below);
    return at;
}

// --- edges in shared memory ----------------------------------------------------------------------

constexpr int FIELD_ROW = SLOTS * STRIP;  // a row of every slot

// Where the edges of a pair of fields lie, one pair for each component of the flow: a row, and a
// pixel of each of a slot's rows.
struct Edges {
    int row, next_row;
    int column, next_column, per_row, per_slot;
};

// As an area of their own, side by side ...
constexpr int AREA = (2 * (FIELD_ROW + ROWS * SLOTS) + 3) / 4 * 4;

__device__ inline Edges area(int at) {
    return {at, FIELD_ROW, at + 2 * FIELD_ROW, ROWS * SLOTS, SLOTS, 1};
}

// ... or as parts of a state whose six fields all lie in shared memory: the first row and column of
// u, the last row of the y-parts of p and the last column of the x-parts.
enum { U = 0, PX = 2, PY = 4, FIELDS = 6 };
constexpr int FIELD = ROWS * FIELD_ROW, STATE = FIELDS * FIELD;

__device__ inline Edges of_u(int state) {
    return {state + U * FIELD, FIELD, state + U * FIELD, FIELD, FIELD_ROW, STRIP};
}

__device__ inline Edges of_p(int state) {
    return {state + PY * FIELD + (ROWS - 1) * FIELD_ROW, FIELD, state + PX * FIELD + STRIP - 1,
            FIELD, FIELD_ROW, STRIP};
}

__device__ inline void store_row(Real *at, const Real (&row)[STRIP]) {
#pragma unroll
    for (int k = 0; k < STRIP; k += PACK) {
        Pack pack;
#pragma unroll
        for (int j = 0; j < PACK; j++) pack.of[j] = row[k + j];
        *(Pack *)(at + k) = pack;
    }
}

__device__ inline void load_row(Real (&row)[STRIP], const Real *at) {
#pragma unroll
    for (int k = 0; k < STRIP; k += PACK) {
        Pack pack = *(const Pack *)(at + k);
#pragma unroll
        for (int j = 0; j < PACK; j++) row[k + j] = pack.of[j];
    }
}

__device__ inline void fetch_row(Real (&row)[STRIP], Neighbour from, int offset) {
#pragma unroll
    for (int k = 0; k < STRIP; k += PACK) {
        Pack pack = fetch(from, offset + k);
#pragma unroll
        for (int j = 0; j < PACK; j++) row[k + j] = pack.of[j];
    }
}

template <int I, int J>
__device__ inline void store_edges(const Edges &to, int slot, int component, const Tile &rows,
                                   const Tile &columns) {
    store_row(memory + to.row + component * to.next_row + slot * STRIP, rows.of[I]);
    int at = to.column + component * to.next_column + slot * to.per_slot;
    EACH_ROW memory[at + i * to.per_row] = columns.of[i][J];
}

__device__ inline void fetch_edges(const Edges &from, Neighbour row_of, int column_of,
                                   int component, Real (&row)[STRIP], Real (&column)[ROWS]) {
    fetch_row(row, row_of, from.row + component * from.next_row);
    int at = from.column + component * from.next_column + column_of * from.per_slot;
    EACH_ROW column[i] = memory[at + i * from.per_row];
}

// Zeros a thread's edges and those of the ZERO slot.
__device__ inline void clear_edges(const Edges &edges, const Place &at) {
    Tile zero = {};
    for (int c = 0; c < 2; c++) {
        store_edges<0, 0>(edges, at.slot, c, zero, zero);
        if (threadIdx.x == 0) store_edges<0, 0>(edges, ZERO, c, zero, zero);
    }
}

__device__ inline void save_tile(Real *field, int slot, const Tile &tile) {
    EACH_ROW store_row(field + i * FIELD_ROW + slot * STRIP, tile.of[i]);
}

__device__ inline void store_u(Real *to, int slot, const State &s) {
    for (int c = 0; c < 2; c++) save_tile(to + (U + c) * FIELD, slot, s.u[c]);
}

__device__ inline void store_p(Real *to, int slot, const State &s) {
    for (int c = 0; c < 2; c++) {
        save_tile(to + (PX + c) * FIELD, slot, s.px[c]);
        save_tile(to + (PY + c) * FIELD, slot, s.py[c]);
    }
}

__device__ inline void store_state(Real *to, int slot, const State &s) {
    store_u(to, slot, s);
    store_p(to, slot, s);
}

__device__ inline Tile load_tile(const Real *field, int slot) {
    Tile found;
    EACH_ROW load_row(found.of[i], field + i * FIELD_ROW + slot * STRIP);
    return found;
}

__device__ inline State load_state(const Real *from, int slot) {
    State s;
#pragma unroll
    for (int c = 0; c < 2; c++) {
        s.u[c] = load_tile(from + (U + c) * FIELD, slot);
        s.px[c] = load_tile(from + (PX + c) * FIELD, slot);
        s.py[c] = load_tile(from + (PY + c) * FIELD, slot);
    }
    return s;
}

// --- an iteration --------------------------------------------------------------------------------

// Taps as a thread uses them: those of grad u times tau / theta, those of the divergence times
// theta, and `eps` as it stands beside the former's squares. Of some there are two: [1] is for a
// thread's last column or row and is zero where that is the plane's.
struct Taps {
    Real limit, eps;
    Real flow_x[2][2], flow_y[2][2], div_x[2], div_y[2];
    Real div_x_here[2], div_y_here[2];
};

__device__ inline Taps taps_of(const Real *taps, const Real *scalars, const Place &at) {
    Real theta = scalars[0], rate = scalars[2] / theta;
    Taps t;
    t.limit = scalars[1] * theta;
    t.eps = rate * rate * EPS;
    for (int k = 0; k < 2; k++) {
        t.flow_x[0][k] = rate * taps[k];
        t.flow_y[0][k] = rate * taps[2 + k];
        t.flow_x[1][k] = at.last_column ? 0 : t.flow_x[0][k];
        t.flow_y[1][k] = at.last_row ? 0 : t.flow_y[0][k];
        t.div_x[k] = theta * taps[4 + k];
        t.div_y[k] = theta * taps[6 + k];
    }
    t.div_x_here[0] = t.div_x[1];
    t.div_y_here[0] = t.div_y[1];
    t.div_x_here[1] = at.last_column ? 0 : t.div_x[1];
    t.div_y_here[1] = at.last_row ? 0 : t.div_y[1];
    return t;
}

// First half: the step along grad F2 and the divergence of p make the new u.
__device__ inline void primal(State &s, const Fixed &f, const Taps &t, const Place &at,
                              const Edges &edges) {
    Tile step;
    EACH_PIXEL step.of[i][j] = clamped(
        (f.rho.of[i][j] + f.gx.of[i][j] * s.u[0].of[i][j] + f.gy.of[i][j] * s.u[1].of[i][j]) *
            f.inverse.of[i][j],
        t.limit);
#pragma unroll
    for (int c = 0; c < 2; c++) {
        Real above[STRIP], left[ROWS];
        fetch_edges(edges, at.above, at.left, c, above, left);
        const Tile &px = s.px[c], &py = s.py[c];
        EACH_PIXEL {
            Real u = s.u[c].of[i][j] + step.of[i][j] * (c == 0 ? f.gx : f.gy).of[i][j];
            u += t.div_x[0] * (j > 0 ? px.of[i][j - (j > 0)] : left[i]);
            u += t.div_x[1] * px.of[i][j];
            u += t.div_y[0] * (i > 0 ? py.of[i - (i > 0)][j] : above[j]);
            u += t.div_y[1] * py.of[i][j];
            s.u[c].of[i][j] = u;
        }
    }
}

// Second half: grad u, shrunk, makes the new p. All taps of grad u have tau / theta in them, and so
// has the term that keeps the root from zero.
__device__ inline void dual(State &s, const Taps &t, const Place &at, const Edges &edges) {
#pragma unroll
    for (int c = 0; c < 2; c++) {
        Real below[STRIP], right[ROWS];
        fetch_edges(edges, at.below, at.right, c, below, right);
        const Tile &u = s.u[c];
        EACH_PIXEL {
            const Real *fx = t.flow_x[j == STRIP - 1], *fy = t.flow_y[i == ROWS - 1];
            Real dx = fx[0] * u.of[i][j] +
                      fx[1] * (j < STRIP - 1 ? u.of[i][j + (j < STRIP - 1)] : right[i]);
            Real dy = fy[0] * u.of[i][j] +
                      fy[1] * (i < ROWS - 1 ? u.of[i + (i < ROWS - 1)][j] : below[j]);
            Real shrink = reciprocal(1 + root(dx * dx + (dy * dy + t.eps)));
            s.px[c].of[i][j] = (s.px[c].of[i][j] + dx) * shrink;
            s.py[c].of[i][j] = (s.py[c].of[i][j] + dy) * shrink;
        }
    }
}

// A whole iteration, with the edges of u and of p in two areas.
__device__ inline void advance(State &s, const Fixed &f, const Taps &t, const Place &at,
                               const Edges &of_u, const Edges &of_p) {
    primal(s, f, t, at, of_p);
    for (int c = 0; c < 2; c++) store_edges<0, 0>(of_u, at.slot, c, s.u[c], s.u[c]);
    barrier();
    dual(s, t, at, of_u);
    for (int c = 0; c < 2; c++) store_edges<ROWS - 1, STRIP - 1>(of_p, at.slot, c, s.py[c], s.px[c]);
    barrier();
}

// --- frames --------------------------------------------------------------------------------------

// Where planes begin that are counted channel by channel, then along two more dimensions.
struct Planes {
    int channels, inner;
    long long channel, within, outer;  // strides, in pixels
};

__device__ inline long long start_of(const Planes &planes, int plane) {
    int channel = plane % planes.channels, rest = plane / planes.channels;
    return channel * planes.channel + rest % planes.inner * planes.within +
           rest / planes.inner * planes.outer;
}

// The pixels around a thread's, zero outside of the plane.
struct Window { Real of[ROWS + 2][STRIP + 2]; };

__device__ inline Window window_of(const FRAME *plane, const Place &at) {
    Window found;
#pragma unroll
    for (int i = 0; i < ROWS + 2; i++)
#pragma unroll
        for (int j = 0; j < STRIP + 2; j++) {
            int row = at.row + i - 1, column = at.column + j - 1;
            bool inside = row >= 0 && row < HEIGHT && column >= 0 && column < WIDTH;
            found.of[i][j] = inside ? real(plane[row * WIDTH + column]) : Real(0);
        }
    return found;
}

// Eq. 8 and rho_c. On the border the gradient is half the difference of frame 1's two outermost
// pixels, as in the released code.
__device__ inline Fixed prepare(const FRAME *frame1, const FRAME *frame2, const Real *image,
                                const Place &at) {
    Window two = window_of(frame2, at);
    Fixed f;
    EACH_PIXEL {
        Real gx = 0, gy = 0;
#pragma unroll
        for (int k = 0; k < 9; k++) {
            Real pixel = two.of[i + k / 3][j + k % 3];
            gx += image[k] * pixel;
            gy += image[9 + k] * pixel;
        }
        int row = at.row + i, column = at.column + j;
        const FRAME *one = frame1 + row * WIDTH + column;
        Real here = real(*one);
        if (column == 0) gx = Real(0.5) * (real(one[1]) - here);
        if (column == WIDTH - 1) gx = Real(0.5) * (here - real(one[-1]));
        if (row == 0) gy = Real(0.5) * (real(one[WIDTH]) - here);
        if (row == HEIGHT - 1) gy = Real(0.5) * (here - real(one[-WIDTH]));
        f.gx.of[i][j] = gx;
        f.gy.of[i][j] = gy;
        f.rho.of[i][j] = two.of[i + 1][j + 1] - here + EPS;
        f.inverse.of[i][j] = -1 / (gx * gx + gy * gy + EPS);
    }
    return f;
}

__device__ inline Tile pixels_of(const FRAME *plane, const Place &at) {
    Tile found;
    EACH_PIXEL found.of[i][j] = real(plane[(at.row + i) * WIDTH + at.column + j]);
    return found;
}

__device__ inline void store_tile(FRAME *plane, const Place &at, const Tile &tile) {
    EACH_PIXEL put(plane + (at.row + i) * WIDTH + at.column + j, tile.of[i][j]);
}

// --- forward -------------------------------------------------------------------------------------

struct Inputs {
    const FRAME *frame1, *frame2;
    const Real *taps, *scalars;  // [channels, 26], the 18 of the image first; theta, lambda, tau
    Planes planes1, planes2;
    int n_planes, n_iter;
};

struct Flow {
    FRAME *pixels;
    Planes planes;  // twice the channels: all x before all y
};

__device__ inline long long start_of_flow(const Planes &planes, int plane, int component) {
    int channels = planes.channels / 2;
    return start_of(planes, plane + (plane / channels + component) * channels);
}

#ifndef KEPT

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) CLUSTER
flow_forward(const Inputs in, const Flow out) {
    const Edges edges_of_u = area(0), edges_of_p = area(AREA);
    Place at = place();
    int wanted = blockIdx.x / BANDS * PLANES + at.plane;
    int plane = wanted < in.n_planes ? wanted : in.n_planes - 1;
    int channel = plane % in.planes1.channels;
    const Real *image = in.taps + 26 * channel, *taps = image + 18;
    Fixed f = prepare(in.frame1 + start_of(in.planes1, plane),
                      in.frame2 + start_of(in.planes2, plane), image, at);
    Taps t = taps_of(taps, in.scalars, at);
    State s = {};
    clear_edges(edges_of_u, at);
    clear_edges(edges_of_p, at);
    barrier();
#pragma unroll 1
    for (int n = 0; n < in.n_iter; n++) {
        advance(s, f, t, at, edges_of_u, edges_of_p);
    }
    if (!at.works || wanted >= in.n_planes) return;
    for (int c = 0; c < 2; c++)
        store_tile(out.pixels + start_of_flow(out.planes, plane, c), at, s.u[c]);
}

#else

// --- backward ------------------------------------------------------------------------------------

// What the adjoint iteration carries: adjoints of u, of the parts of p, of grad F2 and rho_c; and
// `square`, half that of |grad F2|^2.
struct Adjoint {
    Tile u[2], px[2], py[2];
    Tile gx, gy, rho, square;
};

// A thread's share of the gradients of the parameters: of the taps and limit as it uses them, and
// of the root's eps.
enum { IMAGE = 0, FLOW = 18, DIV = 22, LIMIT = 26, ROOT = 27, SUMS = 28 };
struct Sums { Real of[SUMS]; };

#if WITH_SUMS
#define ADD(sum, value) sums.of[sum] += value
#else
#define ADD(sum, value)
#endif

constexpr int LENGTH = KEPT - 1;                       // iterations of a segment
constexpr int EDGES_A = 0, EDGES_B = AREA, STATES = 2 * AREA;  // in shared memory

__device__ inline int kept(int t) { return STATES + t % KEPT * STATE; }

// Adjoint of an iteration's second half, which made the p of the state `fresh`. `to_right` and
// `below`: edges of the adjoint of the next iteration's u, whose divergence saw this p. What grad u
// passes on goes to the adjoint of u inside of the thread at once, to its neighbours by `edges`.
__device__ inline void dual_adjoint(Adjoint &a, Sums &sums, const Taps &t, const Place &at, int fresh,
                                    const Edges &edges_of_u, const Edges &edges) {
#pragma unroll
    for (int c = 0; c < 2; c++) {
        Real a_below[STRIP], a_right[ROWS], below[STRIP], right[ROWS];
        fetch_edges(edges_of_u, at.below, at.right, c, a_below, a_right);
        EACH_ROW a.px[c].of[i][STRIP - 1] += t.div_x[0] * a_right[i];
#pragma unroll
        for (int j = 0; j < STRIP; j++) a.py[c].of[ROWS - 1][j] += t.div_y[0] * a_below[j];
        fetch_edges(of_u(fresh), at.below, at.right, c, below, right);
        Tile u = load_tile(memory + fresh + (U + c) * FIELD, at.slot);
        Tile qx = load_tile(memory + fresh + (PX + c) * FIELD, at.slot);
        Tile qy = load_tile(memory + fresh + (PY + c) * FIELD, at.slot);
        Tile ex, ey;
        EACH_PIXEL {
            const Real *fx = t.flow_x[j == STRIP - 1], *fy = t.flow_y[i == ROWS - 1];
            Real here = u.of[i][j];
            Real to_right = j < STRIP - 1 ? u.of[i][j + (j < STRIP - 1)] : right[i];
            Real to_below = i < ROWS - 1 ? u.of[i + (i < ROWS - 1)][j] : below[j];
            Real dx = fx[0] * here + fx[1] * to_right, dy = fy[0] * here + fy[1] * to_below;
            Real square = dx * dx + (dy * dy + t.eps);
            Real inverse = reciprocal_root(square);
            Real shrink = reciprocal(1 + square * inverse);
            Real ax = a.px[c].of[i][j] * shrink, ay = a.py[c].of[i][j] * shrink;
            Real ratio = -(ax * qx.of[i][j] + ay * qy.of[i][j]) * inverse;
            Real x = ax + ratio * dx, y = ay + ratio * dy;
            a.px[c].of[i][j] = ax;
            a.py[c].of[i][j] = ay;
            ex.of[i][j] = x;
            ey.of[i][j] = y;
            ADD(ROOT, ratio);
            ADD(FLOW, x * here);
            ADD(FLOW + 1, x * to_right);
            ADD(FLOW + 2, y * here);
            ADD(FLOW + 3, y * to_below);
        }
        EACH_PIXEL {
            Real &au = a.u[c].of[i][j];
            au += t.flow_x[0][0] * ex.of[i][j];
            if (j > 0) au += t.flow_x[0][1] * ex.of[i][j - (j > 0)];
            au += t.flow_y[0][0] * ey.of[i][j];
            if (i > 0) au += t.flow_y[0][1] * ey.of[i - (i > 0)][j];
        }
        store_edges<ROWS - 1, STRIP - 1>(edges, at.slot, c, ey, ex);
    }
}

// Adjoint of an iteration's first half, which started from the state `old`. The adjoint of the new
// u is complete with what grad u passes on from the left and above (`edges_of_d`); it goes to p
// inside of the thread at once and to the neighbours by `edges`, and is replaced by that of the old.
__device__ inline void primal_adjoint(Adjoint &a, Sums &sums, const Fixed &f, const Taps &t,
                                      const Place &at, int old, const Edges &edges_of_d,
                                      const Edges &edges) {
    Tile ux = load_tile(memory + old + U * FIELD, at.slot);
    Tile uy = load_tile(memory + old + (U + 1) * FIELD, at.slot);
#pragma unroll
    for (int c = 0; c < 2; c++) {
        Real above[STRIP], left[ROWS];
        fetch_edges(edges_of_d, at.above, at.left, c, above, left);
        EACH_ROW a.u[c].of[i][0] += t.flow_x[0][1] * left[i];
#pragma unroll
        for (int j = 0; j < STRIP; j++) a.u[c].of[0][j] += t.flow_y[0][1] * above[j];
        store_edges<0, 0>(edges, at.slot, c, a.u[c], a.u[c]);
#if WITH_SUMS
        fetch_edges(of_p(old), at.above, at.left, c, above, left);
        Tile px = load_tile(memory + old + (PX + c) * FIELD, at.slot);
        Tile py = load_tile(memory + old + (PY + c) * FIELD, at.slot);
#endif
        EACH_PIXEL {
            Real au = a.u[c].of[i][j];
            // the last column of px and the last row of py are kept at zero
            a.px[c].of[i][j] += t.div_x_here[j == STRIP - 1] * au;
            if (j > 0) a.px[c].of[i][j - (j > 0)] += t.div_x[0] * au;
            a.py[c].of[i][j] += t.div_y_here[i == ROWS - 1] * au;
            if (i > 0) a.py[c].of[i - (i > 0)][j] += t.div_y[0] * au;
            ADD(DIV, au * (j > 0 ? px.of[i][j - (j > 0)] : left[i]));
            ADD(DIV + 1, au * px.of[i][j]);
            ADD(DIV + 2, au * (i > 0 ? py.of[i - (i > 0)][j] : above[j]));
            ADD(DIV + 3, au * py.of[i][j]);
        }
    }
    EACH_PIXEL {
        Real gx = f.gx.of[i][j], gy = f.gy.of[i][j], inverse = f.inverse.of[i][j];
        Real free = (f.rho.of[i][j] + gx * ux.of[i][j] + gy * uy.of[i][j]) * inverse;
        Real step = clamped(free, t.limit);
        Real ax = a.u[0].of[i][j], ay = a.u[1].of[i][j];
        Real adj_step = gx * ax + gy * ay;
        // at a tie the clamp passes the gradient on, as torch.clamp does
        Real adj_free = magnitude(free) <= t.limit ? adj_step : 0;
        ADD(LIMIT, signed_by(adj_step - adj_free, free));
        Real adj_rho = adj_free * inverse;
        a.gx.of[i][j] += step * ax + adj_rho * ux.of[i][j];
        a.gy.of[i][j] += step * ay + adj_rho * uy.of[i][j];
        a.square.of[i][j] += adj_rho * free;
        a.rho.of[i][j] += adj_rho;
        a.u[0].of[i][j] = ax + adj_rho * gx;
        a.u[1].of[i][j] = ay + adj_rho * gy;
    }
}


// An iteration from the state at `old` in shared memory to the one at `fresh`.
__device__ inline void iterate(State &s, const Fixed &f, const Taps &t, const Place &at, int old,
                               int fresh) {
    primal(s, f, t, at, of_p(old));
    store_u(memory + fresh, at.slot, s);
    barrier();
    dual(s, t, at, of_u(fresh));
    store_p(memory + fresh, at.slot, s);
    barrier();
}

// --- the end of the backward ---------------------------------------------------------------------

// Adjoint of grad F2's x- (0) or y-part (1) at any pixel, from shared memory: those of a block's
// planes, one after the other.
constexpr int GATHERED = WORKERS * ROWS * STRIP;

__device__ inline Real gathered(const Place &at, int part, int row, int column) {
    if (row < 0 || row >= HEIGHT || column < 0 || column >= WIDTH) return 0;
    int pixel = (at.plane * BAND_ROWS + row % BAND_ROWS) * WIDTH + column;
    return fetch_one(neighbour(part * GATHERED + pixel, row / BAND_ROWS), 0);
}

// Adjoint of `prepare` for the frames.
__device__ inline void store_frames(const Adjoint &a, const Real *image, const Place &at, bool store,
                                    FRAME *grad1, FRAME *grad2) {
    if (at.works) EACH_PIXEL {
        int pixel = (at.plane * BAND_ROWS + (at.row + i) % BAND_ROWS) * WIDTH + at.column + j;
        memory[pixel] = a.gx.of[i][j];
        memory[GATHERED + pixel] = a.gy.of[i][j];
    }
    barrier();
    if (store) EACH_PIXEL {
        int row = at.row + i, column = at.column + j;
        Real two = a.rho.of[i][j], one = 0;
        for (int k = 0; k < 9; k++) {
            int y = row + 1 - k / 3, x = column + 1 - k % 3;  // the pixel that tap k weighs this for
            // on the border frame 1 has overwritten it
            if (x > 0 && x < WIDTH - 1) two += image[k] * gathered(at, 0, y, x);
            if (y > 0 && y < HEIGHT - 1) two += image[9 + k] * gathered(at, 1, y, x);
        }
        // there it is half the difference of a pixel and its neighbour in frame 1
        if (column == WIDTH - 1) one += a.gx.of[i][j];
        if (column == 0) one -= a.gx.of[i][j];
        if (column == 1) one += gathered(at, 0, row, 0);
        if (column == WIDTH - 2) one -= gathered(at, 0, row, WIDTH - 1);
        if (row == HEIGHT - 1) one += a.gy.of[i][j];
        if (row == 0) one -= a.gy.of[i][j];
        if (row == 1) one += gathered(at, 1, 0, column);
        if (row == HEIGHT - 2) one -= gathered(at, 1, HEIGHT - 1, column);
        put(grad1 + row * WIDTH + column, Real(0.5) * one - a.rho.of[i][j]);
        put(grad2 + row * WIDTH + column, two);
    }
    barrier();
}

// Adjoint of `prepare` for the image kernels: a thread's share of their sums.
__device__ inline void add_image(Sums &sums, const Adjoint &a, const FRAME *frame2, const Place &at) {
    Window two = window_of(frame2, at);
    EACH_PIXEL {
        int row = at.row + i, column = at.column + j;
        Real gx = column > 0 && column < WIDTH - 1 ? a.gx.of[i][j] : 0;
        Real gy = row > 0 && row < HEIGHT - 1 ? a.gy.of[i][j] : 0;
#pragma unroll
        for (int k = 0; k < 9; k++) {
            sums.of[IMAGE + k] += gx * two.of[i + k / 3][j + k % 3];
            sums.of[IMAGE + 9 + k] += gy * two.of[i + k / 3][j + k % 3];
        }
    }
}

// The sums of a block's planes, in a fixed order: first TEAM threads for each, then one.
constexpr int PER_PLANE = WORKERS / PLANES, ALL_SUMS = SUMS * PLANES;
constexpr int TEAM = WORKERS >= 2 * ALL_SUMS ? WORKERS / ALL_SUMS : 1;
// in doubles, behind the threads' sums
constexpr int SHARES = (SUMS * WORKERS * sizeof(Real) + 7) / sizeof(double);
constexpr int TOTALS = SHARES + ALL_SUMS * TEAM;

// Writes the 29 sums of a plane's part in this block: of its 26 taps, theta, lambda and tau.
__device__ inline void store_sums(const Sums &sums, const Real *taps, const Real *scalars,
                                  const Place &at, bool store, double *to) {
    double *doubles = (double *)memory;
    if (at.works)
        for (int k = 0; k < SUMS; k++) memory[k * WORKERS + at.slot] = sums.of[k];
    barrier();
    for (int n = threadIdx.x; n < ALL_SUMS * TEAM; n += THREADS) {
        double share = 0;
        for (int k = n % TEAM; k < PER_PLANE; k += TEAM)
            share += memory[n / TEAM * PER_PLANE + k];
        doubles[SHARES + n] = share;
    }
    barrier();
    for (int n = threadIdx.x; n < ALL_SUMS; n += THREADS) {
        double total = 0;
        for (int k = 0; k < TEAM; k++) total += doubles[SHARES + n * TEAM + k];
        doubles[TOTALS + n] = total;
    }
    barrier();
    if (store) {
        // chain rule through theta * divergence, lambda * theta and tau / theta * grad u
        auto total = [&](int k) { return doubles[TOTALS + k * PLANES + at.plane]; };
        double theta = scalars[0], lambda = scalars[1], tau = scalars[2], rate = tau / theta;
        double of_theta = lambda * total(LIMIT), of_rate = rate * 1e-12 * total(ROOT);
        for (int k = 0; k < 4; k++) {
            of_theta += taps[4 + k] * total(DIV + k);
            of_rate += taps[k] * total(FLOW + k);
            to[18 + k] = rate * total(FLOW + k);
            to[22 + k] = theta * total(DIV + k);
        }
        for (int k = 0; k < 18; k++) to[k] = total(IMAGE + k);
        to[26] = of_theta - rate / theta * of_rate;
        to[27] = theta * total(LIMIT);
        to[28] = of_rate / theta;
    }
    barrier();
}

static_assert((STATES + KEPT * STATE) * sizeof(Real) <= SHARED, "shared memory as launched with");
static_assert((TOTALS + ALL_SUMS) * sizeof(double) <= SHARED, "shared memory as launched with");

struct Gradients {
    FRAME *grad1, *grad2;
    Planes planes;
    double *sums;   // [planes, BANDS, 29]
    Real *stored;  // room for `segments` - 2 states of each block
    int segments;  // of LENGTH iterations
};

// The states of an iteration are computed again, a segment at a time from stored states, and kept in
// shared memory while the adjoint goes back through them.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) CLUSTER
flow_backward(const Inputs in, const Flow cotangent, const Gradients out) {
    const Edges edges_a = area(EDGES_A), edges_b = area(EDGES_B);
    Place at = place();
    Real *stored = out.stored + (long long)blockIdx.x * (out.segments - 2) * STATE;
#pragma unroll 1
    for (int group = blockIdx.x / BANDS; group * PLANES < in.n_planes; group += gridDim.x / BANDS) {
        int wanted = group * PLANES + at.plane;
        int plane = wanted < in.n_planes ? wanted : in.n_planes - 1;
        int channel = plane % in.planes1.channels;
        const Real *image = in.taps + 26 * channel, *taps = image + 18;
        const FRAME *frame2 = in.frame2 + start_of(in.planes2, plane);
        Fixed f = prepare(in.frame1 + start_of(in.planes1, plane), frame2, image, at);
        Taps t = taps_of(taps, in.scalars, at);
        State s = {};
        clear_edges(edges_a, at);
        clear_edges(edges_b, at);
        if (threadIdx.x == 0)
            for (int n = 0; n < KEPT; n++) store_state(memory + kept(n), ZERO, s);
        barrier();

        // forward, to where the last segment starts
#pragma unroll 1
        for (int n = 0; n < (out.segments - 1) * LENGTH; n++) {
            if (n > 0 && n % LENGTH == 0) store_state(stored + (n / LENGTH - 1) * STATE, at.slot, s);
            advance(s, f, t, at, edges_a, edges_b);
        }

        clear_edges(edges_a, at);
        clear_edges(edges_b, at);
        Adjoint a = {};
        Sums sums = {};
        for (int c = 0; c < 2; c++)
            a.u[c] = pixels_of(cotangent.pixels + start_of_flow(cotangent.planes, plane, c), at);
#pragma unroll 1
        for (int segment = out.segments - 1; segment >= 0; segment--) {
            int first = segment * LENGTH;
            int last = segment == out.segments - 1 ? in.n_iter - 1 : first + LENGTH - 1;
            if (segment < out.segments - 1)
                s = segment > 0 ? load_state(stored + (segment - 1) * STATE, at.slot) : State{};
            store_state(memory + kept(first), at.slot, s);
            barrier();
#pragma unroll 1
            for (int n = first; n < last; n++) iterate(s, f, t, at, kept(n), kept(n + 1));
#pragma unroll 1
            for (int n = last; n >= first; n--) {
                if (n < in.n_iter - 1) {  // the last iteration's p is not used
                    dual_adjoint(a, sums, t, at, kept(n + 1), edges_b, edges_a);
                    barrier();
                }
                primal_adjoint(a, sums, f, t, at, kept(n), edges_a, edges_b);
                barrier();
            }
        }

        EACH_PIXEL {
            a.gx.of[i][j] += 2 * a.square.of[i][j] * f.gx.of[i][j];
            a.gy.of[i][j] += 2 * a.square.of[i][j] * f.gy.of[i][j];
        }
        bool store = at.works && wanted < in.n_planes;
        long long start = start_of(out.planes, plane);
        store_frames(a, image, at, store, out.grad1 + start, out.grad2 + start);
#if WITH_SUMS
        add_image(sums, a, frame2, at);
        bool first = at.row == band() * BAND_ROWS && at.column == 0;
        store_sums(sums, taps, in.scalars, at, store && first,
                   out.sums + 29 * ((long long)plane * BANDS + band()));
#endif
    }
}

#endif
