/* Kernels that work line by line: softmax, reductions, batch normalisation, copies, resizing, integer matrix products. */
#ifndef KI_ROWS_H
#define KI_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "dtypes.h"

/* x, y [outer][n][inner], dense; along n. */
typedef struct {
    ptrdiff_t outer, n, inner;
    int logarithm, threads;
    const void *x;
    void *y;
} ki_softmax_args;
typedef void ki_softmax(const ki_softmax_args *args);

/* y[kept] = op over the reduced axes of x. Sizes and steps (elements) of the kept and the reduced axes of dense x, each
 * from the outermost to the innermost. y is dense over the kept axes. */
enum { KI_REDUCE_RANK = 8 };
typedef enum { KI_SUM, KI_MEAN, KI_MAX, KI_MIN, KI_REDUCE_OPS } ki_reduce_op;
typedef struct {
    int kept_rank, reduced_rank, threads;
    ptrdiff_t kept[KI_REDUCE_RANK], kept_step[KI_REDUCE_RANK], reduced[KI_REDUCE_RANK], reduced_step[KI_REDUCE_RANK];
    const void *x;
    void *y;
} ki_reduce_args;
typedef void ki_reduce(const ki_reduce_args *args);

/* y[row][c] = (x[row][c] - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + offset[c]; steps: elements between rows.
 * factors: channels elements of scratch. scale may be NULL. */
typedef struct {
    ptrdiff_t rows, channels, x_step, y_step;
    double epsilon;
    int threads;
    const void *x, *mean, *variance, *offset, *scale;
    void *y, *factors;
} ki_norm_args;
typedef void ki_norm(const ki_norm_args *args);

/* Bilinear resizing to float. Row i of y lies between rows lower[0][i] and upper[0][i] of x with weight[0][i] of the
 * upper; [1] is for columns. */
typedef struct {
    ptrdiff_t batch, channels, in[2], out[2];
    int threads;
    const int32_t *lower[2], *upper[2];
    const float *weight[2];
    const void *x;
    float *y;
} ki_resize_args;
typedef void ki_resize(const ki_resize_args *args);

/* y[m][n] = clamp(bias[n] + sum over k of a[m][k] * b[k][n]) for each item; integers, which wrap. Steps in elements;
 * item i works on a + offsets[3 i], b + offsets[3 i + 1], y + offsets[3 i + 2]. clamp: 0 none, 1 relu, 2 relu6. */
typedef struct {
    ptrdiff_t items, m, n, k, a_row, a_col, b_row, b_col;
    const ptrdiff_t *offsets;
    int clamp, threads;
    const void *a, *b, *bias;
    void *y;
} ki_int_matmul_args;
typedef void ki_int_matmul(const ki_int_matmul_args *args);

/* Copies rows of lines of bytes into rows of y, part after part; all steps in bytes. A part's lines follow each other at
 * the same step from row to row. The same for every instruction set. */
typedef struct {
    const void *x;
    ptrdiff_t lines, bytes, step; /* lines of a row, bytes of a line, from line to line */
    ptrdiff_t offset; /* in a row of y */
} ki_concat_part;

typedef struct {
    ptrdiff_t rows, parts, row_bytes; /* row_bytes: copied in a row */
    ptrdiff_t y_step, row_step; /* between lines and between rows of y */
    int threads;
    const ki_concat_part *part;
    void *y;
} ki_concat_args;
void ki_concat(const ki_concat_args *args);

#endif
