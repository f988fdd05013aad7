/* Depthwise convolution on one instruction set: register tiles for the usual windows (depthwise_tile.h), and one column after
 * the other for any. Channels are the SIMD axis. */
#include "simd/bf16.h"
#include "simd/simd.h"
#include "table.h"
#include "windows_rows.h"

enum { BLOCK = 4, COLUMNS = 7 }; /* vectors of channels of a column; outputs of a row of a tile */

/* Rows of a tile: two share the rows of x that both windows reach, if there are registers for their sums. */
static inline int rows_of_tile(const ki_window_args *a) {
    return KI_VECTOR_REGISTERS >= 32 && a->dilation[0] == 1 && a->stride[0] == a->stride[1] ? 2 : 1;
}

static inline int has_tiles(const ki_window_args *a) {
    const ptrdiff_t width = a->window[1], stride = a->stride[1];
    return a->multiplier == 1 && a->channels >= VF32_LANES && (width == 3 || width == 5 || width == 7) && stride <= 2 &&
           (a->dilation[1] == 1 || (stride == 1 && a->dilation[1] <= a->in[1]));
}

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

#define DW(name) KI_NAME(KI_CAT(f32_depthwise_, name))
#define E float
#define O float
#define XOP(name) vf32_##name
#define YOP(name) vf32_##name
#include "depthwise_tile.h"
#undef DW
#undef E
#undef O
#undef XOP
#undef YOP

#define DW(name) KI_NAME(KI_CAT(bf16_depthwise_, name))
#define E uint16_t
#define O uint16_t
#define XOP(name) vbf16_##name
#define YOP(name) vbf16_##name
#include "depthwise_tile.h"
#undef DW
#undef E
#undef O
#undef XOP
#undef YOP

/* Element types without tiles. */
static void KI_NAME(no_band)(void *context, ptrdiff_t index, int slot) { (void)context, (void)index, (void)slot; }

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
#define DEPTHWISE(S, E, M, O, N, T, V, LANES, TILES)                                                                   \
    KI_INLINE void S##_depthwise(const ki_window_args *a, const E *image, O *y, span u, span v, ptrdiff_t c0,          \
                                 const int count, ptrdiff_t valid, const int padding) {                                \
        V sum[BLOCK];                                                                                                  \
        for (int k = 0; k < count; k++) {                                                                              \
            const T *b = (const T *)a->bias + c0 + k * LANES;                                                          \
            sum[k] = !a->bias ? V##_zero() : valid < LANES ? V##_load_n(b, (size_t)valid) : V##_load(b);               \
        }                                                                                                              \
        FOR_CELLS(E)                                                                                                   \
        const T *w = (const T *)a->w + (i * a->window[1] + j) * a->channels;                                           \
        for (int k = 0; k < count; k++) {                                                                              \
            const ptrdiff_t c = c0 + k * LANES;                                                                        \
            V p = valid < LANES ? M##_load_n(cell + c, (size_t)valid) : M##_load(cell + c);                            \
            V q = valid < LANES ? V##_load_n(w + c, (size_t)valid) : V##_load(w + c);                                  \
            sum[k] = V##_fma(p, q, sum[k]);                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    if (padding) FOR_PADDING                                                                                           \
    const T *w = (const T *)a->w + (i * a->window[1] + j) * a->channels;                                               \
    for (int k = 0; k < count; k++) {                                                                                  \
        const ptrdiff_t c = c0 + k * LANES;                                                                            \
        V q = valid < LANES ? V##_load_n(w + c, (size_t)valid) : V##_load(w + c);                                      \
        sum[k] = V##_fma(V##_zero(), q, sum[k]);                                                                       \
    }                                                                                                                  \
    }                                                                                                                  \
    const V lo = V##_set1((T)a->lo), hi = V##_set1((T)a->hi);                                                          \
    for (int k = 0; k < count; k++) {                                                                                  \
        V clamped = V##_min(hi, V##_max(lo, sum[k]));                                                                  \
        if (valid < LANES)                                                                                             \
            N##_store_n(y + c0 + k * LANES, clamped, (size_t)valid);                                                   \
        else                                                                                                           \
            N##_store(y + c0 + k * LANES, clamped);                                                                    \
    }                                                                                                                  \
    }                                                                                                                  \
    KI_INLINE void S##_depthwise_many(const ki_window_args *a, const E *image, O *y, span u, span v,                   \
                                      const int padding) {                                                             \
        const T *bias = a->bias;                                                                                       \
        for (ptrdiff_t o = 0; o < a->channels * a->multiplier; o++) {                                                  \
            T sum = bias ? bias[o] : 0;                                                                                \
            FOR_CELLS(E)                                                                                               \
            sum += M##_get(cell[o / a->multiplier]) *                                                                  \
                   ((const T *)a->w)[(i * a->window[1] + j) * a->channels * a->multiplier + o];                        \
        }                                                                                                              \
        if (padding) FOR_PADDING                                                                                       \
        sum += 0 * ((const T *)a->w)[(i * a->window[1] + j) * a->channels * a->multiplier + o];                        \
    }                                                                                                                  \
    sum = sum < (T)a->lo ? (T)a->lo : sum;                                                                             \
    y[o] = N##_put(sum > (T)a->hi ? (T)a->hi : sum);                                                                   \
    }                                                                                                                  \
    }                                                                                                                  \
    KI_INLINE void S##_depthwise_outputs(void *context, ptrdiff_t index, int slot, const int padding) {                \
        ROW(E, O);                                                                                                     \
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
    void KI_NAME(S##_depthwise)(const ki_window_args *args) {                                                          \
        const int padding = reaches_out(args) && !KI_NAME(S##_depthwise_finite)(args);                                 \
        if (!padding && TILES != KI_NAME(no_band) && has_tiles(args)) {                                                \
            launch(TILES, args, rows_of_tile(args));                                                                   \
            return;                                                                                                    \
        }                                                                                                              \
        launch(padding ? KI_NAME(S##_depthwise_padded_row) : KI_NAME(S##_depthwise_row), args, 1);                     \
    }

DEPTHWISE(f32, float, vf32, float, vf32, float, vf32, VF32_LANES, KI_NAME(f32_depthwise_band))
DEPTHWISE(f64, double, vf64, double, vf64, double, vf64, VF64_LANES, KI_NAME(no_band))
DEPTHWISE(bf16, uint16_t, vbf16, uint16_t, vbf16, float, vf32, VF32_LANES, KI_NAME(bf16_depthwise_band))
DEPTHWISE(f32_to_bf16, float, vf32, uint16_t, vbf16, float, vf32, VF32_LANES, KI_NAME(no_band))
DEPTHWISE(bf16_to_f32, uint16_t, vbf16, float, vf32, float, vf32, VF32_LANES, KI_NAME(no_band))

ki_window *const KI_NAME(ki_depthwise)[KI_DTYPES] = KI_ROW_FLOATS(depthwise);
