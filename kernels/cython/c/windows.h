/* Sliding windows over NHWC images, one channel at a time: pooling and depthwise convolution. */
#ifndef KI_WINDOWS_H
#define KI_WINDOWS_H

#include <stddef.h>

#include "dtypes.h"

/* Sizes in pixels; steps in elements, from one pixel, row and image to the next. [0] is height, [1] width. */
typedef struct {
    ptrdiff_t batch, channels, multiplier; /* depthwise: output channel c * multiplier + q of input channel c */
    ptrdiff_t in[2], out[2], window[2], stride[2], dilation[2], before[2];
    ptrdiff_t x_step, x_row, x_image, y_step, y_row, y_image;
    int count_padding; /* average: divide by the window's area, not by its cells inside the image */
    int threads;
    double lo, hi; /* depthwise, average: the activation */
    const void *x, *w, *bias; /* bias may be NULL */
    void *y;
} ki_window_args;

typedef void ki_window(const ki_window_args *args);

/* x or y, or both, are bfloat16; w, bias and sums are float. */
enum {
    KI_BF16_MAX,
    KI_BF16_AVERAGE,
    KI_BF16_DEPTHWISE,
    KI_BF16_DEPTHWISE_FROM_F32,
    KI_BF16_DEPTHWISE_TO_F32,
    KI_BF16_WINDOWS
};

#endif
