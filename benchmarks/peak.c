// Chains of independent multiply-adds on registers, to find how many FLOP/s one core can do.
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef float vec __attribute__((vector_size(BYTES)));
enum { CHAINS = 12 }; // latency 4 x 2 per clock = 8, with a reserve; 12 accumulators fit into 16 registers

// Runs `rounds` rounds; returns the number of float operations. The result goes to *sink, so that nothing is left out.
double peak_run(long rounds, float *sink) {
    vec a[CHAINS], x, y;
    for (unsigned i = 0; i < BYTES / sizeof(float); i++) x[i] = 0.999f, y[i] = 1e-3f;
    for (int c = 0; c < CHAINS; c++) a[c] = y * (float)c;
    for (long r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) a[c] = a[c] * x + y;
    }
    vec total = a[0];
    for (int c = 1; c < CHAINS; c++) total += a[c];
    *sink = total[0];
    return 2.0 * CHAINS * (BYTES / sizeof(float)) * (double)rounds;
}
