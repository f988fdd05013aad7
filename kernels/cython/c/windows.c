/* Pooling on one instruction set. A task is one row of outputs; channels are the SIMD axis, in
 * blocks whose accumulators stay in registers over the window. */
#include "windows.h"

#include <math.h>

#include "simd/bf16.h"
#include "simd/bytes.h"
#include "simd/simd.h"
#include "table.h"
#include "windows_rows.h"

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
    static void KI_NAME(S##_##KIND##_pool)(const ki_window_args *args) { launch(KI_NAME(S##_##KIND##_pool_row), args, 1); }

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
    static void KI_NAME(S##_max_pool)(const ki_window_args *args) { launch(KI_NAME(S##_max_pool_row), args, 1); }

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
    static void KI_NAME(S##_max_pool)(const ki_window_args *args) { launch(KI_NAME(S##_max_pool_row), args, 1); }

BYTE_MAX_POOL(i8, INT8_MIN)
BYTE_MAX_POOL(u8, 0)

ki_window *const KI_NAME(ki_max_pool)[KI_DTYPES] = KI_ROW_NUMBERS(max_pool);
ki_window *const KI_NAME(ki_average_pool)[KI_DTYPES] = KI_ROW_FLOATS(average_pool);

ki_window *const KI_NAME(ki_bf16_windows)[KI_BF16_WINDOWS] = {
    [KI_BF16_MAX] = KI_NAME(bf16_max_pool),
    [KI_BF16_AVERAGE] = KI_NAME(bf16_average_pool),
    [KI_BF16_DEPTHWISE] = KI_NAME(bf16_depthwise),
    [KI_BF16_DEPTHWISE_FROM_F32] = KI_NAME(f32_to_bf16_depthwise),
    [KI_BF16_DEPTHWISE_TO_F32] = KI_NAME(bf16_to_f32_depthwise),
};
