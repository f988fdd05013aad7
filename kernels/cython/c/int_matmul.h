/* Matrix products of integers. */
#ifndef KI_INT_MATMUL_H
#define KI_INT_MATMUL_H

#include <stddef.h>

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

#endif
