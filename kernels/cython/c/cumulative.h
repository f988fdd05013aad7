/* Running sums and products. */
#ifndef KI_CUMULATIVE_H
#define KI_CUMULATIVE_H

#include <stddef.h>

/* x, y [outer][n][inner], dense; along n, from its end if reverse; exclusive: without the element itself. */
typedef struct {
    ptrdiff_t outer, n, inner;
    int dtype, product, exclusive, reverse, threads;
    const void *x;
    void *y;
} ki_cumulative_args;
void ki_cumulative(const ki_cumulative_args *args);

#endif
