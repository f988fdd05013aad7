/* Small ops of quantised tensors: elementwise maps with scales, average pools, depthwise convolution. A product of the reals'
 * scales is a float multiplier; results are rounded to nearest, halves to the even one unless said otherwise. */
#ifndef KI_QUANTIZED_H
#define KI_QUANTIZED_H

#include <stddef.h>

#include "dtypes.h"
#include "elementwise.h"
#include "windows.h"

/* What the maps of elementwise.h take besides arrays: zero points, multipliers (quantize: the scale), bounds of the result. */
typedef struct {
    float a_zero, b_zero, a_multiplier, b_multiplier;
    int y_zero, low, high;
    int is_unsigned; /* the result */
    int divide; /* quantize: x / scale, not x * (1 / scale) */
} ki_scales;

/* A row of the table is by the inputs' element type. Integer results are bytes. */
typedef ki_scaled_map ki_quantized_map;

/* halves: where a mean's half goes. */
enum { KI_HALVES_EVEN, KI_HALVES_AWAY, KI_HALVES_UP };

/* So many unsigned bytes have a sum below 2^15. */
enum { KI_MEAN_CELLS = 128 };

/* y_type: int8 or uint8; depthwise: int32 (the sums) and float32 (times multiplier), too. */
typedef struct {
    ki_window_args window;
    const float *multiplier; /* depthwise: of each output channel */
    float scale; /* pool */
    /* Pool: what gives the mean of so many cells in one rounding multiplication, 0 if nothing does, [KI_MEAN_CELLS + 1] each:
     * round(sum * word / 2^15), halves up; round(sum * scale), halves to the even one. */
    const int16_t *word_scales;
    const float *scales;
    int x_zero, y_zero, low, high, halves;
    char *repeated; /* depthwise with several outputs of a channel: memory for x with that many channels */
    int vnni; /* depthwise: the processor has dot products of bytes; never with portable C */
    ki_dtype y_type;
} ki_quantized_window_args;

typedef void ki_quantized_window(const ki_quantized_window_args *args);

#endif
