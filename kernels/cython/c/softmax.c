/* Softmax on one instruction set: plain loops that become SIMD. */
#include "softmax.h"

#include "functions.h"
#include "simd/simd.h"
#include "table.h"
#include "threads.h"

enum { COLUMNS = 64 };

/* A task is one line, or, if the axis is not the last, up to COLUMNS neighbouring lines at once. The sums of a single line go
 * round COLUMNS accumulators, so that they are SIMD without reordering by the compiler; its end is filled up. y may be x. A NaN
 * is not found as the largest, but makes the sum a NaN, and with it the line. */
#define LARGER(top, v) ((v) > (top) ? (v) : (top))
#define ADD(a, b) ((a) + (b))
/* part[0] = all of part, joined by halves: one after the other takes 256 cycles. */
#define HALVED(JOIN)                                                                                                   \
    _Pragma("GCC unroll 8") for (int half = COLUMNS / 2; half; half /= 2) for (int c = 0; c < half; c++) part[c] =     \
        JOIN(part[c], part[c + half]);
#define SOFTMAX(S, T, W, LEAST, GREATEST)                                                                              \
    static void KI_NAME(S##_softmax_line)(void *context, ptrdiff_t index, int slot) {                                  \
        (void)slot;                                                                                                    \
        const ki_softmax_args *a = context;                                                                            \
        const ptrdiff_t n = a->n, whole = n / COLUMNS * COLUMNS;                                                       \
        const T *x = (const T *)a->x + index * n;                                                                      \
        T *y = (T *)a->y + index * n, part[COLUMNS], rest[COLUMNS], top, sum;                                          \
        for (int c = 0; c < COLUMNS; c++) part[c] = rest[c] = LEAST;                                                   \
        for (ptrdiff_t i = whole; i < n; i++) rest[i - whole] = x[i];                                                  \
        for (ptrdiff_t i = 0; i < whole; i += COLUMNS)                                                                 \
            for (int c = 0; c < COLUMNS; c++) part[c] = LARGER(part[c], x[i + c]);                                     \
        for (int c = 0; c < COLUMNS; c++) part[c] = LARGER(part[c], rest[c]);                                          \
        HALVED(LARGER)                                                                                                 \
        top = part[0];                                                                                                 \
        for (int c = 0; c < COLUMNS; c++) part[c] = 0;                                                                 \
        if (a->logarithm) {                                                                                            \
            for (ptrdiff_t i = 0; i < whole; i += COLUMNS)                                                             \
                for (int c = 0; c < COLUMNS; c++) part[c] += ki_exp_below_##S(x[i + c] - top);                         \
        } else {                                                                                                       \
            for (ptrdiff_t i = 0; i < whole; i += COLUMNS)                                                             \
                IVDEP for (int c = 0; c < COLUMNS; c++) part[c] += y[i + c] = ki_exp_below_##S(x[i + c] - top);        \
        }                                                                                                              \
        if (whole < n)                                                                                                 \
            for (int c = 0; c < COLUMNS; c++) part[c] += rest[c] = ki_exp_below_##S(rest[c] - top);                    \
        HALVED(ADD)                                                                                                    \
        sum = part[0];                                                                                                 \
        if (a->logarithm) {                                                                                            \
            const T log_sum = ki_log_##S(sum);                                                                         \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) y[i] = (x[i] - top) - log_sum;                                     \
        } else {                                                                                                       \
            const T factor = 1 / sum;                                                                                  \
            for (ptrdiff_t i = 0; i < whole; i++) y[i] *= factor;                                                      \
            for (ptrdiff_t i = whole; i < n; i++) y[i] = rest[i - whole] * factor;                                     \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_softmax_columns)(void *context, ptrdiff_t index, int slot) {                               \
        (void)slot;                                                                                                    \
        const ki_softmax_args *a = context;                                                                            \
        const ptrdiff_t blocks = (a->inner + COLUMNS - 1) / COLUMNS, first = index % blocks * COLUMNS;                 \
        const int count = a->inner - first < COLUMNS ? (int)(a->inner - first) : COLUMNS;                              \
        const T *x = (const T *)a->x + index / blocks * a->n * a->inner + first;                                       \
        T *y = (T *)a->y + index / blocks * a->n * a->inner + first, top[COLUMNS], sum[COLUMNS];                       \
        for (int c = 0; c < count; c++) top[c] = LEAST, sum[c] = 0;                                                    \
        for (ptrdiff_t i = 0; i < a->n; i++)                                                                           \
            for (int c = 0; c < count; c++) top[c] = LARGER(top[c], x[i * a->inner + c]);                              \
        for (ptrdiff_t i = 0; i < a->n; i++) IVDEP for (int c = 0; c < count; c++) {                                   \
                const T shifted = x[i * a->inner + c] - top[c], power = ki_exp_below_##S(shifted);                     \
                y[i * a->inner + c] = a->logarithm ? shifted : power;                                                  \
                sum[c] += power;                                                                                       \
            }                                                                                                          \
        for (int c = 0; c < count; c++) sum[c] = a->logarithm ? ki_log_##S(sum[c]) : 1 / sum[c];                       \
        for (ptrdiff_t i = 0; i < a->n; i++)                                                                           \
            for (int c = 0; c < count; c++)                                                                            \
                y[i * a->inner + c] = a->logarithm ? y[i * a->inner + c] - sum[c] : y[i * a->inner + c] * sum[c];      \
    }                                                                                                                  \
    static void KI_NAME(S##_softmax)(const ki_softmax_args *a) {                                                       \
        if (!a->n) return;                                                                                             \
        if (a->inner == 1)                                                                                             \
            ki_parallel(KI_NAME(S##_softmax_line), (void *)a, a->outer, a->outer * a->n < 4096 ? 1 : a->threads);      \
        else                                                                                                           \
            ki_parallel(KI_NAME(S##_softmax_columns), (void *)a, a->outer * ((a->inner + COLUMNS - 1) / COLUMNS),      \
                        a->threads);                                                                                   \
    }

KI_FLOATS(SOFTMAX)
ki_softmax *const KI_NAME(ki_softmax)[KI_DTYPES] = KI_ROW_FLOATS(softmax);
