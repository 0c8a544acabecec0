// What the kernels of flow.cu take from the GPU: its fast functions, barriers, memory of neighbours.
// A test puts the same names there for an ordinary compiler and runs the kernels on the CPU.

// --- numbers -------------------------------------------------------------------------------------

typedef float Real;

struct alignas(PACK * sizeof(Real)) Pack { Real of[PACK]; };  // what one instruction moves

// Each is off by an ulp or two, one instruction long, and never takes a subnormal number here.
__device__ inline float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ inline float root(float x) {
    float y;
    asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ inline float reciprocal_root(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// x between -limit and limit; NaN where either is, which fminf and fmaxf would hide.
__device__ inline float clamped(float x, float limit) {
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(-limit));
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(y), "f"(limit));
    return y;
}

__device__ inline float magnitude(float x) { return fabsf(x); }

// x, or -x where y is negative.
__device__ inline float signed_by(float x, float y) {
    return __uint_as_float(__float_as_uint(x) ^ (__float_as_uint(y) & 0x80000000u));
}

// Frames of 16 bits are computed with in 32. Half: the sixteen bits of an IEEE number; Brain: the
// upper sixteen of a float.
struct Half { unsigned short bits; };
struct Brain { unsigned short bits; };

__device__ inline float real(float x) { return x; }

__device__ inline float real(Half x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

__device__ inline float real(Brain x) { return __uint_as_float((unsigned)x.bits << 16); }

__device__ inline void put(float *to, float x) { *to = x; }

__device__ inline void put(Half *to, float x) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to->bits) : "f"(x));
}

__device__ inline void put(Brain *to, float x) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to->bits) : "f"(x));
}

// --- a block's memory, and that of the blocks above and below in its cluster -----------------------

extern __shared__ float4 memory_[];  // of 16 bytes, which is what its alignment shall be
#define memory ((Real *)memory_)

#if BANDS == 1

#define CLUSTER

__device__ inline int band() { return 0; }
__device__ inline void barrier() { __syncthreads(); }

typedef const Real *Neighbour;
__device__ inline Neighbour neighbour(int index, int) { return memory + index; }
__device__ inline Pack fetch(Neighbour from, int offset) { return *(const Pack *)(from + offset); }
__device__ inline Real fetch_one(Neighbour from, int offset) { return from[offset]; }

#else

#define CLUSTER __cluster_dims__(BANDS, 1, 1)

__device__ inline int band() {
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

// Of all threads of a plane; what they wrote before is seen after.
__device__ inline void barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

typedef unsigned Neighbour;

__device__ inline Neighbour neighbour(int index, int of_band) {
    unsigned own = __cvta_generic_to_shared(memory + index), there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(own), "r"(of_band));
    return there;
}

__device__ inline Real fetch_one(Neighbour from, int offset) {
    Real x;
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(from + 4 * offset) : "memory");
    return x;
}

__device__ inline Pack fetch(Neighbour from, int offset) {
    Pack p;
    unsigned at = from + 4 * offset;
#if PACK == 4
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(p.of[0]), "=f"(p.of[1]), "=f"(p.of[2]), "=f"(p.of[3]) : "r"(at) : "memory");
#elif PACK == 2
    asm volatile("ld.shared::cluster.v2.f32 {%0, %1}, [%2];"
                 : "=f"(p.of[0]), "=f"(p.of[1]) : "r"(at) : "memory");
#else
    p.of[0] = fetch_one(from, offset);
#endif
    return p;
}

#endif
