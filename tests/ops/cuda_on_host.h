// The names of device.cuh for an ordinary compiler: kernels run on the CPU, a fibre for each thread.
//
// A fibre runs to its next barrier, then another one's turn comes, in an order that changes with
// every barrier; when all of a cluster are there, they go on. Two threads that need a barrier between
// them, and have none, thus differ in their results from order to order. Shared memory is NaN at
// first. With ROUGH the fast functions are off by as much as the GPU's may be, by chance up or down.

#include <ucontext.h>

// Few headers: they take most of the time of compiling.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __launch_bounds__(threads, blocks)
#define CLUSTER

#ifdef DOUBLE
typedef double Real;
#else
typedef float Real;
#endif

struct alignas(PACK * sizeof(Real)) Pack { Real of[PACK]; };

// --- numbers -------------------------------------------------------------------------------------

inline Real off(Real x) {
#ifdef ROUGH
    uint64_t bits = 0;
    std::memcpy(&bits, &x, sizeof x);
    bits *= 0x9E3779B97F4A7C15u;
    return x * (1 + (bits >> 63 ? 1 : -1) * Real(2.4e-7));  // 2 ulp
#else
    return x;
#endif
}

inline Real reciprocal(Real x) { return off(1 / x); }
inline Real root(Real x) { return off(std::sqrt(x)); }
inline Real reciprocal_root(Real x) { return off(1 / std::sqrt(x)); }
inline Real magnitude(Real x) { return std::fabs(x); }
inline Real signed_by(Real x, Real y) { return std::signbit(y) ? -x : x; }

inline Real clamped(Real x, Real limit) {
    if (std::isnan(limit)) return limit;
    return x < -limit ? -limit : x > limit ? limit : x;
}

struct Half { _Float16 bits; };
struct Brain { uint16_t bits; };

inline Real real(Real x) { return x; }
inline Real real(Half x) { return Real(x.bits); }
inline Real real(Brain x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float found;
    std::memcpy(&found, &bits, 4);
    return found;
}

inline void put(Real *to, Real x) { *to = x; }
inline void put(Half *to, Real x) { to->bits = _Float16(x); }
inline void put(Brain *to, Real x) {
    float single = float(x);
    uint32_t bits;
    std::memcpy(&bits, &single, 4);
    to->bits = uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

// --- blocks of a cluster -------------------------------------------------------------------------

struct Index { int x; };
static Index threadIdx, blockIdx, gridDim;

static std::vector<Real> memories[BANDS];
static Real *memory;
static ucontext_t scheduler, *running;

inline int band() { return blockIdx.x % BANDS; }
inline void barrier() { swapcontext(running, &scheduler); }

typedef const Real *Neighbour;
inline Neighbour neighbour(int index, int of_band) { return memories[of_band].data() + index; }
inline Pack fetch(Neighbour from, int offset) { return *(const Pack *)(from + offset); }
inline Real fetch_one(Neighbour from, int offset) { return from[offset]; }
