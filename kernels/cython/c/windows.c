/* Pooling and depthwise convolution on one instruction set. A task is one row of outputs; channels are the SIMD axis, in
 * blocks whose accumulators stay in registers over the window. */
#include "windows.h"

#include <math.h>

#include "simd/bf16.h"
#include "simd/bytes.h"
#include "simd/simd.h"
#include "table.h"
#include "threads.h"
#include "windows_span.h"

/* The start of a task: the row's address in x and y, of elements E and O. */
#define ROW(E, O)                                                                                                         \
    (void)slot;                                                                                                        \
    const ki_window_args *a = context;                                                                                 \
    const E *image = (const E *)a->x + index / a->out[0] * a->x_image;                                                 \
    O *row = (O *)a->y + index / a->out[0] * a->y_image + index % a->out[0] * a->y_row;                                \
    const span u = span_of(a, 0, index % a->out[0])

/* For each cell of the window inside the image, ``cell`` points to its first channel. */
#define FOR_CELLS(T)                                                                                                   \
    for (ptrdiff_t i = u.from; i < u.to; i++)                                                                          \
        for (ptrdiff_t j = v.from; j < v.to; j++) {                                                                    \
            const T *cell = image + (u.at + i * a->dilation[0]) * a->x_row + (v.at + j * a->dilation[1]) * a->x_step;

/* The columns of row ``i`` of a window that are outside the image, left or right of it. */
static inline span beside(const ki_window_args *a, span u, span v, ptrdiff_t i, int right) {
    const ptrdiff_t width = a->window[1];
    if (i < u.from || i >= u.to) return (span){right ? width : 0, width, 0};
    if (right) return (span){v.to, width, 0};
    return (span){0, v.from < width ? v.from : width, 0};
}

/* For each cell of the window outside the image. */
#define FOR_PADDING                                                                                                    \
    for (ptrdiff_t i = 0; i < a->window[0]; i++)                                                                       \
        for (int right = 0; right < 2; right++)                                                                        \
            for (ptrdiff_t j = beside(a, u, v, i, right).from; j < beside(a, u, v, i, right).to; j++) {

/* Cells below which a second thread does not pay. */
enum { LEAST_SHARED = 256 * 1024 };

static void launch(ki_task *task, const ki_window_args *a) {
    const ptrdiff_t rows = a->batch * a->out[0];
    const double cells = (double)rows * a->out[1] * a->channels * a->window[0] * a->window[1]; /* a window may be huge */
    if (a->out[1] && a->channels) ki_parallel(task, (void *)a, rows, cells < LEAST_SHARED ? 1 : a->threads);
}

enum { BLOCK = 4 }; /* vectors */

/* Pooling of ``count`` vectors of channels from channel c0 on, of which ``valid`` channels are there. A window's cells are
 * reduced one after the other, from and to elements E that M##_load and M##_store convert: START is the initial value, JOIN(a, b) adds a cell, FINISH(a) gives the result. */
#define POOL(KIND, S, E, M, T, V, LANES, START, JOIN, FINISH)                                                                \
    KI_INLINE void S##_##KIND##_cells(const ki_window_args *a, const E *image, E *y, span u, span v, ptrdiff_t c0,     \
                              const int count, ptrdiff_t valid, T cells) {                                             \
        (void)cells;                                                                                                   \
        const T *b = a->bias ? (const T *)a->bias + c0 : NULL;                                                         \
        const V lo = V##_set1((T)a->lo), hi = V##_set1((T)a->hi);                                                      \
        V joined[BLOCK];                                                                                               \
        for (int k = 0; k < count; k++) joined[k] = V##_set1(START);                                                   \
        FOR_CELLS(E)                                                                                                   \
            for (int k = 0; k < count; k++) {                                                                          \
                const E *p = cell + c0 + k * LANES;                                                                    \
                joined[k] = JOIN(joined[k], valid < LANES ? M##_load_n(p, (size_t)valid) : M##_load(p));               \
            }                                                                                                          \
        }                                                                                                              \
        for (int k = 0; k < count; k++) {                                                                              \
            V result = FINISH(joined[k]);                                                                              \
            if (b) result = V##_add(result, valid < LANES ? V##_load_n(b, (size_t)valid) : V##_load(b + k * LANES));   \
            result = V##_min(hi, V##_max(lo, result));                                                                 \
            if (valid < LANES)                                                                                         \
                M##_store_n(y + c0 + k * LANES, result, (size_t)valid);                                                \
            else                                                                                                       \
                M##_store(y + c0 + k * LANES, result);                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_##KIND##_pool_row)(void *context, ptrdiff_t index, int slot) {                             \
        ROW(E, E);                                                                                                        \
        for (ptrdiff_t o = 0; o < a->out[1]; o++) {                                                                    \
            const span v = span_of(a, 1, o);                                                                           \
            const double cells = a->count_padding ? (double)a->window[0] * a->window[1]                                \
                                                  : (double)((u.to - u.from) * (v.to - v.from));                       \
            E *y = row + o * a->y_step;                                                                                \
            ptrdiff_t c = 0;                                                                                           \
            for (; c + BLOCK * LANES <= a->channels; c += BLOCK * LANES)                                               \
                S##_##KIND##_cells(a, image, y, u, v, c, BLOCK, LANES, (T)cells);                                      \
            for (; c + LANES <= a->channels; c += LANES) S##_##KIND##_cells(a, image, y, u, v, c, 1, LANES, (T)cells); \
            if (c < a->channels) S##_##KIND##_cells(a, image, y, u, v, c, 1, a->channels - c, (T)cells);               \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_##KIND##_pool)(const ki_window_args *args) { launch(KI_NAME(S##_##KIND##_pool_row), args); }

#define SAME(value) value
#define MEAN_F32(sum) vf32_div(sum, vf32_set1(cells))
#define MEAN_F64(sum) vf64_div(sum, vf64_set1(cells))
POOL(max, f32, float, vf32, float, vf32, VF32_LANES, -INFINITY, vf32_nan_max, SAME)
POOL(max, f64, double, vf64, double, vf64, VF64_LANES, -INFINITY, vf64_nan_max, SAME)
POOL(average, f32, float, vf32, float, vf32, VF32_LANES, 0, vf32_add, MEAN_F32)
POOL(average, f64, double, vf64, double, vf64, VF64_LANES, 0, vf64_add, MEAN_F64)
POOL(max, bf16, uint16_t, vbf16, float, vf32, VF32_LANES, -INFINITY, vf32_nan_max, SAME)
POOL(average, bf16, uint16_t, vbf16, float, vf32, VF32_LANES, 0, vf32_add, MEAN_F32)

#define MAX_POOL(S, T, LEAST)                                                                                          \
    static void KI_NAME(S##_max_pool_row)(void *context, ptrdiff_t index, int slot) {                                  \
        ROW(T, T);                                                                                                        \
        for (ptrdiff_t o = 0; o < a->out[1]; o++) {                                                                    \
            const span v = span_of(a, 1, o);                                                                           \
            T *restrict y = row + o * a->y_step;                                                                       \
            for (ptrdiff_t c = 0; c < a->channels; c++) y[c] = (T)(LEAST);                                             \
            FOR_CELLS(T)                                                                                               \
                for (ptrdiff_t c = 0; c < a->channels; c++) y[c] = cell[c] > y[c] ? cell[c] : y[c];                    \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_max_pool)(const ki_window_args *args) { launch(KI_NAME(S##_max_pool_row), args); }

MAX_POOL(i16, int16_t, INT16_MIN)
MAX_POOL(i32, int32_t, INT32_MIN)
MAX_POOL(i64, int64_t, INT64_MIN)
MAX_POOL(u16, uint16_t, 0)
MAX_POOL(u32, uint32_t, 0)
MAX_POOL(u64, uint64_t, 0)

/* Bytes: ``count`` vectors from channel c0 on stay in registers over the window. ``valid``: fewer channels than a vector has. */
#define BYTE_MAX_POOL(S, LEAST)                                                                                        \
    KI_INLINE void S##_max_cells(const ki_window_args *a, const uint8_t *image, uint8_t *y, span u, span v,            \
                                 ptrdiff_t c0, const int count, ptrdiff_t valid) {                                     \
        vbytes most[BLOCK];                                                                                            \
        for (int k = 0; k < count; k++) most[k] = vb_set1(LEAST);                                                      \
        FOR_CELLS(uint8_t)                                                                                             \
            for (int k = 0; k < count; k++) {                                                                          \
                const uint8_t *p = cell + c0 + k * KI_BYTES;                                                           \
                most[k] = vb_max_##S(most[k], valid < KI_BYTES ? vb_load_n(p, (size_t)valid) : vb_load(p));            \
            }                                                                                                          \
        }                                                                                                              \
        for (int k = 0; k < count; k++)                                                                                \
            if (valid < KI_BYTES)                                                                                      \
                vb_store_n(y + c0, most[k], (size_t)valid);                                                            \
            else                                                                                                       \
                vb_store(y + c0 + k * KI_BYTES, most[k]);                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_max_pool_row)(void *context, ptrdiff_t index, int slot) {                                  \
        ROW(uint8_t, uint8_t);                                                                                               \
        const ptrdiff_t channels = a->channels;                                                                        \
        for (ptrdiff_t o = 0; o < a->out[1]; o++) {                                                                    \
            const span v = span_of(a, 1, o);                                                                           \
            uint8_t *y = row + o * a->y_step;                                                                          \
            ptrdiff_t c = 0;                                                                                           \
            for (; c + BLOCK * KI_BYTES <= channels; c += BLOCK * KI_BYTES)                                            \
                S##_max_cells(a, image, y, u, v, c, BLOCK, KI_BYTES);                                                  \
            for (; c + KI_BYTES <= channels; c += KI_BYTES) S##_max_cells(a, image, y, u, v, c, 1, KI_BYTES);          \
            if (c == channels) continue;                                                                               \
            if (channels >= KI_BYTES) /* some channels again */                                                        \
                S##_max_cells(a, image, y, u, v, channels - KI_BYTES, 1, KI_BYTES);                                    \
            else                                                                                                       \
                S##_max_cells(a, image, y, u, v, 0, 1, channels);                                                      \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_max_pool)(const ki_window_args *args) { launch(KI_NAME(S##_max_pool_row), args); }

BYTE_MAX_POOL(i8, INT8_MIN)
BYTE_MAX_POOL(u8, 0)

/* Whether any window extends beyond the image. */
static int reaches_out(const ki_window_args *a) {
    for (int i = 0; i < 2; i++) {
        if (!a->out[i]) continue;
        const span first = span_of(a, i, 0), last = span_of(a, i, a->out[i] - 1);
        if (first.from > 0 || first.to < a->window[i] || last.from > 0 || last.to < a->window[i]) return 1;
    }
    return 0;
}

/* ``padding``: a weight is not finite, so that the zeros outside the image have to be multiplied, too. */
#define DEPTHWISE(S, E, M, O, N, T, V, LANES)                                                                                      \
    KI_INLINE void S##_depthwise(const ki_window_args *a, const E *image, O *y, span u, span v, ptrdiff_t c0,          \
                                 const int count, ptrdiff_t valid, const int padding) {                                \
        V sum[BLOCK];                                                                                                  \
        for (int k = 0; k < count; k++) {                                                                              \
            const T *b = (const T *)a->bias + c0 + k * LANES;                                                          \
            sum[k] = !a->bias ? V##_zero() : valid < LANES ? V##_load_n(b, (size_t)valid) : V##_load(b);               \
        }                                                                                                              \
        FOR_CELLS(E)                                                                                                   \
            const T *w = (const T *)a->w + (i * a->window[1] + j) * a->channels;                                       \
            for (int k = 0; k < count; k++) {                                                                          \
                const ptrdiff_t c = c0 + k * LANES;                                                                    \
                V p = valid < LANES ? M##_load_n(cell + c, (size_t)valid) : M##_load(cell + c);                        \
                V q = valid < LANES ? V##_load_n(w + c, (size_t)valid) : V##_load(w + c);                              \
                sum[k] = V##_fma(p, q, sum[k]);                                                                        \
            }                                                                                                          \
        }                                                                                                              \
        if (padding)                                                                                                   \
            FOR_PADDING                                                                                                \
                const T *w = (const T *)a->w + (i * a->window[1] + j) * a->channels;                                   \
                for (int k = 0; k < count; k++) {                                                                      \
                    const ptrdiff_t c = c0 + k * LANES;                                                                \
                    V q = valid < LANES ? V##_load_n(w + c, (size_t)valid) : V##_load(w + c);                          \
                    sum[k] = V##_fma(V##_zero(), q, sum[k]);                                                           \
                }                                                                                                      \
            }                                                                                                          \
        const V lo = V##_set1((T)a->lo), hi = V##_set1((T)a->hi);                                                      \
        for (int k = 0; k < count; k++) {                                                                              \
            V clamped = V##_min(hi, V##_max(lo, sum[k]));                                                              \
            if (valid < LANES)                                                                                         \
                N##_store_n(y + c0 + k * LANES, clamped, (size_t)valid);                                               \
            else                                                                                                       \
                N##_store(y + c0 + k * LANES, clamped);                                                                \
        }                                                                                                              \
    }                                                                                                                  \
    KI_INLINE void S##_depthwise_many(const ki_window_args *a, const E *image, O *y, span u, span v,                   \
                                      const int padding) {                                                             \
        const T *bias = a->bias;                                                                                       \
        for (ptrdiff_t o = 0; o < a->channels * a->multiplier; o++) {                                                  \
            T sum = bias ? bias[o] : 0;                                                                                \
            FOR_CELLS(E)                                                                                               \
                sum += M##_get(cell[o / a->multiplier]) *                                                                       \
                       ((const T *)a->w)[(i * a->window[1] + j) * a->channels * a->multiplier + o];                    \
            }                                                                                                          \
            if (padding)                                                                                               \
                FOR_PADDING                                                                                            \
                    sum += 0 * ((const T *)a->w)[(i * a->window[1] + j) * a->channels * a->multiplier + o];            \
                }                                                                                                      \
            sum = sum < (T)a->lo ? (T)a->lo : sum;                                                                     \
            y[o] = N##_put(sum > (T)a->hi ? (T)a->hi : sum);                                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    KI_INLINE void S##_depthwise_outputs(void *context, ptrdiff_t index, int slot, const int padding) {                \
        ROW(E, O);                                                                                                        \
        for (ptrdiff_t o = 0; o < a->out[1]; o++) {                                                                    \
            const span v = span_of(a, 1, o);                                                                           \
            O *y = row + o * a->y_step;                                                                                \
            if (a->multiplier != 1) {                                                                                  \
                S##_depthwise_many(a, image, y, u, v, padding);                                                        \
                continue;                                                                                              \
            }                                                                                                          \
            ptrdiff_t c = 0;                                                                                           \
            for (; c + BLOCK * LANES <= a->channels; c += BLOCK * LANES)                                               \
                S##_depthwise(a, image, y, u, v, c, BLOCK, LANES, padding);                                            \
            for (; c + LANES <= a->channels; c += LANES) S##_depthwise(a, image, y, u, v, c, 1, LANES, padding);       \
            if (c < a->channels) S##_depthwise(a, image, y, u, v, c, 1, a->channels - c, padding);                     \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_depthwise_row)(void *context, ptrdiff_t index, int slot) {                                 \
        S##_depthwise_outputs(context, index, slot, 0);                                                                \
    }                                                                                                                  \
    static void KI_NAME(S##_depthwise_padded_row)(void *context, ptrdiff_t index, int slot) {                          \
        S##_depthwise_outputs(context, index, slot, 1);                                                                \
    }                                                                                                                  \
    static int KI_NAME(S##_depthwise_finite)(const ki_window_args *a) {                                                \
        const ptrdiff_t size = a->window[0] * a->window[1] * a->channels * a->multiplier;                              \
        const T *w = a->w;                                                                                             \
        V sum = V##_zero();                                                                                            \
        T lanes[LANES];                                                                                                \
        ptrdiff_t i = 0;                                                                                               \
        for (; i + LANES <= size; i += LANES) sum = V##_fma(V##_zero(), V##_load(w + i), sum);                         \
        if (i < size) sum = V##_fma(V##_zero(), V##_load_n(w + i, (size_t)(size - i)), sum);                           \
        V##_store(lanes, sum);                                                                                         \
        for (int k = 0; k < LANES; k++)                                                                                \
            if (lanes[k] != 0) return 0;                                                                               \
        return 1;                                                                                                      \
    }                                                                                                                  \
    static void KI_NAME(S##_depthwise)(const ki_window_args *args) {                                                   \
        const int padding = reaches_out(args) && !KI_NAME(S##_depthwise_finite)(args);                                 \
        launch(padding ? KI_NAME(S##_depthwise_padded_row) : KI_NAME(S##_depthwise_row), args);                        \
    }

DEPTHWISE(f32, float, vf32, float, vf32, float, vf32, VF32_LANES)
DEPTHWISE(f64, double, vf64, double, vf64, double, vf64, VF64_LANES)
DEPTHWISE(bf16, uint16_t, vbf16, uint16_t, vbf16, float, vf32, VF32_LANES)
DEPTHWISE(f32_to_bf16, float, vf32, uint16_t, vbf16, float, vf32, VF32_LANES)
DEPTHWISE(bf16_to_f32, uint16_t, vbf16, float, vf32, float, vf32, VF32_LANES)

ki_window *const KI_NAME(ki_max_pool)[KI_DTYPES] = KI_ROW_NUMBERS(max_pool);
ki_window *const KI_NAME(ki_average_pool)[KI_DTYPES] = KI_ROW_FLOATS(average_pool);
ki_window *const KI_NAME(ki_depthwise)[KI_DTYPES] = KI_ROW_FLOATS(depthwise);

ki_window *const KI_NAME(ki_bf16_windows)[KI_BF16_WINDOWS] = {
    [KI_BF16_MAX] = KI_NAME(bf16_max_pool),
    [KI_BF16_AVERAGE] = KI_NAME(bf16_average_pool),
    [KI_BF16_DEPTHWISE] = KI_NAME(bf16_depthwise),
    [KI_BF16_DEPTHWISE_FROM_F32] = KI_NAME(f32_to_bf16_depthwise),
    [KI_BF16_DEPTHWISE_TO_F32] = KI_NAME(bf16_to_f32_depthwise),
};
