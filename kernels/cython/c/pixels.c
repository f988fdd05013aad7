/* Photographs to a network's input on one instruction set: plain loops that become SIMD. */
#include "pixels.h"

#include <string.h>

#include "simd/simd.h"
#include "table.h"

/* Pixels are picked as bytes, so that the arithmetic has no gathers. */
static void KI_NAME(u8_pixels_pick)(uint8_t *y, const uint8_t *x, const int32_t *cells, ptrdiff_t n, int mirrored) {
    if (mirrored)
        for (ptrdiff_t o = 0; o < n; o++)
            for (int c = 0; c < 3; c++) y[3 * o + c] = x[3 * (ptrdiff_t)cells[o] + 2 - c];
    else
        for (ptrdiff_t o = 0; o < n; o++) memcpy(y + 3 * o, x + 3 * (ptrdiff_t)cells[o], 3);
}

/* One row of x between its columns. weight: one number for each float of y. */
static void KI_NAME(u8_pixels_line)(const ki_pixels_args *a, ptrdiff_t row, float *restrict y) {
    const ptrdiff_t n = 3 * a->out[1];
    uint8_t *restrict left = a->bytes, *restrict right = a->bytes + n;
    const float *restrict weight = a->weight[1];
    KI_NAME(u8_pixels_pick)(left, a->x + row * a->row_bytes, a->lower[1], a->out[1], a->mirrored);
    KI_NAME(u8_pixels_pick)(right, a->x + row * a->row_bytes, a->upper[1], a->out[1], a->mirrored);
    for (ptrdiff_t i = 0; i < n; i++) {
        const float l = (float)left[i], r = (float)right[i];
        y[i] = l + (r - l) * weight[i];
    }
}

/* Rows of x that the row before has used are kept: where an image is made smaller, one new row in two. */
void KI_NAME(u8_pixels)(const ki_pixels_args *a) {
    const ptrdiff_t n = 3 * a->out[1];
    const float *restrict mean = a->mean, *restrict deviation = a->deviation;
    float *first = a->lines, *second = a->lines + n;
    ptrdiff_t in_first = -1, in_second = -1;
    for (ptrdiff_t o = 0; o < a->out[0]; o++) {
        const ptrdiff_t above = a->lower[0][o], below = a->upper[0][o];
        if (in_first != above) {
            if (in_second == above) {
                float *other = first;
                first = second, second = other;
                in_second = in_first;
            } else
                KI_NAME(u8_pixels_line)(a, above, first);
            in_first = above;
        }
        if (below != above && in_second != below) {
            KI_NAME(u8_pixels_line)(a, below, second);
            in_second = below;
        }
        const float *restrict top = first, *restrict bottom = below == above ? first : second;
        const float w = a->weight[0][o];
        float *restrict y = a->y + o * n;
        for (ptrdiff_t i = 0; i < n; i++) y[i] = (top[i] + (bottom[i] - top[i]) * w - mean[i]) / deviation[i];
    }
}
