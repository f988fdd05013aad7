/* Softmax, batch normalisation, resizing and integer products on one instruction set: plain loops that become SIMD. */
#include "rows.h"

#include "functions.h"
#include "simd/simd.h"
#include "table.h"
#include "threads.h"

#define IVDEP _Pragma("GCC ivdep")

enum { COLUMNS = 64 };

/* A task is one line, or, if the axis is not the last, up to COLUMNS neighbouring lines at once. The sums of a single line
 * go round COLUMNS accumulators, so that they are SIMD without reordering by the compiler. y may be x. */
#define SOFTMAX(S, T, W, LEAST, GREATEST)                                                                              \
    static void softmax_line_##S(void *context, ptrdiff_t index, int slot) {                                           \
        (void)slot;                                                                                                    \
        const ki_softmax_args *a = context;                                                                            \
        const T *x = (const T *)a->x + index * a->n;                                                                   \
        T *y = (T *)a->y + index * a->n, part[COLUMNS], top = LEAST, sum = 0;                                          \
        for (int c = 0; c < COLUMNS; c++) part[c] = LEAST;                                                             \
        for (ptrdiff_t i = 0; i < a->n; i += COLUMNS) {                                                                \
            const int count = a->n - i < COLUMNS ? (int)(a->n - i) : COLUMNS;                                          \
            for (int c = 0; c < count; c++) part[c] = x[i + c] > part[c] || x[i + c] != x[i + c] ? x[i + c] : part[c]; \
        }                                                                                                              \
        for (int c = 0; c < COLUMNS; c++) top = part[c] > top || part[c] != part[c] ? part[c] : top;                   \
        for (int c = 0; c < COLUMNS; c++) part[c] = 0;                                                                 \
        for (ptrdiff_t i = 0; i < a->n; i += COLUMNS) {                                                                \
            const int count = a->n - i < COLUMNS ? (int)(a->n - i) : COLUMNS;                                          \
            IVDEP for (int c = 0; c < count; c++) {                                                                    \
                const T shifted = x[i + c] - top, power = ki_exp_##S(shifted);                                         \
                y[i + c] = a->logarithm ? shifted : power;                                                             \
                part[c] += power;                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        for (int c = 0; c < COLUMNS; c++) sum += part[c];                                                              \
        const T log_sum = ki_log_##S(sum);                                                                             \
        for (ptrdiff_t i = 0; i < a->n; i++) y[i] = a->logarithm ? y[i] - log_sum : y[i] / sum;                        \
    }                                                                                                                  \
    static void softmax_columns_##S(void *context, ptrdiff_t index, int slot) {                                        \
        (void)slot;                                                                                                    \
        const ki_softmax_args *a = context;                                                                            \
        const ptrdiff_t blocks = (a->inner + COLUMNS - 1) / COLUMNS, first = index % blocks * COLUMNS;                 \
        const int count = a->inner - first < COLUMNS ? (int)(a->inner - first) : COLUMNS;                              \
        const T *x = (const T *)a->x + index / blocks * a->n * a->inner + first;                                       \
        T *y = (T *)a->y + index / blocks * a->n * a->inner + first, top[COLUMNS], sum[COLUMNS];                       \
        for (int c = 0; c < count; c++) top[c] = LEAST, sum[c] = 0;                                                    \
        for (ptrdiff_t i = 0; i < a->n; i++)                                                                           \
            for (int c = 0; c < count; c++) {                                                                          \
                const T v = x[i * a->inner + c];                                                                       \
                top[c] = v > top[c] || v != v ? v : top[c];                                                            \
            }                                                                                                          \
        for (ptrdiff_t i = 0; i < a->n; i++) IVDEP for (int c = 0; c < count; c++) {                                   \
                const T shifted = x[i * a->inner + c] - top[c], power = ki_exp_##S(shifted);                           \
                y[i * a->inner + c] = a->logarithm ? shifted : power;                                                  \
                sum[c] += power;                                                                                       \
            }                                                                                                          \
        for (int c = 0; c < count; c++) sum[c] = a->logarithm ? ki_log_##S(sum[c]) : sum[c];                           \
        for (ptrdiff_t i = 0; i < a->n; i++)                                                                           \
            for (int c = 0; c < count; c++)                                                                            \
                y[i * a->inner + c] = a->logarithm ? y[i * a->inner + c] - sum[c] : y[i * a->inner + c] / sum[c];      \
    }                                                                                                                  \
    static void softmax_##S(const ki_softmax_args *a) {                                                                \
        if (!a->n) return;                                                                                             \
        if (a->inner == 1)                                                                                             \
            ki_parallel(softmax_line_##S, (void *)a, a->outer, a->outer * a->n < 4096 ? 1 : a->threads);               \
        else                                                                                                           \
            ki_parallel(softmax_columns_##S, (void *)a, a->outer * ((a->inner + COLUMNS - 1) / COLUMNS), a->threads);  \
    }

KI_FLOATS(SOFTMAX)
ki_softmax *const KI_NAME(ki_softmax)[KI_DTYPES] = KI_ROW_FLOATS(softmax);

enum { NORM_ROWS = 32 };

#define NORM(S, T, W, LEAST, GREATEST)                                                                                 \
    static void norm_rows_##S(void *context, ptrdiff_t index, int slot) {                                              \
        (void)slot;                                                                                                    \
        const ki_norm_args *a = context;                                                                               \
        const T *mean = a->mean, *offset = a->offset, *factors = a->factors;                                           \
        ptrdiff_t row = index * NORM_ROWS, end = row + NORM_ROWS < a->rows ? row + NORM_ROWS : a->rows;                \
        for (; row < end; row++) {                                                                                     \
            const T *x = (const T *)a->x + row * a->x_step;                                                            \
            T *y = (T *)a->y + row * a->y_step;                                                                        \
            IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) y[c] = (x[c] - mean[c]) * factors[c] + offset[c];        \
        }                                                                                                              \
    }                                                                                                                  \
    static void norm_##S(const ki_norm_args *a) {                                                                      \
        const T *variance = a->variance, *scale = a->scale;                                                            \
        T *factors = a->factors;                                                                                       \
        for (ptrdiff_t c = 0; c < a->channels; c++)                                                                    \
            factors[c] = (T)(1 / sqrt((double)variance[c] + a->epsilon)) * (scale ? scale[c] : 1);                     \
        ki_parallel(norm_rows_##S, (void *)a, (a->rows + NORM_ROWS - 1) / NORM_ROWS, a->threads);                      \
    }

KI_FLOATS(NORM)
ki_norm *const KI_NAME(ki_norm)[KI_DTYPES] = KI_ROW_FLOATS(norm);

/* One row of outputs per task; float arithmetic in the order of the contract. */
#define RESIZE(S, T, W, LEAST, GREATEST)                                                                               \
    static void resize_row_##S(void *context, ptrdiff_t index, int slot) {                                             \
        (void)slot;                                                                                                    \
        const ki_resize_args *a = context;                                                                             \
        const ptrdiff_t row = index % a->out[0], channels = a->channels, pitch = a->in[1] * channels;                  \
        const T *image = (const T *)a->x + index / a->out[0] * a->in[0] * pitch;                                       \
        const T *upper = image + a->lower[0][row] * pitch, *lower = image + a->upper[0][row] * pitch;                  \
        const float wy = a->weight[0][row];                                                                            \
        float *y = a->y + index * a->out[1] * channels;                                                                \
        for (ptrdiff_t o = 0; o < a->out[1]; o++, y += channels) {                                                     \
            const ptrdiff_t left = a->lower[1][o] * channels, right = a->upper[1][o] * channels;                       \
            const float wx = a->weight[1][o];                                                                          \
            for (ptrdiff_t c = 0; c < channels; c++) {                                                                 \
                const float tl = (float)upper[left + c], tr = (float)upper[right + c];                                 \
                const float bl = (float)lower[left + c], br = (float)lower[right + c];                                 \
                const float top = tl + (tr - tl) * wx, bottom = bl + (br - bl) * wx;                                   \
                y[c] = top + (bottom - top) * wy;                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void resize_##S(const ki_resize_args *a) {                                                                  \
        if (a->channels) ki_parallel(resize_row_##S, (void *)a, a->batch * a->out[0], a->threads);                     \
    }

KI_NUMBERS(RESIZE)
ki_resize *const KI_NAME(ki_resize)[KI_DTYPES] = KI_ROW_NUMBERS(resize);

/* One row of one item per task. */
#define INT_MATMUL(S, T, W, LEAST, GREATEST)                                                                           \
    static void int_matmul_row_##S(void *context, ptrdiff_t index, int slot) {                                         \
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
    static void int_matmul_##S(const ki_int_matmul_args *g) {                                                          \
        const int threads = g->items * g->m * g->n * g->k < 65536 ? 1 : g->threads;                                    \
        if (g->m && g->n) ki_parallel(int_matmul_row_##S, (void *)g, g->items * g->m, threads);                        \
    }

#pragma GCC diagnostic ignored "-Wtype-limits" /* y < 0 of unsigned types */
KI_INTEGERS(INT_MATMUL)
ki_int_matmul *const KI_NAME(ki_int_matmul)[KI_DTYPES] = KI_ROW_INTEGERS(int_matmul);
