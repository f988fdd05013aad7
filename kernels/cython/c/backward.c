/* Gradients of pooling and of depthwise convolutions on one instruction set; filters for the
 * gradients of convolutions. Channels are the SIMD axis. */
#include "backward.h"

#include <string.h>

#include "join.h"
#include "simd/simd.h"
#include "table.h"
#include "threads.h"

enum { CHANNELS = 64, IMAGES = 16, GROUP = 16, BLOCK = 4 /* vectors */, ROTATE_BLOCK = 16 };

/* A pooling task is one image, so that windows may overlap, or with few images CHANNELS of its channels. */
static inline ptrdiff_t pool_blocks(const ki_backward_args *a) {
    return a->batch >= IMAGES ? 1 : (a->channels + CHANNELS - 1) / CHANNELS;
}

static void launch_pool(ki_task *task, const ki_backward_args *a) {
    if (a->channels) ki_parallel(task, (void *)a, a->batch * pool_blocks(a), a->threads);
}

/* Cells of the window of output ``index`` inside the image. */
static inline ki_range cells(const ki_backward_args *a, int axis, ptrdiff_t index) {
    const ptrdiff_t at = index * a->stride[axis] - a->before[axis];
    ki_range r = {at < 0 ? -at : 0, a->in[axis] - at};
    if (r.to > a->window[axis]) r.to = a->window[axis];
    return ki_common(r, (ki_range){0, a->window[axis]});
}

static inline ptrdiff_t place(ki_steps s, ptrdiff_t image, ptrdiff_t row, ptrdiff_t column) {
    return image * s.image + row * s.row + column * s.step;
}

/* Calls GIVE for every window and GROUP channels; the last group may be narrower, the others are SIMD without a tail. */
#define POOL(name, S, T, GIVE)                                                                                         \
    static void KI_NAME(S##_##name##_task)(void *context, ptrdiff_t index, int slot) {                                 \
        (void)slot;                                                                                                    \
        const ki_backward_args *a = context;                                                                           \
        const ptrdiff_t blocks = pool_blocks(a), n = index / blocks;                                                   \
        const ptrdiff_t from = a->channels * (index % blocks) / blocks,                                                \
                        to = a->channels * (index % blocks + 1) / blocks;                                              \
        const int dense = a->dx_steps.step == to - from;                                                               \
        for (ptrdiff_t i = 0; i < a->in[0]; i++)                                                                       \
            for (ptrdiff_t j = 0; j < (dense ? 1 : a->in[1]); j++)                                                     \
                memset((T *)a->dx + place(a->dx_steps, n, i, j) + from, 0,                                             \
                       (size_t)((to - from) * (dense ? a->in[1] : 1)) * sizeof(T));                                    \
        for (ptrdiff_t i = 0; i < a->out[0]; i++)                                                                      \
            for (ptrdiff_t j = 0; j < a->out[1]; j++) {                                                                \
                ptrdiff_t c = from;                                                                                    \
                for (; c + GROUP <= to; c += GROUP) S##_##GIVE(a, n, i, j, c, GROUP);                                  \
                if (c < to) S##_##GIVE(a, n, i, j, c, (int)(to - c));                                                  \
            }                                                                                                          \
    }                                                                                                                  \
    static void KI_NAME(S##_##name)(const ki_backward_args *args) { launch_pool(KI_NAME(S##_##name##_task), args); }

/* For the window of output (i, j) of image n: loops over its cells at row h, column w. */
#define FOR_WINDOW                                                                                                     \
    const ki_range u = cells(a, 0, i), v = cells(a, 1, j);                                                             \
    const ptrdiff_t top = i * a->stride[0] - a->before[0], left = j * a->stride[1] - a->before[1];                     \
    for (ptrdiff_t h = top + u.from; h < top + u.to; h++)                                                              \
        for (ptrdiff_t w = left + v.from; w < left + v.to; w++)

/* ``rest``: the part of the gradient that the window has not yet added. */
#define MAX_POOL(S, T, W, LEAST, GREATEST)                                                                             \
    KI_INLINE void S##_give_first(const ki_backward_args *a, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t c0,      \
                                  const int count) {                                                                   \
        const T *y = (const T *)a->y + place(a->y_steps, n, i, j) + c0;                                                \
        const T *dy = (const T *)a->dy + place(a->dy_steps, n, i, j) + c0;                                             \
        T top_of[GROUP], rest[GROUP];                                                                                  \
        for (int c = 0; c < count; c++) top_of[c] = y[c], rest[c] = dy[c];                                             \
        FOR_WINDOW {                                                                                                   \
            const T *x = (const T *)a->x + place(a->x_steps, n, h, w) + c0;                                            \
            T *dx = (T *)a->dx + place(a->dx_steps, n, h, w) + c0;                                                     \
            IVDEP for (int c = 0; c < count; c++) {                                                                    \
                const int hit = (x[c] == top_of[c]) | ((x[c] != x[c]) & (top_of[c] != top_of[c]));                     \
                dx[c] += hit ? rest[c] : 0;                                                                            \
                rest[c] = hit ? 0 : rest[c];                                                                           \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    POOL(max_pool_grad, S, T, give_first)

#define AVERAGE(S, T, W, LEAST, GREATEST)                                                                              \
    KI_INLINE void S##_give_all(const ki_backward_args *a, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t c0,        \
                                const int count) {                                                                     \
        const T *dy = (const T *)a->dy + place(a->dy_steps, n, i, j) + c0;                                             \
        const ki_range rows = cells(a, 0, i), columns = cells(a, 1, j);                                                \
        const double area = a->count_padding ? (double)a->window[0] * a->window[1]                                     \
                                             : (double)((rows.to - rows.from) * (columns.to - columns.from));          \
        T share[GROUP];                                                                                                \
        for (int c = 0; c < count; c++) share[c] = dy[c] / (T)area;                                                    \
        FOR_WINDOW {                                                                                                   \
            T *dx = (T *)a->dx + place(a->dx_steps, n, h, w) + c0;                                                     \
            IVDEP for (int c = 0; c < count; c++) dx[c] += share[c];                                                   \
        }                                                                                                              \
    }                                                                                                                  \
    POOL(average_pool_grad, S, T, give_all)

KI_FLOATS(MAX_POOL)
KI_FLOATS(AVERAGE)

/* The taps that read one input cell, and the outputs for which they read it: tap + k * tap_step and out - k *
 * out_step. */
typedef struct {
    ptrdiff_t tap, tap_step, out, out_step, count;
} contributions;

static contributions contributions_of(const ki_backward_args *a, int axis, ptrdiff_t index) {
    const ptrdiff_t s = a->stride[axis], d = a->dilation[axis], at = index + a->before[axis];
    ptrdiff_t g = s, rest = d;
    while (rest) {
        const ptrdiff_t next = g % rest;
        g = rest, rest = next;
    }
    contributions m = {0, s / g, 0, d / g, 0};
    while (m.tap < a->window[axis] && (at - m.tap * d) % s) m.tap++;
    m.out = (at - m.tap * d) / s;
    while (m.tap < a->window[axis] && m.out >= a->out[axis]) m.tap += m.tap_step, m.out -= m.out_step;
    for (ptrdiff_t t = m.tap, o = m.out; t < a->window[axis] && o >= 0; t += m.tap_step, o -= m.out_step) m.count++;
    return m;
}

/* For each pair of taps u, v that read the cell: its offset in dy and in the filter. */
#define FOR_CONTRIBUTIONS(T)                                                                                           \
    for (ptrdiff_t k = 0; k < u.count; k++)                                                                            \
        for (ptrdiff_t l = 0; l < v.count; l++) {                                                                      \
            const T *dy =                                                                                              \
                image + (u.out - k * u.out_step) * a->dy_steps.row + (v.out - l * v.out_step) * a->dy_steps.step;      \
            const T *w = (const T *)a->w + ((u.tap + k * u.tap_step) * a->window[1] + v.tap + l * v.tap_step) * a->cout;

/* ``valid``: channels of the last vector to use if it is not whole. */
#define DEPTHWISE_INPUT(S, T, V, LANES)                                                                                \
    KI_INLINE void S##_depthwise_cell(const ki_backward_args *a, const T *image, T *dx, contributions u,               \
                                      contributions v, ptrdiff_t c0, const int count, ptrdiff_t valid) {               \
        V sum[BLOCK];                                                                                                  \
        for (int b = 0; b < count; b++) sum[b] = V##_zero();                                                           \
        FOR_CONTRIBUTIONS(T)                                                                                           \
        for (int b = 0; b < count; b++) {                                                                              \
            const ptrdiff_t c = c0 + b * LANES;                                                                        \
            V p = valid < LANES ? V##_load_n(dy + c, (size_t)valid) : V##_load(dy + c);                                \
            V q = valid < LANES ? V##_load_n(w + c, (size_t)valid) : V##_load(w + c);                                  \
            sum[b] = V##_fma(p, q, sum[b]);                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    for (int b = 0; b < count; b++) {                                                                                  \
        if (valid < LANES)                                                                                             \
            V##_store_n(dx + c0 + b * LANES, sum[b], (size_t)valid);                                                   \
        else                                                                                                           \
            V##_store(dx + c0 + b * LANES, sum[b]);                                                                    \
    }                                                                                                                  \
    }                                                                                                                  \
    static void KI_NAME(S##_depthwise_input_grad_row)(void *context, ptrdiff_t index, int slot) {                      \
        (void)slot;                                                                                                    \
        const ki_backward_args *a = context;                                                                           \
        const ptrdiff_t n = index / a->in[0], row = index % a->in[0], m = a->multiplier;                               \
        const T *image = (const T *)a->dy + n * a->dy_steps.image;                                                     \
        const contributions u = contributions_of(a, 0, row);                                                           \
        for (ptrdiff_t j = 0; j < a->in[1]; j++) {                                                                     \
            T *dx = (T *)a->dx + n * a->dx_steps.image + row * a->dx_steps.row + j * a->dx_steps.step;                 \
            const contributions v = contributions_of(a, 1, j);                                                         \
            ptrdiff_t c = 0;                                                                                           \
            if (m == 1) {                                                                                              \
                for (; c + BLOCK * LANES <= a->channels; c += BLOCK * LANES)                                           \
                    S##_depthwise_cell(a, image, dx, u, v, c, BLOCK, LANES);                                           \
                for (; c + LANES <= a->channels; c += LANES) S##_depthwise_cell(a, image, dx, u, v, c, 1, LANES);      \
                if (c < a->channels) S##_depthwise_cell(a, image, dx, u, v, c, 1, a->channels - c);                    \
                continue;                                                                                              \
            }                                                                                                          \
            for (; c < a->channels; c++) {                                                                             \
                T sum = 0;                                                                                             \
                FOR_CONTRIBUTIONS(T)                                                                                   \
                for (ptrdiff_t q = 0; q < m; q++) sum += dy[c * m + q] * w[c * m + q];                                 \
            }                                                                                                          \
            dx[c] = sum;                                                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    }                                                                                                                  \
    static void KI_NAME(S##_depthwise_input_grad)(const ki_backward_args *args) {                                      \
        ki_parallel(KI_NAME(S##_depthwise_input_grad_row), (void *)args, args->batch * args->in[0], args->threads);    \
    }

DEPTHWISE_INPUT(f32, float, vf32, VF32_LANES)
DEPTHWISE_INPUT(f64, double, vf64, VF64_LANES)

KI_JOIN(f32, float)
KI_JOIN(f64, double)

/* For each pixel of a block that a tap meets: p in x, q in dy. */
#define FOR_PIXELS(T)                                                                                                  \
    for (ptrdiff_t n = block.images.from; n < block.images.to; n++)                                                    \
        for (ptrdiff_t i = rows.from; i < rows.to; i++) {                                                              \
            const T *p = (const T *)a->x + n * a->x_steps.image + (i * a->stride[0] + at0) * a->x_steps.row +          \
                         (columns.from * a->stride[1] + at1) * a->x_steps.step;                                        \
            const T *q =                                                                                               \
                (const T *)a->dy + n * a->dy_steps.image + i * a->dy_steps.row + columns.from * a->dy_steps.step;      \
            for (ptrdiff_t j = columns.from; j < columns.to;                                                           \
                 j++, p += a->stride[1] * a->x_steps.step, q += a->dy_steps.step) {

/* A task sums one part of the blocks. */
#define DEPTHWISE_FILTER(S, T, V, LANES)                                                                               \
    KI_INLINE void S##_depthwise_tap(const ki_backward_args *a, ki_block block, ki_range rows, ki_range columns,       \
                                     ptrdiff_t at0, ptrdiff_t at1, T *to, ptrdiff_t c0, const int count,               \
                                     ptrdiff_t valid) {                                                                \
        V sum[BLOCK];                                                                                                  \
        for (int b = 0; b < count; b++)                                                                                \
            sum[b] = valid < LANES ? V##_load_n(to + c0 + b * LANES, (size_t)valid) : V##_load(to + c0 + b * LANES);   \
        FOR_PIXELS(T)                                                                                                  \
        for (int b = 0; b < count; b++) {                                                                              \
            const ptrdiff_t c = c0 + b * LANES;                                                                        \
            V r = valid < LANES ? V##_load_n(p + c, (size_t)valid) : V##_load(p + c);                                  \
            V s = valid < LANES ? V##_load_n(q + c, (size_t)valid) : V##_load(q + c);                                  \
            sum[b] = V##_fma(r, s, sum[b]);                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    }                                                                                                                  \
    for (int b = 0; b < count; b++) {                                                                                  \
        if (valid < LANES)                                                                                             \
            V##_store_n(to + c0 + b * LANES, sum[b], (size_t)valid);                                                   \
        else                                                                                                           \
            V##_store(to + c0 + b * LANES, sum[b]);                                                                    \
    }                                                                                                                  \
    }                                                                                                                  \
    static void KI_NAME(S##_depthwise_filter_grad_task)(void *context, ptrdiff_t part, int slot) {                     \
        (void)slot;                                                                                                    \
        const ki_backward_args *a = context;                                                                           \
        const ptrdiff_t blocks = ki_blocks(a), size = ki_filter_size(a);                                               \
        T *sums = a->parts > 1 ? (T *)a->sums + part * size : a->dw;                                                   \
        memset(sums, 0, (size_t)size * sizeof(T));                                                                     \
        for (ptrdiff_t i = blocks * part / a->parts; i < blocks * (part + 1) / a->parts; i++) {                        \
            const ki_block block = ki_block_at(a, i);                                                                  \
            for (ptrdiff_t tap = 0; tap < a->window[0] * a->window[1]; tap++) {                                        \
                const ptrdiff_t at0 = tap / a->window[1] * a->dilation[0] - a->before[0];                              \
                const ptrdiff_t at1 = tap % a->window[1] * a->dilation[1] - a->before[1];                              \
                const ki_range rows =                                                                                  \
                    ki_common(block.rows, ki_outputs_inside(a->in[0], a->out[0], a->stride[0], at0));                  \
                const ki_range columns = ki_outputs_inside(a->in[1], a->out[1], a->stride[1], at1);                    \
                T *to = sums + tap * a->cout;                                                                          \
                ptrdiff_t c = 0;                                                                                       \
                if (columns.from == columns.to) continue;                                                              \
                if (a->multiplier > 1) {                                                                               \
                    FOR_PIXELS(T)                                                                                      \
                    IVDEP for (c = 0; c < a->channels; c++) for (ptrdiff_t m = c * a->multiplier;                      \
                                                                 m < (c + 1) * a->multiplier; m++) to[m] +=            \
                        p[c] * q[m];                                                                                   \
                }                                                                                                      \
            }                                                                                                          \
            continue;                                                                                                  \
        }                                                                                                              \
        for (; c + BLOCK * LANES <= a->channels; c += BLOCK * LANES)                                                   \
            S##_depthwise_tap(a, block, rows, columns, at0, at1, to, c, BLOCK, LANES);                                 \
        for (; c + LANES <= a->channels; c += LANES)                                                                   \
            S##_depthwise_tap(a, block, rows, columns, at0, at1, to, c, 1, LANES);                                     \
        if (c < a->channels) S##_depthwise_tap(a, block, rows, columns, at0, at1, to, c, 1, a->channels - c);          \
    }                                                                                                                  \
    }                                                                                                                  \
    }                                                                                                                  \
    static void KI_NAME(S##_depthwise_filter_grad)(const ki_backward_args *args) {                                     \
        if (!args->cout) return;                                                                                       \
        ki_parallel(KI_NAME(S##_depthwise_filter_grad_task), (void *)args, args->parts, args->threads);                \
        KI_NAME(S##_join)(args);                                                                                       \
    }

DEPTHWISE_FILTER(f32, float, vf32, VF32_LANES)
DEPTHWISE_FILTER(f64, double, vf64, VF64_LANES)

ki_backward *const KI_NAME(ki_max_pool_grad)[KI_DTYPES] = KI_ROW_FLOATS(max_pool_grad);
ki_backward *const KI_NAME(ki_average_pool_grad)[KI_DTYPES] = KI_ROW_FLOATS(average_pool_grad);
ki_backward *const KI_NAME(ki_depthwise_input_grad)[KI_DTYPES] = KI_ROW_FLOATS(depthwise_input_grad);
ki_backward *const KI_NAME(ki_depthwise_filter_grad)[KI_DTYPES] = KI_ROW_FLOATS(depthwise_filter_grad);

/* One panel of columns per task, ROTATE_BLOCK x ROTATE_BLOCK elements at a time, so that each cache line is read once. */
#define ROTATE_FILTER(S, T, LANES)                                                                                     \
    static void KI_NAME(S##_rotate_task)(void *context, ptrdiff_t panel, int slot) {                                   \
        (void)slot;                                                                                                    \
        const ki_rotate_args *a = context;                                                                             \
        const ptrdiff_t first = panel * a->nv * LANES, left = (a->channels - first + LANES - 1) / LANES * LANES;       \
        const ptrdiff_t width = left < a->nv * LANES ? left : a->nv * LANES;                                           \
        T *to = (T *)a->packed + a->taps[0] * a->taps[1] * a->cout * first;                                            \
        for (ptrdiff_t i = 0; i < a->taps[0]; i++)                                                                     \
            for (ptrdiff_t j = 0; j < a->taps[1]; j++, to += a->cout * width) {                                        \
                const T *w = (const T *)a->w + a->first - i * a->step[0] - j * a->step[1] + first * a->cout;           \
                for (ptrdiff_t o0 = 0; o0 < a->cout; o0 += ROTATE_BLOCK) {                                             \
                    const ptrdiff_t o1 = a->cout - o0 < ROTATE_BLOCK ? a->cout : o0 + ROTATE_BLOCK;                    \
                    for (ptrdiff_t c = 0; c < width; c++) {                                                            \
                        if (first + c < a->channels)                                                                   \
                            for (ptrdiff_t o = o0; o < o1; o++) to[o * width + c] = w[c * a->cout + o];                \
                        else                                                                                           \
                            for (ptrdiff_t o = o0; o < o1; o++) to[o * width + c] = 0;                                 \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
    }                                                                                                                  \
    static void KI_NAME(S##_rotate)(const ki_rotate_args *a) {                                                         \
        const ptrdiff_t rows = a->taps[0] * a->taps[1] * a->cout, width = (ptrdiff_t)a->nv * LANES;                    \
        ki_parallel(KI_NAME(S##_rotate_task), (void *)a, (a->channels + width - 1) / width,                            \
                    rows * a->channels < 16384 ? 1 : a->threads);                                                      \
        memset((T *)a->packed + ki_packed_size(rows, a->channels, 0, LANES), 0, (size_t)(a->zeros + 1) * sizeof(T));   \
    }

ROTATE_FILTER(f32, float, VF32_LANES)
ROTATE_FILTER(f64, double, VF64_LANES)
ki_rotate *const KI_NAME(ki_rotate)[KI_DTYPES] = KI_ROW_FLOATS(rotate);
