/* Depthwise convolution of bytes on one instruction set. A task is some channels of some rows of an image: their weights are unpacked
 * once, in the order in which bytes of some cells are. */
#include <math.h>

#include "quantized.h"
#include "simd/bytes.h"
#include "table.h"
#include "threads.h"
#include "windows_span.h"

enum {
    BLOCKS = 4, /* vectors of channels of a task */
    PHASES = 16, /* see ``flat`` */
    SET_BYTES = 4 * KI_BYTES, /* weights of a set of cells: pairs of words, or four bytes */
    SETS = 64, /* of cells (GROUP), of all vectors of a task; flat twice as many */
    MOST = 128, /* cells of a set's kind */
    PIXELS = 64, /* of a task, at least: unpacking weights costs about as much as one pixel */
    OUTPUTS = 256,
    LEAST_SHARED = 256 * 1024
};

/* flat: rows of dense pixels at stride 1 are one line of bytes, in which vectors may begin at any channel. ``blocks`` vectors have
 * every alignment of channels that occurs; without it channels that fill no vector would leave lanes idle. */
typedef struct {
    const ki_quantized_window_args *args;
    ptrdiff_t cells, sets, blocks; /* blocks: of a task */
    ptrdiff_t chunks, rows, groups; /* chunks of channels; rows of a task; tasks of an image's rows */
    int flat;
} work;

typedef struct {
    ptrdiff_t at, valid; /* first channel, how many of a pixel */
    _Alignas(64) int32_t start[KI_BYTES];
    _Alignas(64) float factor[KI_BYTES];
} block;

static ptrdiff_t item_of(const ki_quantized_window_args *args) {
    return args->y_type == KI_I8 || args->y_type == KI_U8 ? 1 : 4;
}

#define TARGET
#define GROUP 2
#define PART(name) name##_pairs
#include "quantized_depthwise_task.h"

#if !defined(KI_ISA_PORTABLE)
#undef TARGET
#undef GROUP
#undef PART
#if defined(KI_ISA_AVX512)
#define TARGET __attribute__((target("avx512vnni")))
#define DOT_BYTES _mm512_dpbusd_epi32
#else
#define TARGET __attribute__((target("avxvnni")))
#define DOT_BYTES _mm256_dpbusd_avx_epi32
#endif
#define GROUP 4
#define PART(name) name##_fours
#include "quantized_depthwise_task.h"
#endif

/* Any multiplier and any number of cells: one row of outputs, some channels at a time. */
KI_INLINE void depthwise_row(void *context, ptrdiff_t index, const int is_signed) {
    const ki_quantized_window_args *args = ((const work *)context)->args;
    const ki_window_args *a = &args->window;
    const ptrdiff_t m = a->multiplier, outputs = a->channels * m;
    const uint8_t *image = (const uint8_t *)a->x + index / a->out[0] * a->x_image;
    char *row = (char *)a->y + (index / a->out[0] * a->y_image + index % a->out[0] * a->y_row) * item_of(args);
    const span u = span_of(a, 0, index % a->out[0]);
    const float low = (float)(args->low - args->y_zero), high = (float)(args->high - args->y_zero);
    uint32_t sum[OUTPUTS];
    int16_t x[OUTPUTS];
    for (ptrdiff_t o = 0; o < a->out[1]; o++, row += a->y_step * item_of(args)) {
        const span v = span_of(a, 1, o);
        for (ptrdiff_t from = 0; from < outputs; from += OUTPUTS) {
            const ptrdiff_t count = outputs - from < OUTPUTS ? outputs - from : OUTPUTS;
            for (ptrdiff_t i = 0; i < count; i++) sum[i] = (uint32_t)((const int32_t *)a->bias)[from + i];
            for (ptrdiff_t i = u.from; i < u.to; i++)
                for (ptrdiff_t j = v.from; j < v.to; j++) {
                    const uint8_t *cell = image + (u.at + i * a->dilation[0]) * a->x_row +
                                          (v.at + j * a->dilation[1]) * a->x_step + from / m;
                    const int8_t *w = (const int8_t *)a->w + (i * a->window[1] + j) * outputs + from;
                    ptrdiff_t left = m - from % m; /* outputs that the channel still has */
                    for (ptrdiff_t t = 0; t < count; t++, left--) {
                        if (!left) left = m, cell++;
                        x[t] = (int16_t)((is_signed ? (int8_t)*cell : *cell) - args->x_zero);
                    }
                    for (ptrdiff_t t = 0; t < count; t++) sum[t] += (uint32_t)(x[t] * w[t]);
                }
            for (ptrdiff_t t = 0; t < count; t++) {
                const int32_t s = (int32_t)sum[t];
                float scaled = (float)s * args->multiplier[from + t];
                if (args->y_type == KI_I32) {
                    ((int32_t *)row)[from + t] = s;
                } else if (args->y_type == KI_F32) {
                    ((float *)row)[from + t] = scaled;
                } else {
                    scaled = scaled > low ? scaled : low; /* NaN, too */
                    scaled = scaled < high ? scaled : high;
                    ((uint8_t *)row)[from + t] = (uint8_t)((int)ki_nearest(scaled) + args->y_zero);
                }
            }
        }
    }
}

static ptrdiff_t common_factor(ptrdiff_t a, ptrdiff_t b) {
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Bytes each ``times`` times. */
KI_INLINE void repeat(uint8_t *restrict y, const uint8_t *restrict x, ptrdiff_t count, const ptrdiff_t times) {
    for (ptrdiff_t i = 0; i < count; i++)
        for (ptrdiff_t j = 0; j < times; j++) y[i * times + j] = x[i];
}

static void repeat_row(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const ki_quantized_window_args *args = context;
    const ki_window_args *a = &args->window;
    const ptrdiff_t m = a->multiplier, wide = a->channels * m;
    const uint8_t *x = (const uint8_t *)a->x + index / a->in[0] * a->x_image + index % a->in[0] * a->x_row;
    uint8_t *y = (uint8_t *)args->repeated + index * a->in[1] * wide;
    for (ptrdiff_t j = 0; j < a->in[1]; j++, x += a->x_step, y += wide) {
        if (m == 2)
            repeat(y, x, a->channels, 2);
        else if (m == 4)
            repeat(y, x, a->channels, 4);
        else if (a->channels == 1)
            memset(y, *x, (size_t)m);
        else
            repeat(y, x, a->channels, m);
    }
}

static void launch(ki_task *blocks, ki_task *rows, const ki_quantized_window_args *args) {
    const ki_window_args *a = &args->window;
    work k = {.args = args};
    if (!a->batch || !a->out[0] || !a->out[1] || !a->channels || !a->multiplier) return;
    k.cells = a->window[0] * a->window[1];
    const double products = (double)a->batch * a->out[0] * a->out[1] * a->channels * a->multiplier * k.cells;
    const int threads = products < LEAST_SHARED ? 1 : a->threads;
    const ptrdiff_t set = args->vnni ? 4 : 2;
    k.sets = (k.cells + set - 1) / set;
    if (a->multiplier != 1 && k.sets * set <= MOST) {
        /* One output of each channel that is there several times: 64 channels twice 2.7 -> 0.3 ms. */
        ki_quantized_window_args wide = *args;
        ki_window_args *w = &wide.window;
        ki_parallel(repeat_row, (void *)args, a->batch * a->in[0], threads);
        w->channels *= a->multiplier;
        w->multiplier = 1;
        w->x = args->repeated;
        w->x_step = w->channels;
        w->x_row = w->x_step * a->in[1];
        w->x_image = w->x_row * a->in[0];
        launch(blocks, rows, &wide);
        return;
    }
    if (k.sets * set > MOST) {
        ki_parallel(rows, &k, a->batch * a->out[0], threads);
        return;
    }
    ptrdiff_t outputs = PIXELS; /* of a task: pixels, or vectors of a flat row */
    k.blocks = SETS / k.sets < BLOCKS ? SETS / k.sets : BLOCKS;
    k.chunks = (a->channels + k.blocks * KI_BYTES - 1) / (k.blocks * KI_BYTES);
    ptrdiff_t in_row = a->out[1];
    const ptrdiff_t phases = a->channels / common_factor(a->channels, KI_BYTES);
    if (a->channels % KI_BYTES && a->stride[1] == 1 && a->x_step == a->channels && a->y_step == a->channels &&
        phases <= PHASES && phases * k.sets <= 2 * SETS) {
        k.flat = 1;
        k.blocks = phases;
        k.chunks = 1;
        outputs *= phases;
        in_row = in_row * a->channels / KI_BYTES + 1;
    }
    k.rows = (outputs + in_row - 1) / in_row;
    if (k.rows > a->out[0]) k.rows = a->out[0];
    k.groups = (a->out[0] + k.rows - 1) / k.rows;
    ki_parallel(blocks, &k, a->batch * k.groups * k.chunks, threads);
}

#define TASK(S, is_signed, kind)                                                                                       \
    static void KI_NAME(S##_quantized_depthwise_##kind)(void *context, ptrdiff_t index, int slot) {                    \
        (void)slot;                                                                                                    \
        depthwise_##kind(context, index, is_signed);                                                                   \
    }
#define DEPTHWISE(S, is_signed, with_vnni)                                                                             \
    TASK(S, is_signed, pairs)                                                                                          \
    TASK(S, is_signed, row)                                                                                            \
    static void KI_NAME(S##_quantized_depthwise)(const ki_quantized_window_args *args) {                               \
        launch(args->vnni ? KI_NAME(S##_quantized_depthwise_##with_vnni) : KI_NAME(S##_quantized_depthwise_pairs),     \
               KI_NAME(S##_quantized_depthwise_row), args);                                                            \
    }

#if defined(KI_ISA_PORTABLE)
DEPTHWISE(i8, 1, pairs)
DEPTHWISE(u8, 0, pairs)
#else
TARGET TASK(i8, 1, fours)
TARGET TASK(u8, 0, fours) DEPTHWISE(i8, 1, fours) DEPTHWISE(u8, 0, fours)
#endif

ki_quantized_window *const KI_NAME(ki_quantized_depthwise)[KI_DTYPES] = {[KI_I8] = KI_NAME(i8_quantized_depthwise),
                                                                         [KI_U8] = KI_NAME(u8_quantized_depthwise)};
