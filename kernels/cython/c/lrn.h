/* Local response normalisation over channels, and its gradient. */
#ifndef KI_LRN_H
#define KI_LRN_H

#include <stddef.h>

/* out[row][c] of x, or of dy, x and y for the gradient; steps: elements between rows. reach: the radius, less than channels.
 * scratch: ki_lrn_scratch elements for each thread. */
typedef struct {
    ptrdiff_t rows, channels, reach, dy_step, x_step, y_step, out_step;
    double bias, alpha, beta;
    int threads;
    const void *dy, *x, *y;
    void *out, *scratch;
} ki_lrn_args;
typedef void ki_lrn(const ki_lrn_args *args);

/* What whole vectors may touch beyond the end of a line: two of 16 floats. */
enum { KI_LRN_SPARE = 32 };

/* Elements of scratch of one thread, in whole cache lines: a line with zeros at both ends, and two without. */
static inline ptrdiff_t ki_lrn_scratch(ptrdiff_t channels, ptrdiff_t reach) {
    return (3 * (channels + KI_LRN_SPARE) + 2 * reach + 15) / 16 * 16;
}

#endif
