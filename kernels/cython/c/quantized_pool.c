/* Average pools of bytes on one instruction set. A task is one row of outputs; KI_BYTES channels at a time. */
#include <math.h>

#include "quantized.h"
#include "simd/bytes.h"
#include "table.h"
#include "threads.h"
#include "windows_span.h"

enum {
    WORD_CELLS = KI_MEAN_CELLS,
    COLUMNS = 64, /* of sums over rows, kept for the windows that share them */
    LEAST_SHARED = 256 * 1024
};

/* How a sum of ``cells`` unsigned bytes becomes a result. */
typedef struct {
    ptrdiff_t cells;
    int word;     /* not 0: see ki_quantized_window_args */
    int single;   /* ``scale`` is that of the sum: nothing is divided */
    int divides;  /* by an instruction */
    int32_t zero; /* of the sum */
    vf32 scale, divisor, reciprocal, halves_from;
    vbytes high;
    ki_bounds range;
} mean;

static void set_cells(mean *m, const ki_quantized_window_args *a, ptrdiff_t cells, int is_signed) {
    const ki_window_args *w = &a->window;
    if (m->cells == cells) return;
    const float divisor = (float)(w->count_padding ? (double)w->window[0] * (double)w->window[1] : (double)cells);
    const int known = cells <= KI_MEAN_CELLS;
    m->cells = cells;
    m->word = known ? a->word_scales[cells] : 0;
    m->single = known && a->scales[cells] != 0;
    m->scale = vf32_set1(m->single ? a->scales[cells] : a->scale);
    m->zero = (int32_t)((uint32_t)(a->x_zero + (is_signed ? 128 : 0)) * (uint32_t)cells);
    m->divides = fabsf(a->scale) > 1e20f || divisor >= 8388608; /* below, products of sums are finite */
    m->divisor = vf32_set1(divisor);
    m->reciprocal = vf32_set1(1 / divisor);
}

static mean mean_of(const ki_quantized_window_args *a, int is_signed) {
    mean m = {.cells = -1};
    /* "away" rounds a half v up if floor(v) + y_zero >= 0, "up" always. */
    m.halves_from = vf32_set1(a->halves == KI_HALVES_AWAY ? 0.5f - (float)a->y_zero : -INFINITY);
    m.range = ki_bounds_of(a->y_zero, a->low, a->high, !is_signed);
    m.high = vb_high(a->high, !is_signed);
    return m;
}

KI_INLINE vbytes mean_of_quad(const mean *m, vquad sum, const int single, const int even) {
    vf32 v[4];
    sum = vq_sub(sum, vq_set1(m->zero));
    for (int q = 0; q < 4; q++) {
        v[q] = vf32_mul(vq_float(sum, q), m->scale);
        if (single) continue;
        v[q] = m->divides ? vf32_div(v[q], m->divisor) : vf32_quotient(v[q], m->divisor, m->reciprocal);
        if (!even) v[q] = vf32_rounded(v[q], m->halves_from);
    }
    return vb_requantized(vb_quad(v, &m->range), &m->range);
}

KI_INLINE vbytes mean_of_pair(const mean *m, vpair sum, const int even) {
    if (m->word) return vp_scaled(vp_sub(sum, vp_set1(m->zero)), m->word, &m->range, m->high);
    if (m->single) return mean_of_quad(m, vp_widen(sum), 1, 1);
    return mean_of_quad(m, vp_widen(sum), 0, even);
}

KI_INLINE vbytes cell_of(const uint8_t *p, ptrdiff_t valid, const int is_signed) {
    const vbytes v = vb_load_part(p, valid);
    return is_signed ? vb_xor(v, vb_set1(128)) : v;
}

/* The sum of ``count`` cells at a distance of ``step``. */
KI_INLINE vpair sum_line(const uint8_t *cell, ptrdiff_t step, ptrdiff_t count, ptrdiff_t valid, const int is_signed) {
    vpair sum = vp_zero();
    ptrdiff_t i = 0;
    for (; i + 2 <= count; i += 2)
        sum = vp_add(sum, vb_pairs(cell_of(cell + i * step, valid, is_signed),
                                   cell_of(cell + (i + 1) * step, valid, is_signed)));
    if (i < count) sum = vp_add(sum, vb_pairs(cell_of(cell + i * step, valid, is_signed), vb_set1(0)));
    return sum;
}

KI_INLINE vpair sum_columns(const int16_t *p, ptrdiff_t count) {
    vpair sum = vp_load(p);
    for (ptrdiff_t j = 1; j < count; j++) sum = vp_add(sum, vp_load(p + j * KI_BYTES));
    return sum;
}

/* Windows of few cells that may overlap: sums over rows first, column by column, then of these the windows'. */
KI_INLINE void pool_columns(const ki_window_args *a, mean *m, const ki_quantized_window_args *args, const uint8_t *x,
                            uint8_t *y, span u, ptrdiff_t valid, const int is_signed, const int even) {
    _Alignas(64) int16_t sums[COLUMNS * KI_BYTES];
    const ptrdiff_t rows = u.to - u.from, step = a->stride[1];
    const ptrdiff_t most = a->window[1] < COLUMNS ? (COLUMNS - a->window[1]) / step + 1 : 1;
    for (ptrdiff_t from = 0; from < a->out[1]; from += most) {
        const ptrdiff_t to = from + most < a->out[1] ? from + most : a->out[1];
        const span first = span_of(a, 1, from), last = span_of(a, 1, to - 1);
        const ptrdiff_t left = first.at + first.from, right = last.at + last.to;
        const uint8_t *top = x + (u.at + u.from) * a->x_row;
        for (ptrdiff_t j = left; j < right; j++) {
            const uint8_t *cell = top + j * a->x_step;
            vp_store(sums + (j - left) * KI_BYTES, rows == 3 ? sum_line(cell, a->x_row, 3, valid, is_signed)
                                                             : sum_line(cell, a->x_row, rows, valid, is_signed));
        }
        for (ptrdiff_t o = from, run; o < to; o += run) {
            const span v = span_of(a, 1, o);
            const ptrdiff_t columns = v.to - v.from;
            /* Windows with all of their columns follow each other. */
            run = columns < a->window[1] ? 1 : (a->in[1] + a->before[1] - a->window[1]) / step + 1 - o;
            if (run > to - o) run = to - o;
            set_cells(m, args, rows * columns, is_signed);
            const mean same = *m; /* a copy that no store to y changes */
            const int16_t *p = sums + (v.at + v.from - left) * KI_BYTES;
            for (ptrdiff_t e = 0; e < run; e++, p += step * KI_BYTES)
                vb_store_part(y + (o + e) * a->y_step,
                              mean_of_pair(&same, columns == 3 ? sum_columns(p, 3) : sum_columns(p, columns), even),
                              valid);
        }
    }
}

/* Any windows. */
KI_INLINE void pool_cells(const ki_window_args *a, mean *m, const ki_quantized_window_args *args, const uint8_t *x,
                          uint8_t *y, span u, ptrdiff_t valid, const int is_signed, const int even) {
    for (ptrdiff_t o = 0; o < a->out[1]; o++) {
        const span v = span_of(a, 1, o);
        vquad sum = vq_zero();
        for (ptrdiff_t i = u.from; i < u.to; i++)
            for (ptrdiff_t j = v.from; j < v.to; j += WORD_CELLS) {
                const ptrdiff_t count = v.to - j < WORD_CELLS ? v.to - j : WORD_CELLS;
                const uint8_t *cell = x + (u.at + i) * a->x_row + (v.at + j) * a->x_step;
                sum = vq_add(sum, vp_widen(sum_line(cell, a->x_step, count, valid, is_signed)));
            }
        set_cells(m, args, (u.to - u.from) * (v.to - v.from), is_signed);
        vb_store_part(y + o * a->y_step, m->single ? mean_of_quad(m, sum, 1, 1) : mean_of_quad(m, sum, 0, even), valid);
    }
}

KI_INLINE void pool_row(void *context, ptrdiff_t index, const int is_signed, const int even) {
    const ki_quantized_window_args *args = context;
    const ki_window_args *a = &args->window;
    const uint8_t *image = (const uint8_t *)a->x + index / a->out[0] * a->x_image;
    uint8_t *y = (uint8_t *)a->y + index / a->out[0] * a->y_image + index % a->out[0] * a->y_row;
    const span u = span_of(a, 0, index % a->out[0]);
    const ptrdiff_t columns = a->window[1] < a->in[1] ? a->window[1] : a->in[1], channels = a->channels;
    const int few = columns <= COLUMNS && (u.to - u.from) * columns <= WORD_CELLS && a->stride[1] <= a->window[1] &&
                    a->window[1] <= COLUMNS;
    mean m = mean_of(args, is_signed);
    for (ptrdiff_t c = 0; c < channels; c += KI_BYTES) {
        /* The last vector begins earlier, so that it is whole, if there are enough channels. */
        const ptrdiff_t at = c + KI_BYTES <= channels ? c : channels > KI_BYTES ? channels - KI_BYTES : 0;
        const ptrdiff_t valid = channels - at;
        if (few && valid >= KI_BYTES)
            pool_columns(a, &m, args, image + at, y + at, u, KI_BYTES, is_signed, even);
        else if (few)
            pool_columns(a, &m, args, image + at, y + at, u, valid, is_signed, even);
        else
            pool_cells(a, &m, args, image + at, y + at, u, valid, is_signed, even);
    }
}

#define AVERAGE_POOL(S, is_signed)                                                                                     \
    static void KI_NAME(S##_quantized_average_pool_even_row)(void *context, ptrdiff_t index, int slot) {               \
        (void)slot;                                                                                                    \
        pool_row(context, index, is_signed, 1);                                                                        \
    }                                                                                                                  \
    static void KI_NAME(S##_quantized_average_pool_row)(void *context, ptrdiff_t index, int slot) {                    \
        (void)slot;                                                                                                    \
        pool_row(context, index, is_signed, 0);                                                                        \
    }                                                                                                                  \
    static void KI_NAME(S##_quantized_average_pool)(const ki_quantized_window_args *args) {                            \
        const ki_window_args *a = &args->window;                                                                       \
        const ptrdiff_t rows = a->batch * a->out[0];                                                                   \
        const double cells = (double)rows * a->out[1] * a->channels * a->window[0] * a->window[1];                     \
        if (!a->out[1] || !a->channels) return;                                                                        \
        ki_parallel(args->halves == KI_HALVES_EVEN ? KI_NAME(S##_quantized_average_pool_even_row)                      \
                                                   : KI_NAME(S##_quantized_average_pool_row),                          \
                    (void *)args, rows, cells < LEAST_SHARED ? 1 : a->threads);                                        \
    }

AVERAGE_POOL(i8, 1)
AVERAGE_POOL(u8, 0)

ki_quantized_window *const KI_NAME(ki_quantized_average_pool)[KI_DTYPES] = {
    [KI_I8] = KI_NAME(i8_quantized_average_pool), [KI_U8] = KI_NAME(u8_quantized_average_pool)};
