/* Compiled once per instruction set, so a peak is that of the kernels in use. */
#include "probe.h"

#include "simd/simd.h"

/* Latency 4 at two per clock needs 8 chains; 12 leave a reserve and fit into 16 registers. */
enum { CHAINS = 12, STREAMS = 8 };

double KI_NAME(f32_probe_flops)(long rounds, float *sink) {
    vf32 a[CHAINS];
    const vf32 x = vf32_set1(0.999f), y = vf32_set1(1e-3f);
    for (int c = 0; c < CHAINS; c++) a[c] = vf32_set1((float)c);
    for (long r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++) a[c] = vf32_fma(a[c], x, y);
    }
    for (int c = 1; c < CHAINS; c++) a[0] = vf32_add(a[0], a[c]);
    float lanes[VF32_LANES];
    vf32_store(lanes, a[0]);
    *sink = lanes[0];
    return 2.0 * CHAINS * VF32_LANES * (double)rounds;
}

float KI_NAME(f32_probe_read)(const float *x, ptrdiff_t n) {
    vf32 a[STREAMS];
    for (int s = 0; s < STREAMS; s++) a[s] = vf32_zero();
    for (ptrdiff_t i = 0; i + STREAMS * VF32_LANES <= n; i += STREAMS * VF32_LANES) {
#pragma GCC unroll 8
        for (int s = 0; s < STREAMS; s++) a[s] = vf32_add(a[s], vf32_load(x + i + s * VF32_LANES));
    }
    for (int s = 1; s < STREAMS; s++) a[0] = vf32_add(a[0], a[s]);
    float lanes[VF32_LANES], total = 0;
    vf32_store(lanes, a[0]);
    for (int i = 0; i < VF32_LANES; i++) total += lanes[i];
    return total;
}
