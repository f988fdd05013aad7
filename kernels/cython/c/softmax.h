/* The softmax along one axis. */
#ifndef KI_SOFTMAX_H
#define KI_SOFTMAX_H

#include <stddef.h>

/* x, y [outer][n][inner], dense; along n. */
typedef struct {
    ptrdiff_t outer, n, inner;
    int logarithm, threads;
    const void *x;
    void *y;
} ki_softmax_args;
typedef void ki_softmax(const ki_softmax_args *args);

#endif
