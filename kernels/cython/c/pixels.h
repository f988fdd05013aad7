/* Photographs to a network's input: bilinear resizing and normalisation in one pass. */
#ifndef KI_PIXELS_H
#define KI_PIXELS_H

#include <stddef.h>
#include <stdint.h>

/* x: rows of pixels of three bytes, row_bytes from one to the next. y: out[0] dense rows of out[1] pixels of three floats,
 * (value - mean) / deviation. Row i of y lies between rows lower[0][i] and upper[0][i] of x with weight[0][i] of the upper; [1]
 * is for columns, with a weight for each of their floats. mean and deviation: one row of y. mirrored: the channels in the opposite order. lines and bytes are scratch:
 * two rows of y, and two rows of y as bytes. */
typedef struct {
    ptrdiff_t row_bytes, out[2];
    int mirrored;
    const int32_t *lower[2], *upper[2];
    const float *weight[2], *mean, *deviation;
    const uint8_t *x;
    float *y, *lines;
    uint8_t *bytes;
} ki_pixels_args;
typedef void ki_pixels(const ki_pixels_args *args);

#endif
