/* Elementwise maps of one and two arrays, with broadcasting and strides. */
#ifndef KI_ELEMENTWISE_H
#define KI_ELEMENTWISE_H

#include <stddef.h>

#include "dtypes.h"

enum { KI_MAP_RANK = 8 };

/* y[i] = op(x0[i], x1[i]) for n elements; steps are 0 (one value for all) or 1. One-input maps ignore x1. y may be x0 or
 * x1. */
typedef void ki_map(const void *x0, ptrdiff_t step0, const void *x1, ptrdiff_t step1, void *y, ptrdiff_t n);

/* The same with parameters of its own. */
typedef void ki_scaled_map(const void *x0, ptrdiff_t step0, const void *x1, ptrdiff_t step1, void *y, ptrdiff_t n,
                           const void *scales);

/* One row of the lists in elementwise.c. */
typedef struct {
    const char *name;
    ki_map *by_dtype[KI_DTYPES]; /* NULL: not for this element type */
} ki_map_kind;

/* Axes from the outermost to the innermost; steps in bytes, but those of the innermost axis are 0 or one element. */
typedef struct {
    ki_map *map;
    ki_scaled_map *scaled; /* not NULL: runs instead of ``map``, with ``scales`` */
    const void *scales;
    int rank, threads;
    ptrdiff_t size[KI_MAP_RANK], step0[KI_MAP_RANK], step1[KI_MAP_RANK], step_y[KI_MAP_RANK];
    ptrdiff_t item0, item1, item_y;
    const void *x0, *x1;
    void *y;
} ki_map_args;

/* Runs a map over all axes; the same for every instruction set. */
void ki_run_map(const ki_map_args *args);

#endif
