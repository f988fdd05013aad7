/* bfloat16 in memory, as uint16_t: elementwise maps, conversion, the mean of an image; and images that get their channels last. */
#ifndef KI_BFLOAT16_H
#define KI_BFLOAT16_H

#include <stddef.h>

#include "elementwise.h"

typedef struct {
    const char *name;
    ki_map *map;
} ki_bf16_map;

/* y[i][c] = the mean of x[i][p][c] over the pixels p, float; steps in elements, y is dense. */
typedef struct {
    ptrdiff_t images, pixels, channels, x_step;
    int threads;
    const void *x;
    float *y;
} ki_bf16_mean_args;
typedef void ki_bf16_mean(const ki_bf16_mean_args *args);

/* y[i][p][c] = x[i][c][p] of floats, both dense. */
typedef void ki_channels_last(const float *x, float *y, ptrdiff_t images, ptrdiff_t channels, ptrdiff_t pixels);

#endif
