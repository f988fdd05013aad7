/* Weights for the algorithms of winograd.h: transformed in double precision, rounded once, written in panels. */
#include <float.h>
#include <math.h>

#include "simd/simd.h"
#include "table.h"
#include "threads.h"

/* Input channels of a task: so few that threads end at the same time, so many that a task is worth handing out. */
enum { L = VF32_LANES, ROWS = 16 };

typedef struct {
    const ki_winograd_pack_args *args;
    ptrdiff_t blocks;
    int unfit;
} packing;

/* All taps of L output channels of one input channel as doubles, zeros beyond ``valid``; whether all are finite. */
KI_INLINE int KI_NAME(f32_winograd_load)(const ki_winograd_pack_args *args, const float *w, ptrdiff_t valid,
                                         double tap[KI_WINOGRAD_TAPS][KI_WINOGRAD_TAPS][L]) {
    double most[L] = {0};
    for (int i = 0; i < args->taps[0]; i++)
        for (int j = 0; j < args->taps[1]; j++) {
            const float *from = w + i * args->tap_step[0] + j * args->tap_step[1];
            double *to = tap[i][j];
            if (valid >= L)
                for (int k = 0; k < L; k++) to[k] = from[k];
            else
                for (int k = 0; k < L; k++) to[k] = k < valid ? from[k] : 0;
            for (int k = 0; k < L; k++) most[k] += to[k] * 0; /* NaN if one is not finite */
        }
    int finite = 1;
    for (int k = 0; k < L; k++) finite &= most[k] == 0;
    return finite;
}

/* s = the sum of g[t] * x[t] over taps, from zero up; factors of zero are left out. */
KI_INLINE void KI_NAME(f32_winograd_sum)(int taps, const double *g, const double *x, ptrdiff_t step, double *s) {
    for (int k = 0; k < L; k++) s[k] = 0;
    for (int t = 0; t < taps; t++)
        if (g[t] != 0)
            for (int k = 0; k < L; k++) s[k] += g[t] * x[t * step + k];
}

static void KI_NAME(f32_winograd_pack_rows)(void *context, ptrdiff_t task, int slot) {
    (void)slot;
    packing *p = context;
    const ki_winograd_pack_args *args = p->args;
    const ptrdiff_t first = task / p->blocks * args->width, from = task % p->blocks * ROWS;
    const ptrdiff_t to = args->cin - from < ROWS ? args->cin : from + ROWS;
    const ptrdiff_t padded = (args->cout + L - 1) / L * L;
    const ptrdiff_t width = padded - first < args->width ? padded - first : args->width;
    const int p0 = args->points[0], p1 = args->points[1];
    double tap[KI_WINOGRAD_TAPS][KI_WINOGRAD_TAPS][L], half[KI_WINOGRAD_TAPS][L], s[L], peak[L] = {0};
    int finite = 1;
    for (ptrdiff_t c = from; c < to; c++)
        for (ptrdiff_t l = first; l < first + width; l += L) {
            finite &= KI_NAME(f32_winograd_load)(args, args->w + c * args->cout + l, args->cout - l, tap);
            float *y = args->packed + (ptrdiff_t)p0 * p1 * args->cin * first + c * width + l - first;
            for (int a = 0; a < p0; a++) {
                for (int j = 0; j < args->taps[1]; j++)
                    KI_NAME(f32_winograd_sum)(args->taps[0], args->g[0][a], tap[0][j], KI_WINOGRAD_TAPS * L, half[j]);
                for (int b = 0; b < p1; b++, y += args->cin * width) {
                    KI_NAME(f32_winograd_sum)(args->taps[1], args->g[1][b], half[0], L, s);
                    for (int k = 0; k < L; k++) {
                        peak[k] = fabs(s[k]) > peak[k] ? fabs(s[k]) : peak[k];
                        y[k] = (float)s[k];
                    }
                }
            }
        }
    for (int k = 0; k < L; k++) finite &= peak[k] <= args->largest;
    if (!finite) __atomic_store_n(&p->unfit, 1, __ATOMIC_RELAXED);
}

int KI_NAME(f32_winograd_pack)(const ki_winograd_pack_args *args) {
    packing p = {.args = args, .blocks = (args->cin + ROWS - 1) / ROWS};
    const ptrdiff_t panels = ((args->cout + L - 1) / L * L + args->width - 1) / args->width;
    ki_parallel(KI_NAME(f32_winograd_pack_rows), &p, panels * p.blocks, args->threads);
    const ptrdiff_t points = (ptrdiff_t)args->points[0] * args->points[1];
    float *zeros = args->packed + points * ((args->cout + L - 1) / L * L) * args->cin;
    for (ptrdiff_t c = 0; c < args->cin; c++) zeros[c] = 0;
    return !p.unfit;
}
