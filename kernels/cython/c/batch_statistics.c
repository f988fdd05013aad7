/* Batch normalisation by the batch's own statistics on one instruction set: two passes over the rows, forward and backward.
 *
 * A part adds up its rows in blocks that stay in the first cache, where the deviations from the block's mean are summed, too;
 * blocks and parts are joined as by Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983. */
#include "batch_statistics.h"

#include <math.h>
#include <string.h>

#include "simd/simd.h"
#include "table.h"
#include "threads.h"

enum { STATISTICS_BYTES = 16384, STATISTICS_APPLIED = 64 };

/* sums[c] and squares[c] (of deviations from the mean) of n rows take in those of more rows. */
static void KI_NAME(f64_statistics_join)(double *sums, double *squares, ptrdiff_t n, const double *more_sums,
                                         const double *more_squares, ptrdiff_t more, ptrdiff_t channels) {
    if (!n) {
        memcpy(sums, more_sums, (size_t)channels * sizeof(double));
        memcpy(squares, more_squares, (size_t)channels * sizeof(double));
        return;
    }
    const double share = (double)n * (double)more / (double)(n + more), each = 1.0 / (double)n,
                 other = 1.0 / (double)more;
    IVDEP for (ptrdiff_t c = 0; c < channels; c++) {
        const double apart = more_sums[c] * other - sums[c] * each;
        squares[c] += more_squares[c] + apart * apart * share;
        sums[c] += more_sums[c];
    }
}

/* The rows [from, to) of a part. */
static void KI_NAME(f64_statistics_rows)(const ki_batch_statistics_args *a, ptrdiff_t part, ptrdiff_t *from,
                                         ptrdiff_t *to) {
    const ptrdiff_t parts = ki_statistics_parts(a->rows);
    *from = a->rows / parts * part + (part < a->rows % parts ? part : a->rows % parts);
    *to = *from + a->rows / parts + (part < a->rows % parts);
}

/* statistics_block: sums and sums of squared deviations of a block of rows.
 * statistics_part: those of a part. gradient_part: sums of dy, and of dy * (x - mean).
 * Lines of the second pass: factor of x - mean (forward) or dy, of x - mean (backward), and what is added. */
#define BATCH_STATISTICS(S, T, W, LEAST, GREATEST)                                                                     \
    static void KI_NAME(S##_statistics_block)(const T *x, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t channels,          \
                                              double *sums, double *squares) {                                         \
        memset(sums, 0, (size_t)channels * sizeof(double));                                                            \
        memset(squares, 0, (size_t)channels * sizeof(double));                                                         \
        ptrdiff_t r = 0;                                                                                               \
        for (; r + 4 <= rows; r += 4) {                                                                                \
            const T *p = x + r * step, *q = p + step, *s = q + step, *t = s + step;                                    \
            IVDEP for (ptrdiff_t c = 0; c < channels; c++) sums[c] +=                                                  \
                ((double)p[c] + (double)q[c]) + ((double)s[c] + (double)t[c]);                                         \
        }                                                                                                              \
        for (; r < rows; r++) {                                                                                        \
            const T *p = x + r * step;                                                                                 \
            IVDEP for (ptrdiff_t c = 0; c < channels; c++) sums[c] += (double)p[c];                                    \
        }                                                                                                              \
        const double each = 1.0 / (double)rows;                                                                        \
        for (r = 0; r + 4 <= rows; r += 4) {                                                                           \
            const T *p = x + r * step, *q = p + step, *s = q + step, *t = s + step;                                    \
            IVDEP for (ptrdiff_t c = 0; c < channels; c++) {                                                           \
                const double m = sums[c] * each, d = (double)p[c] - m, e = (double)q[c] - m, f = (double)s[c] - m;     \
                const double g = (double)t[c] - m;                                                                     \
                squares[c] += (d * d + e * e) + (f * f + g * g);                                                       \
            }                                                                                                          \
        }                                                                                                              \
        for (; r < rows; r++) {                                                                                        \
            const T *p = x + r * step;                                                                                 \
            IVDEP for (ptrdiff_t c = 0; c < channels; c++) {                                                           \
                const double d = (double)p[c] - sums[c] * each;                                                        \
                squares[c] += d * d;                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_statistics_part)(void *context, ptrdiff_t part, int slot) {                                \
        (void)slot;                                                                                                    \
        const ki_batch_statistics_args *a = context;                                                                   \
        double *sums = a->sums + part * 4 * a->channels, *squares = sums + a->channels;                                \
        double *more = squares + a->channels, *more_squares = more + a->channels;                                      \
        ptrdiff_t from, to, block = STATISTICS_BYTES / (ptrdiff_t)sizeof(T) / a->channels / 4 * 4;                     \
        block = block < 8 ? 8 : block;                                                                                 \
        KI_NAME(f64_statistics_rows)(a, part, &from, &to);                                                             \
        for (ptrdiff_t row = from; row < to; row += block) {                                                           \
            const ptrdiff_t count = to - row < block ? to - row : block;                                               \
            const T *x = (const T *)a->x + row * a->x_step;                                                            \
            KI_NAME(S##_statistics_block)(x, a->x_step, count, a->channels, more, more_squares);                       \
            KI_NAME(f64_statistics_join)(sums, squares, row - from, more, more_squares, count, a->channels);           \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_gradient_part)(void *context, ptrdiff_t part, int slot) {                                  \
        (void)slot;                                                                                                    \
        const ki_batch_statistics_args *a = context;                                                                   \
        double *sums = a->sums + part * 4 * a->channels, *products = sums + a->channels;                               \
        const T *mean = a->mean;                                                                                       \
        ptrdiff_t row, to;                                                                                             \
        KI_NAME(f64_statistics_rows)(a, part, &row, &to);                                                              \
        memset(sums, 0, (size_t)a->channels * 2 * sizeof(double));                                                     \
        for (; row + 2 <= to; row += 2) {                                                                              \
            const T *x = (const T *)a->x + row * a->x_step, *x2 = x + a->x_step;                                       \
            const T *dy = (const T *)a->dy + row * a->dy_step, *dy2 = dy + a->dy_step;                                 \
            IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) {                                                        \
                const double m = (double)mean[c], d = (double)dy[c], e = (double)dy2[c];                               \
                sums[c] += d + e;                                                                                      \
                products[c] += d * ((double)x[c] - m) + e * ((double)x2[c] - m);                                       \
            }                                                                                                          \
        }                                                                                                              \
        for (; row < to; row++) {                                                                                      \
            const T *x = (const T *)a->x + row * a->x_step, *dy = (const T *)a->dy + row * a->dy_step;                 \
            IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) {                                                        \
                sums[c] += (double)dy[c];                                                                              \
                products[c] += (double)dy[c] * ((double)x[c] - (double)mean[c]);                                       \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_statistics_apply)(void *context, ptrdiff_t task, int slot) {                               \
        (void)slot;                                                                                                    \
        const ki_batch_statistics_args *a = context;                                                                   \
        const T *mean = a->mean, *by = a->lines, *of_x = by + a->channels, *rest = of_x + a->channels;                 \
        ptrdiff_t row = task * STATISTICS_APPLIED;                                                                     \
        const ptrdiff_t to = a->rows - row < STATISTICS_APPLIED ? a->rows : row + STATISTICS_APPLIED;                  \
        for (; row < to; row++) {                                                                                      \
            const T *x = (const T *)a->x + row * a->x_step;                                                            \
            T *out = (T *)a->out + row * a->out_step;                                                                  \
            if (a->dy) {                                                                                               \
                const T *dy = (const T *)a->dy + row * a->dy_step;                                                     \
                IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) out[c] =                                             \
                    dy[c] * by[c] + (x[c] - mean[c]) * of_x[c] + rest[c];                                              \
            } else                                                                                                     \
                IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) out[c] = (x[c] - mean[c]) * by[c] + rest[c];         \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_statistics_finish)(const ki_batch_statistics_args *a) {                                    \
        const double *sums = a->sums, *squares = sums + a->channels, rows = (double)a->rows, f = a->factor;            \
        const double unbiased = rows / (a->rows > 1 ? rows - 1 : 1);                                                   \
        const T *scale = a->scale, *offset = a->offset, *old_mean = a->old_mean, *old_variance = a->old_variance;      \
        T *mean = a->mean, *variance = a->variance, *new_mean = a->new_mean, *new_variance = a->new_variance;          \
        T *by = a->lines, *rest = by + 2 * a->channels;                                                                \
        for (ptrdiff_t c = 0; c < a->channels; c++) {                                                                  \
            const double m = sums[c] / rows, v = squares[c] / rows;                                                    \
            mean[c] = (T)m;                                                                                            \
            variance[c] = (T)v;                                                                                        \
            new_mean[c] = f == 1 ? (T)m : (T)((1 - f) * (double)old_mean[c] + f * m);                                  \
            new_variance[c] = f == 1 ? (T)(v * unbiased) : (T)((1 - f) * (double)old_variance[c] + f * v * unbiased);  \
            by[c] = (T)((double)scale[c] / sqrt(v + a->epsilon));                                                      \
            rest[c] = (T)((double)offset[c] + ((double)mean[c] - m) * (double)by[c]); /* what rounding m took */       \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_gradient_finish)(const ki_batch_statistics_args *a) {                                      \
        const double *sums = a->sums, *products = sums + a->channels, each = 1 / (double)a->rows;                      \
        const T *scale = a->scale, *variance = a->variance;                                                            \
        T *d_scale = a->d_scale, *d_offset = a->d_offset;                                                              \
        T *by = a->lines, *of_x = by + a->channels, *rest = of_x + a->channels;                                        \
        for (ptrdiff_t c = 0; c < a->channels; c++) {                                                                  \
            const double inverse = 1 / sqrt((double)variance[c] + a->epsilon), b = (double)scale[c] * inverse;         \
            d_scale[c] = (T)(products[c] * inverse);                                                                   \
            d_offset[c] = (T)sums[c];                                                                                  \
            by[c] = (T)b;                                                                                              \
            of_x[c] = (T)(-b * inverse * inverse * products[c] * each);                                                \
            rest[c] = (T)(-b * sums[c] * each);                                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_batch_statistics)(const ki_batch_statistics_args *a) {                                     \
        const ptrdiff_t parts = ki_statistics_parts(a->rows), channels = a->channels;                                  \
        ki_parallel(a->dy ? KI_NAME(S##_gradient_part) : KI_NAME(S##_statistics_part), (void *)a, parts, a->threads);  \
        double *sums = a->sums;                                                                                        \
        for (ptrdiff_t part = 1; part < parts; part++) {                                                               \
            const double *more = sums + part * 4 * channels;                                                           \
            ptrdiff_t from, to;                                                                                        \
            KI_NAME(f64_statistics_rows)(a, part, &from, &to);                                                         \
            if (!a->dy)                                                                                                \
                KI_NAME(f64_statistics_join)(sums, sums + channels, from, more, more + channels, to - from, channels); \
            else                                                                                                       \
                IVDEP for (ptrdiff_t c = 0; c < 2 * channels; c++) sums[c] += more[c];                                 \
        }                                                                                                              \
        (a->dy ? KI_NAME(S##_gradient_finish) : KI_NAME(S##_statistics_finish))(a);                                    \
        const ptrdiff_t tasks = (a->rows + STATISTICS_APPLIED - 1) / STATISTICS_APPLIED;                               \
        ki_parallel(KI_NAME(S##_statistics_apply), (void *)a, tasks, a->threads);                                      \
    }

KI_FLOATS(BATCH_STATISTICS)
ki_batch_statistics *const KI_NAME(ki_batch_statistics)[KI_DTYPES] = KI_ROW_FLOATS(batch_statistics);
