/* Gradients of sliding windows over NHWC images.
 *
 * Sums over pixels are cut into parts that depend on the shapes alone: the result has the same bits for any number of
 * threads. */
#ifndef KI_BACKWARD_H
#define KI_BACKWARD_H

#include <stddef.h>

#include "dtypes.h"

/* Most vectors and rows of a tile of a convolution's filter gradient. */
enum { KI_OUTER_NV = 3, KI_OUTER_MR = 12 };

/* Elements from one pixel, row and image to the next. */
typedef struct {
    ptrdiff_t step, row, image;
} ki_steps;

/* Names and sizes are the forward op's: x (batch, in, channels) -> y (batch, out, cout). [0] is height, [1] width.
 * What an op does not use is left 0. */
typedef struct {
    ptrdiff_t batch, channels, cout, multiplier; /* multiplier: 0 unless the convolution is depthwise */
    ptrdiff_t in[2], out[2], window[2], stride[2], dilation[2], before[2];
    ki_steps x_steps, y_steps, dy_steps, dx_steps;
    int count_padding; /* average: as in ki_window_args */
    int threads;
    /* Filter gradients. Pixels of y are taken in blocks of ``rows`` rows of ``images`` images (several images only if
     * they are taken whole); ``parts`` of the blocks are summed apart, in ``sums`` (parts x elements of dw) unless it
     * is one part. */
    ptrdiff_t rows, images, parts;
    /* Convolutions: a part is shared by ``slices`` tasks; a tile is mr rows of dw x nv vectors of cout. ``merges``:
     * the taps of a row are contiguous in x and are taken as one of window[1] * channels inputs. */
    ptrdiff_t slices;
    int mr, nv, merges;
    const void *x, *y, *dy, *w;
    void *dx, *dw, *sums;
} ki_backward_args;

typedef void ki_backward(const ki_backward_args *args);

/* Filters of an input gradient, packed for the implicit GEMM: taps (last to first) of a subset of the taps, their
 * inputs and outputs swapped. w[first - i * step[0] - j * step[1] + c * cout + o] for i < taps[0], j < taps[1] goes
 * to row (i * taps[1] + j) * cout + o, column c. Panels as in igemm.h; then zeros and the mark of
 * finite weights: the result for other weights times padding is unspecified. */
typedef struct {
    ptrdiff_t taps[2], step[2], first, channels, cout, zeros;
    int nv, threads;
    const void *w;
    void *packed;
} ki_rotate_args;

typedef void ki_rotate(const ki_rotate_args *args);

/* Pixels i (outputs) along an axis whose tap at input i * stride + at is inside: from <= i < to. */
typedef struct {
    ptrdiff_t from, to;
} ki_range;

static inline ki_range ki_outputs_inside(ptrdiff_t in, ptrdiff_t out, ptrdiff_t stride, ptrdiff_t at) {
    ki_range r = {at < 0 ? (-at + stride - 1) / stride : 0, at < in ? (in - at + stride - 1) / stride : 0};
    if (r.to > out) r.to = out;
    if (r.from > r.to) r.from = r.to;
    return r;
}

/* Blocks of pixels of a filter gradient, and the i-th of them. */
typedef struct {
    ki_range images, rows;
} ki_block;

static inline ptrdiff_t ki_blocks(const ki_backward_args *a) {
    const ptrdiff_t per_image = (a->out[0] + a->rows - 1) / a->rows;
    return per_image > 1 ? a->batch * per_image : (a->batch + a->images - 1) / a->images;
}

static inline ki_block ki_block_at(const ki_backward_args *a, ptrdiff_t i) {
    const ptrdiff_t per_image = (a->out[0] + a->rows - 1) / a->rows;
    ki_block b = {{i * a->images, (i + 1) * a->images}, {0, a->out[0]}};
    if (per_image > 1) {
        b.images = (ki_range){i / per_image, i / per_image + 1};
        b.rows = (ki_range){i % per_image * a->rows, (i % per_image + 1) * a->rows};
    }
    if (b.images.to > a->batch) b.images.to = a->batch;
    if (b.rows.to > a->out[0]) b.rows.to = a->out[0];
    return b;
}

/* Elements of the filter; cout counts the multiplier of a depthwise convolution. */
static inline ptrdiff_t ki_filter_size(const ki_backward_args *a) {
    return a->window[0] * a->window[1] * (a->multiplier ? 1 : a->channels) * a->cout;
}

static inline ki_range ki_common(ki_range a, ki_range b) {
    ki_range r = {a.from > b.from ? a.from : b.from, a.to < b.to ? a.to : b.to};
    if (r.from > r.to) r.from = r.to;
    return r;
}

#endif
