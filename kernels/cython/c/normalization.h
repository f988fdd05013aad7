/* Batch normalisation with given statistics. */
#ifndef KI_NORMALIZATION_H
#define KI_NORMALIZATION_H

#include <stddef.h>

/* y[row][c] = (x[row][c] - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + offset[c]; steps: elements between rows.
 * factors: channels elements of scratch. scale may be NULL. */
typedef struct {
    ptrdiff_t rows, channels, x_step, y_step;
    double epsilon;
    int threads;
    const void *x, *mean, *variance, *offset, *scale;
    void *y, *factors;
} ki_batch_norm_args;
typedef void ki_batch_norm(const ki_batch_norm_args *args);

#endif
