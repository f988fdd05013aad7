/* Depthwise convolution of bytes on one instruction set. A task is some channels of some rows of an image: their weights are unpacked
 * once, in the order in which bytes of two cells are. */
#include <math.h>

#include "quantized.h"
#include "simd/bytes.h"
#include "table.h"
#include "threads.h"
#include "windows_span.h"

enum {
    BLOCKS = 4, /* vectors of channels of a task */
    PHASES = 16, /* see ``flat`` */
    PAIRS = 64, /* of cells, of all vectors of a task; flat twice as many */
    PIXELS = 64, /* of a task, at least: unpacking weights costs about as much as one pixel */
    OUTPUTS = 256,
    LEAST_SHARED = 256 * 1024
};

/* flat: rows of dense pixels at stride 1 are one line of bytes, in which vectors may begin at any channel. ``blocks`` vectors have
 * every alignment of channels that occurs; without it channels that fill no vector would leave lanes idle. */
typedef struct {
    const ki_quantized_window_args *args;
    ptrdiff_t cells, pairs, blocks; /* blocks: of a task */
    ptrdiff_t chunks, rows, groups; /* chunks of channels; rows of a task; tasks of an image's rows */
    int flat;
} work;

typedef struct {
    ptrdiff_t at, valid; /* first channel, how many of a pixel */
    _Alignas(64) int32_t start[KI_BYTES];
    _Alignas(64) float factor[KI_BYTES];
} block;

/* Weights of a block as pairs of words; bias less what the zero point adds to every sum. After the last channel the first follows. */
static void unpack_block(block *b, int16_t *words, const work *k, ptrdiff_t at, int is_signed) {
    const ki_quantized_window_args *args = k->args;
    const ki_window_args *a = &args->window;
    const ptrdiff_t channels = a->channels, first = at % channels;
    const uint32_t zero = (uint32_t)(args->x_zero + (is_signed ? 128 : 0));
    int32_t sum[KI_BYTES] = {0};
    int8_t line[2][KI_BYTES];
    b->at = at;
    b->valid = at >= channels ? 0 : channels - at < KI_BYTES ? channels - at : KI_BYTES;
    for (ptrdiff_t p = 0; p < k->pairs; p++) {
        for (ptrdiff_t second = 0; second < 2; second++) {
            const int8_t *w = (const int8_t *)a->w + (2 * p + second) * channels;
            ptrdiff_t c = first, count;
            if (2 * p + second == k->cells) {
                memset(line[1], 0, KI_BYTES);
                continue;
            }
            for (ptrdiff_t i = 0; i < KI_BYTES; i += count, c = 0) {
                count = channels - c < KI_BYTES - i ? channels - c : KI_BYTES - i;
                memcpy(line[second] + i, w + c, (size_t)count);
            }
        }
        vb_weights(words + p * 2 * KI_BYTES, vb_load(line[0]), vb_load(line[1]));
        for (ptrdiff_t i = 0; i < KI_BYTES; i++) sum[i] += line[0][i] + line[1][i];
    }
    for (ptrdiff_t i = 0, c = first; i < KI_BYTES; i++, c = c + 1 == channels ? 0 : c + 1) {
        b->start[KI_PLACE(i)] = (int32_t)((uint32_t)((const int32_t *)a->bias)[c] - zero * (uint32_t)sum[i]);
        b->factor[KI_PLACE(i)] = args->multiplier[c];
    }
}

KI_INLINE vquad dot_cells(vquad sum, const uint8_t *x, const ptrdiff_t *offset, ptrdiff_t pairs, const int16_t *words,
                          ptrdiff_t valid, const int is_signed) {
    for (ptrdiff_t p = 0; p < pairs; p++) {
        vbytes first = vb_load_part((const uint8_t *)((uintptr_t)x + (uintptr_t)offset[2 * p]), valid);
        vbytes second = vb_load_part((const uint8_t *)((uintptr_t)x + (uintptr_t)offset[2 * p + 1]), valid);
        if (is_signed) {
            first = vb_xor(first, vb_set1(128));
            second = vb_xor(second, vb_set1(128));
        }
        vb_dot(&sum, first, second, words + p * 2 * KI_BYTES);
    }
    return sum;
}

/* What the sums of a block become, at y. */
KI_INLINE void finish(const ki_quantized_window_args *args, const block *b, const ki_bounds *range, vquad sum, char *y,
                      ptrdiff_t valid) {
    if (args->y_type == KI_I8 || args->y_type == KI_U8) {
        vf32 v[4];
        for (int q = 0; q < 4; q++) v[q] = vf32_mul(vq_float(sum, q), vf32_load(b->factor + q * VF32_LANES));
        vb_store_part(y, vb_requantized(vb_quad(v, range), range), valid);
        return;
    }
    int32_t sums[KI_BYTES];
    vq_store(sums, sum);
    for (ptrdiff_t i = 0; i < valid; i++)
        if (args->y_type == KI_I32)
            ((int32_t *)y)[i] = sums[KI_PLACE(i)];
        else
            ((float *)y)[i] = (float)sums[KI_PLACE(i)] * b->factor[KI_PLACE(i)];
}

static ptrdiff_t item_of(const ki_quantized_window_args *args) {
    return args->y_type == KI_I8 || args->y_type == KI_U8 ? 1 : 4;
}

KI_INLINE void dot_block(const work *k, const block *b, const ki_bounds *bounds, const int16_t *words, const uint8_t *x,
                         const ptrdiff_t *offset, char *y, ptrdiff_t valid, const int is_signed) {
    vquad sum = vq_load(b->start);
    if (valid < KI_BYTES) {
        sum = dot_cells(sum, x, offset, k->pairs, words, valid, is_signed);
        finish(k->args, b, bounds, sum, y, valid);
        return;
    }
    sum = k->pairs == 5 ? dot_cells(sum, x, offset, 5, words, KI_BYTES, is_signed)
                        : dot_cells(sum, x, offset, k->pairs, words, KI_BYTES, is_signed);
    finish(k->args, b, bounds, sum, y, KI_BYTES);
}

KI_INLINE void depthwise_task(void *context, ptrdiff_t index, const int is_signed) {
    const work *k = context;
    const ki_quantized_window_args *args = k->args;
    const ki_window_args *a = &args->window;
    _Alignas(64) int16_t words[2 * PAIRS * KI_BYTES * 2];
    block b[PHASES];
    _Alignas(64) uint8_t padding[PHASES * KI_BYTES];
    ptrdiff_t inner[2 * PAIRS], border[2 * PAIRS];
    const ki_bounds bounds = ki_bounds_of(args->y_zero, args->low, args->high, args->y_type == KI_U8);
    const ptrdiff_t chunk = index % k->chunks, group = index / k->chunks % k->groups, n = index / k->chunks / k->groups;
    const ptrdiff_t c = chunk * k->blocks * KI_BYTES, d1 = a->dilation[1], item = item_of(args);
    const ptrdiff_t size = k->pairs * 2 * KI_BYTES; /* of a block's weights */
    ptrdiff_t blocks = 0;
    for (ptrdiff_t i = 0; i < k->blocks && (k->flat || c + i * KI_BYTES < a->channels); i++) {
        ptrdiff_t at = c + i * KI_BYTES;
        if (!k->flat && at + KI_BYTES > a->channels && a->channels > KI_BYTES) at = a->channels - KI_BYTES;
        unpack_block(&b[i], words + i * size, k, at, is_signed);
        if (b[i].valid) blocks++;
    }
    const ptrdiff_t base = b[0].at;
    memset(padding, args->x_zero, sizeof padding);
    for (ptrdiff_t p = 0; p < 2 * k->pairs; p++) {
        const ptrdiff_t cell = p < k->cells ? p : 0;
        /* Unsigned: what lies far outside is not used. */
        inner[p] = (ptrdiff_t)((size_t)(cell / a->window[1]) * (size_t)a->dilation[0] * (size_t)a->x_row +
                               (size_t)(cell % a->window[1]) * (size_t)d1 * (size_t)a->x_step);
    }
    const ptrdiff_t end = (group + 1) * k->rows < a->out[0] ? (group + 1) * k->rows : a->out[0];
    for (ptrdiff_t r = group * k->rows; r < end; r++) {
        const span u = span_of(a, 0, r);
        const int rows_inside = u.from == 0 && u.to == a->window[0];
        char *y = (char *)a->y + (n * a->y_image + r * a->y_row) * item;
        const uintptr_t row =
            (uintptr_t)a->x + (uintptr_t)(n * a->x_image + base) + (uintptr_t)u.at * (uintptr_t)a->x_row;
        for (ptrdiff_t o = 0; o < a->out[1]; o++) {
            const span v = span_of(a, 1, o);
            const uintptr_t x = row + (uintptr_t)v.at * (uintptr_t)a->x_step;
            const int inside = rows_inside && v.from == 0 && v.to == a->window[1];
            if (inside && k->flat) {
                /* As far as windows lie inside. */
                ptrdiff_t last = a->in[1] - (a->window[1] - 1) * d1 + a->before[1];
                if (last > a->out[1]) last = a->out[1];
                const ptrdiff_t bytes = (last - o) * a->channels;
                for (ptrdiff_t at = 0, i = 0; at < bytes; at += KI_BYTES, i = i + 1 == k->blocks ? 0 : i + 1)
                    dot_block(k, &b[i], &bounds, words + i * size, (const uint8_t *)x + at, inner,
                              y + (o * a->channels + at) * item, bytes - at, is_signed);
                o = last - 1;
                continue;
            }
            if (!inside) {
                for (ptrdiff_t p = 0; p < 2 * k->pairs; p++) border[p] = (ptrdiff_t)((uintptr_t)padding - x);
                for (ptrdiff_t i = u.from; i < u.to; i++)
                    for (ptrdiff_t j = v.from; j < v.to; j++)
                        border[i * a->window[1] + j] = inner[i * a->window[1] + j];
            }
            for (ptrdiff_t i = 0; i < blocks; i++)
                dot_block(k, &b[i], &bounds, words + i * size, (const uint8_t *)(x + (uintptr_t)(b[i].at - base)),
                          inside ? inner : border, y + (o * a->y_step + b[i].at) * item, b[i].valid, is_signed);
        }
    }
}

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

static void launch(ki_task *blocks, ki_task *rows, const ki_quantized_window_args *args) {
    const ki_window_args *a = &args->window;
    work k = {.args = args};
    if (!a->batch || !a->out[0] || !a->out[1] || !a->channels || !a->multiplier) return;
    k.cells = a->window[0] * a->window[1];
    const double products = (double)a->batch * a->out[0] * a->out[1] * a->channels * a->multiplier * k.cells;
    const int threads = products < LEAST_SHARED ? 1 : a->threads;
    k.pairs = (k.cells + 1) / 2;
    if (a->multiplier != 1 || k.pairs > PAIRS) {
        ki_parallel(rows, &k, a->batch * a->out[0], threads);
        return;
    }
    ptrdiff_t outputs = PIXELS; /* of a task: pixels, or vectors of a flat row */
    k.blocks = PAIRS / k.pairs < BLOCKS ? PAIRS / k.pairs : BLOCKS;
    k.chunks = (a->channels + k.blocks * KI_BYTES - 1) / (k.blocks * KI_BYTES);
    ptrdiff_t in_row = a->out[1];
    const ptrdiff_t phases = a->channels / common_factor(a->channels, KI_BYTES);
    if (a->channels % KI_BYTES && a->stride[1] == 1 && a->x_step == a->channels && a->y_step == a->channels &&
        phases <= PHASES && phases * k.pairs <= 2 * PAIRS) {
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

#define DEPTHWISE(S, is_signed)                                                                                        \
    static void KI_NAME(S##_quantized_depthwise_task)(void *context, ptrdiff_t index, int slot) {                      \
        (void)slot;                                                                                                    \
        depthwise_task(context, index, is_signed);                                                                     \
    }                                                                                                                  \
    static void KI_NAME(S##_quantized_depthwise_row)(void *context, ptrdiff_t index, int slot) {                       \
        (void)slot;                                                                                                    \
        depthwise_row(context, index, is_signed);                                                                      \
    }                                                                                                                  \
    static void KI_NAME(S##_quantized_depthwise)(const ki_quantized_window_args *args) {                               \
        launch(KI_NAME(S##_quantized_depthwise_task), KI_NAME(S##_quantized_depthwise_row), args);                     \
    }

DEPTHWISE(i8, 1)
DEPTHWISE(u8, 0)

ki_quantized_window *const KI_NAME(ki_quantized_depthwise)[KI_DTYPES] = {[KI_I8] = KI_NAME(i8_quantized_depthwise),
                                                                         [KI_U8] = KI_NAME(u8_quantized_depthwise)};
