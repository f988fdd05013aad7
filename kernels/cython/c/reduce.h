/* Reductions over any axes. */
#ifndef KI_REDUCE_H
#define KI_REDUCE_H

#include <stddef.h>

/* y[kept] = op over the reduced axes of x. Sizes and steps (elements) of the kept and the reduced axes of dense x, each
 * from the outermost to the innermost. y is dense over the kept axes. */
enum { KI_REDUCE_RANK = 8 };
typedef struct {
    int kept_rank, reduced_rank, threads;
    ptrdiff_t kept[KI_REDUCE_RANK], kept_step[KI_REDUCE_RANK], reduced[KI_REDUCE_RANK], reduced_step[KI_REDUCE_RANK];
    const void *x;
    void *y;
} ki_reduce_args;
typedef void ki_reduce(const ki_reduce_args *args);

#endif
