/* Bilinear resizing. */
#ifndef KI_RESIZE_H
#define KI_RESIZE_H

#include <stddef.h>
#include <stdint.h>

/* Bilinear resizing to float. Row i of y lies between rows lower[0][i] and upper[0][i] of x with weight[0][i] of the
 * upper; [1] is for columns. */
typedef struct {
    ptrdiff_t batch, channels, in[2], out[2];
    int threads;
    const int32_t *lower[2], *upper[2];
    const float *weight[2];
    const void *x;
    float *y;
} ki_resize_args;
typedef void ki_resize(const ki_resize_args *args);

#endif
