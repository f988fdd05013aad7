/* Arrays with their axes in another order. */
#ifndef KI_TRANSPOSE_H
#define KI_TRANSPOSE_H

#include <stddef.h>

enum { KI_TRANSPOSE_RANK = 8 };

/* Axes from the outermost to the innermost one of y; steps in bytes. Along the last axis y is dense; along axis ``dense`` x is.
 * If that is the last one, rows of bytes are copied (any item), else items of 1, 2, 4, 8 or 16 bytes. */
typedef struct {
    int rank, dense, threads;
    ptrdiff_t item, size[KI_TRANSPOSE_RANK], step_x[KI_TRANSPOSE_RANK], step_y[KI_TRANSPOSE_RANK];
    const void *x;
    void *y;
} ki_transpose_args;
typedef void ki_transpose(const ki_transpose_args *args);

#endif
