/* Elementwise maps of one and two arrays, with broadcasting and strides. */
#ifndef KI_ELEMENTWISE_H
#define KI_ELEMENTWISE_H

#include <stddef.h>

#include "dtypes.h"

enum { KI_MAP_RANK = 8 };

typedef enum {
    KI_NEG,
    KI_ABS,
    KI_SQUARE,
    KI_RELU,
    KI_RELU6,
    KI_SQRT,
    KI_RSQRT,
    KI_RECIPROCAL,
    KI_EXP,
    KI_LOG,
    KI_SIGMOID,
    KI_TANH,
    KI_CAST_F32,
    KI_UNARY_OPS
} ki_unary_op;

typedef enum {
    KI_ADD,
    KI_SUB,
    KI_MUL,
    KI_DIV,
    KI_MAXIMUM,
    KI_MINIMUM,
    KI_SQUARED_DIFFERENCE,
    KI_RELU_GRAD,
    KI_RELU6_GRAD,
    KI_BINARY_OPS
} ki_binary_op;

/* y[i] = op(x0[i], x1[i]) for n elements; steps are 0 (one value for all) or 1. One-input maps ignore x1. y may be x0 or
 * x1. */
typedef void ki_map(const void *x0, ptrdiff_t step0, const void *x1, ptrdiff_t step1, void *y, ptrdiff_t n);

/* Axes from the outermost to the innermost; steps in bytes, but those of the innermost axis are 0 or one element. */
typedef struct {
    ki_map *map;
    int rank, threads;
    ptrdiff_t size[KI_MAP_RANK], step0[KI_MAP_RANK], step1[KI_MAP_RANK], step_y[KI_MAP_RANK];
    ptrdiff_t item0, item1, item_y;
    const void *x0, *x1;
    void *y;
} ki_map_args;

/* Runs a map over all axes; the same for every instruction set. */
void ki_run_map(const ki_map_args *args);

#endif
