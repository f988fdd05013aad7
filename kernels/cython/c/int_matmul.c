/* Matrix products of integers on one instruction set: plain loops that become SIMD. */
#include "int_matmul.h"

#include "simd/simd.h"
#include "table.h"
#include "threads.h"

/* One row of one item per task. */
#define INT_MATMUL(S, T, W, LEAST, GREATEST)                                                                           \
    static void KI_NAME(S##_int_matmul_row)(void *context, ptrdiff_t index, int slot) {                                \
        (void)slot;                                                                                                    \
        const ki_int_matmul_args *g = context;                                                                         \
        const ptrdiff_t *offsets = g->offsets + index / g->m * 3, row = index % g->m, n = g->n;                        \
        const T *a = (const T *)g->a + offsets[0] + row * g->a_row, *b = (const T *)g->b + offsets[1];                 \
        const T *bias = g->bias;                                                                                       \
        T *restrict y = (T *)g->y + offsets[2] + row * n;                                                              \
        for (ptrdiff_t j = 0; j < n; j++) y[j] = bias ? bias[j] : 0;                                                   \
        for (ptrdiff_t i = 0; i < g->k; i++) {                                                                         \
            const T x = a[i * g->a_col], *line = b + i * g->b_row;                                                     \
            if (g->b_col == 1)                                                                                         \
                for (ptrdiff_t j = 0; j < n; j++) y[j] = (T)((W)y[j] + (W)x * (W)line[j]);                             \
            else                                                                                                       \
                for (ptrdiff_t j = 0; j < n; j++) y[j] = (T)((W)y[j] + (W)x * (W)line[j * g->b_col]);                  \
        }                                                                                                              \
        if (g->clamp)                                                                                                  \
            for (ptrdiff_t j = 0; j < n; j++) y[j] = y[j] < 0 ? 0 : g->clamp == 2 && y[j] > 6 ? 6 : y[j];              \
    }                                                                                                                  \
    static void KI_NAME(S##_int_matmul)(const ki_int_matmul_args *g) {                                                 \
        const int threads = g->items * g->m * g->n * g->k < 65536 ? 1 : g->threads;                                    \
        if (g->m && g->n) ki_parallel(KI_NAME(S##_int_matmul_row), (void *)g, g->items * g->m, threads);               \
    }

#pragma GCC diagnostic ignored "-Wtype-limits" /* y < 0 of unsigned types */
KI_INTEGERS(INT_MATMUL)
ki_int_matmul *const KI_NAME(ki_int_matmul)[KI_DTYPES] = KI_ROW_INTEGERS(int_matmul);
