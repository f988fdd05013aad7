// How many FLOP/s one core can do (chains of independent multiply-adds on registers), and how fast it reads memory.
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

// Reads `bytes` (a multiple of 8 vectors) at `from` once. The sum goes to *sink.
void peak_read(const float *from, long bytes, float *sink) {
    enum { STREAMS = 8 };
    const vec *at = (const vec *)from, *end = (const vec *)((const char *)from + bytes);
    vec a[STREAMS] = {{0}};
    for (; at < end; at += STREAMS)
        for (int c = 0; c < STREAMS; c++) a[c] += at[c];
    for (int c = 1; c < STREAMS; c++) a[0] += a[c];
    *sink = a[0][0];
}
