/* Batch normalisation by the batch's own statistics, and its gradient. */
#ifndef KI_BATCH_STATISTICS_H
#define KI_BATCH_STATISTICS_H

#include <stddef.h>

/* Rows are summed in KI_STATISTICS_PARTS parts at most, whatever the number of threads, so that the sums are the same. */
enum { KI_STATISTICS_PARTS = 64, KI_STATISTICS_ROWS = 64 };

static inline ptrdiff_t ki_statistics_parts(ptrdiff_t rows) {
    const ptrdiff_t parts = (rows + KI_STATISTICS_ROWS - 1) / KI_STATISTICS_ROWS;
    return parts < KI_STATISTICS_PARTS ? parts : KI_STATISTICS_PARTS;
}

/* Steps: elements between rows. mean, variance: of the rows, channels elements.
 * Forward (dy NULL): out = (x - mean) / sqrt(variance + epsilon) * scale + offset; writes mean and variance, and into
 * new_mean, new_variance (1 - factor) * old + factor * fresh, where the fresh variance counts rows / (rows - 1); factor 1
 * reads no old ones.
 * Gradient: reads mean and variance; out = dx, and d_scale, d_offset.
 * sums: 4 * channels doubles for each part; lines: 3 * channels elements. */
typedef struct {
    ptrdiff_t rows, channels, dy_step, x_step, out_step;
    double epsilon, factor;
    int threads;
    const void *dy, *x, *scale, *offset, *old_mean, *old_variance;
    void *out, *mean, *variance, *new_mean, *new_variance, *d_scale, *d_offset, *lines;
    double *sums;
} ki_batch_statistics_args;
typedef void ki_batch_statistics(const ki_batch_statistics_args *args);

#endif
