/* bfloat16 in memory on one instruction set; the maps are plain C that the compiler turns into SIMD. */
#include "bfloat16.h"

#include "simd/bf16.h"
#include "simd/simd.h"
#include "table.h"
#include "threads.h"

typedef uint16_t bf16;
#define GET_bf16 vbf16_get
#define PUT_bf16 vbf16_put
#define GET_float(x) (x)
#define PUT_float(x) (x)

/* X(name, element type of x, of y, expression of x). Comparisons are false for NaN, so it passes. */
#define UNARY_MAPS(X)                                                                                                  \
    X(relu, bf16, bf16, x < 0 ? 0 : x)                                                                                 \
    X(relu6, bf16, bf16, x < 0 ? 0 : x > 6 ? 6 : x)                                                                    \
    X(narrow, float, bf16, x)                                                                                          \
    X(widen, bf16, float, x)

/* X(name, element type of b, expression of a and b); a and y are bfloat16. */
#define BINARY_MAPS(X)                                                                                                 \
    X(add, bf16, a + b)                                                                                                \
    X(mul, bf16, a *b)                                                                                                 \
    X(maximum, bf16, a > b || a != a ? a : b)                                                                          \
    X(add_f32, float, a + b)                                                                                           \
    X(mul_f32, float, a *b)                                                                                            \
    X(maximum_f32, float, a > b || a != a ? a : b)

#define UNARY_LOOP(name, E, O, EXPRESSION)                                                                             \
    static void KI_NAME(bf16_##name)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,            \
                                     ptrdiff_t n) {                                                                    \
        (void)s0, (void)x1, (void)s1;                                                                                  \
        const E *p = x0;                                                                                               \
        O *y = out;                                                                                                    \
        IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                      \
            const float x = GET_##E(p[i]);                                                                             \
            y[i] = PUT_##O(EXPRESSION);                                                                                \
        }                                                                                                              \
    }

#define BINARY_LOOP(name, E, EXPRESSION)                                                                               \
    static void KI_NAME(bf16_##name)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,            \
                                     ptrdiff_t n) {                                                                    \
        const bf16 *p = x0;                                                                                            \
        const E *q = x1;                                                                                               \
        bf16 *y = out;                                                                                                 \
        if (s0 && s1) {                                                                                                \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const float a = vbf16_get(p[i]), b = GET_##E(q[i]);                                                    \
                y[i] = vbf16_put(EXPRESSION);                                                                          \
            }                                                                                                          \
        } else if (s0) {                                                                                               \
            const float b = GET_##E(*q);                                                                               \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const float a = vbf16_get(p[i]);                                                                       \
                y[i] = vbf16_put(EXPRESSION);                                                                          \
            }                                                                                                          \
        } else {                                                                                                       \
            const float a = vbf16_get(*p);                                                                             \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const float b = GET_##E(q[s1 * i]);                                                                    \
                y[i] = vbf16_put(EXPRESSION);                                                                          \
            }                                                                                                          \
        }                                                                                                              \
    }

UNARY_MAPS(UNARY_LOOP)
BINARY_MAPS(BINARY_LOOP)

#define KIND(name, ...) {#name, KI_NAME(bf16_##name)},
const ki_bf16_map KI_NAME(ki_bf16_maps)[] = {UNARY_MAPS(KIND) BINARY_MAPS(KIND){NULL, NULL}};

enum { BLOCK = 4, RUN = 64, LEAST_SHARED = 64 * 1024 }; /* vectors; pixels of a partial sum; elements */

/* ``count`` vectors of channels, of which ``valid`` channels are there: sums of RUN pixels each, and the sum of those. */
KI_INLINE void mean_of(const ki_bf16_mean_args *a, const bf16 *x, float *y, const int count, ptrdiff_t valid) {
    vf32 total[BLOCK];
    for (int k = 0; k < count; k++) total[k] = vf32_zero();
    for (ptrdiff_t first = 0; first < a->pixels; first += RUN) {
        const ptrdiff_t end = first + RUN < a->pixels ? first + RUN : a->pixels;
        vf32 sum[BLOCK];
        for (int k = 0; k < count; k++) sum[k] = vf32_zero();
        for (ptrdiff_t p = first; p < end; p++)
            for (int k = 0; k < count; k++) {
                const bf16 *at = x + p * a->x_step + k * VF32_LANES;
                sum[k] = vf32_add(sum[k], valid < VF32_LANES ? vbf16_load_n(at, (size_t)valid) : vbf16_load(at));
            }
        for (int k = 0; k < count; k++) total[k] = vf32_add(total[k], sum[k]);
    }
    for (int k = 0; k < count; k++) {
        const vf32 mean = vf32_div(total[k], vf32_set1((float)a->pixels));
        if (valid < VF32_LANES)
            vf32_store_n(y + k * VF32_LANES, mean, (size_t)valid);
        else
            vf32_store(y + k * VF32_LANES, mean);
    }
}

static void KI_NAME(bf16_mean_block)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const ki_bf16_mean_args *a = context;
    const ptrdiff_t width = BLOCK * VF32_LANES, blocks = (a->channels + width - 1) / width;
    const ptrdiff_t image = index / blocks;
    ptrdiff_t c = index % blocks * width;
    const ptrdiff_t end = c + width < a->channels ? c + width : a->channels;
    const bf16 *x = (const bf16 *)a->x + image * a->pixels * a->x_step;
    float *y = a->y + image * a->channels;
    for (; c + width <= end; c += width) mean_of(a, x + c, y + c, BLOCK, VF32_LANES);
    for (; c + VF32_LANES <= end; c += VF32_LANES) mean_of(a, x + c, y + c, 1, VF32_LANES);
    if (c < end) mean_of(a, x + c, y + c, 1, end - c);
}

void KI_NAME(bf16_mean)(const ki_bf16_mean_args *a) {
    const ptrdiff_t width = BLOCK * VF32_LANES;
    ki_parallel(KI_NAME(bf16_mean_block), (void *)a, a->images * ((a->channels + width - 1) / width),
                a->images * a->pixels * a->channels < LEAST_SHARED ? 1 : a->threads);
}

/* With a known number of channels the compiler stores whole vectors. */
#define CHANNELS(N)                                                                                                    \
    for (ptrdiff_t p = 0; p < pixels; p++)                                                                             \
        for (int c = 0; c < N; c++) y[p * N + c] = x[c * pixels + p]

void KI_NAME(f32_channels_last)(const float *x, float *y, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t pixels) {
    for (ptrdiff_t i = 0; i < images; i++, x += channels * pixels, y += channels * pixels) {
        if (channels == 3)
            IVDEP CHANNELS(3);
        else if (channels == 4)
            IVDEP CHANNELS(4);
        else
            for (ptrdiff_t p = 0; p < pixels; p++)
                for (ptrdiff_t c = 0; c < channels; c++) y[p * channels + c] = x[c * pixels + p];
    }
}
