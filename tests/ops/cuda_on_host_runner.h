// Runs the kernels of flow.cu on the names of cuda_on_host.h.

struct Fibre {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 17);
    int thread, block;
    bool done;
};

static void (*kernel)();
static Fibre *current;
static uint32_t random_state;

// Below n, by the generator of Numerical Recipes, whose upper bits are the random ones.
static int drawn(int n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 16) % n;
}

static void entry() {
    kernel();
    current->done = true;
    swapcontext(&current->context, &scheduler);
}

// Number of faults: threads that ended while others waited at a barrier, memory written beyond.
static int run(void (*body)(), int blocks, unsigned seed) {
    kernel = body;
    random_state = seed;
    constexpr int CLUSTERED = THREADS * BANDS, GUARD = 64;
    std::vector<Fibre> fibres(CLUSTERED);
    std::vector<int> order(CLUSTERED);
    for (int n = 0; n < CLUSTERED; n++) order[n] = n;
    int faults = 0;
    gridDim.x = blocks;
    for (int first = 0; first < blocks; first += BANDS) {
        for (auto &each : memories)
            each.assign(SHARED / sizeof(Real) + GUARD, std::numeric_limits<Real>::quiet_NaN());
        for (int n = 0; n < CLUSTERED; n++) {
            Fibre &fibre = fibres[n];
            fibre.thread = n % THREADS;
            fibre.block = first + n / THREADS;
            fibre.done = false;
            getcontext(&fibre.context);
            fibre.context.uc_stack.ss_sp = fibre.stack.data();
            fibre.context.uc_stack.ss_size = fibre.stack.size();
            fibre.context.uc_link = nullptr;
            makecontext(&fibre.context, entry, 0);
        }
        int done = 0;
        while (done == 0) {
            for (int n = CLUSTERED; n > 1; n--) std::swap(order[n - 1], order[drawn(n)]);
            for (int n : order) {
                current = &fibres[n];
                running = &current->context;
                threadIdx.x = current->thread;
                blockIdx.x = current->block;
                memory = memories[current->block % BANDS].data();
                swapcontext(&scheduler, running);
                done += current->done;
            }
        }
        faults += done != CLUSTERED;
        for (auto &each : memories)
            for (int n = 0; n < GUARD; n++) faults += !std::isnan(each[each.size() - GUARD + n]);
    }
    return faults;
}

static const Inputs *inputs;
static const Flow *field;  // the forward's result, the backward's cotangent

#ifndef KEPT
extern "C" int run_forward(const Inputs *in, const Flow *out, int blocks, unsigned seed) {
    inputs = in, field = out;
    return run([] { flow_forward(*inputs, *field); }, blocks, seed);
}
#else
static const Gradients *gradients;

extern "C" int run_backward(const Inputs *in, const Flow *cotangent, const Gradients *out, int blocks,
                            unsigned seed) {
    inputs = in, field = cotangent, gradients = out;
    return run([] { flow_backward(*inputs, *field, *gradients); }, blocks, seed);
}
#endif
