/* Bilinear resizing on one instruction set: plain loops that become SIMD. */
#include "resize.h"

#include "simd/simd.h"
#include "table.h"
#include "threads.h"

/* One row of outputs per task; float arithmetic in the order of the contract. */
#define RESIZE(S, T, W, LEAST, GREATEST)                                                                               \
    static void KI_NAME(S##_resize_row)(void *context, ptrdiff_t index, int slot) {                                    \
        (void)slot;                                                                                                    \
        const ki_resize_args *a = context;                                                                             \
        const ptrdiff_t row = index % a->out[0], channels = a->channels, pitch = a->in[1] * channels;                  \
        const T *image = (const T *)a->x + index / a->out[0] * a->in[0] * pitch;                                       \
        const T *upper = image + a->lower[0][row] * pitch, *lower = image + a->upper[0][row] * pitch;                  \
        const float wy = a->weight[0][row];                                                                            \
        float *y = a->y + index * a->out[1] * channels;                                                                \
        for (ptrdiff_t o = 0; o < a->out[1]; o++, y += channels) {                                                     \
            const ptrdiff_t left = a->lower[1][o] * channels, right = a->upper[1][o] * channels;                       \
            const float wx = a->weight[1][o];                                                                          \
            for (ptrdiff_t c = 0; c < channels; c++) {                                                                 \
                const float tl = (float)upper[left + c], tr = (float)upper[right + c];                                 \
                const float bl = (float)lower[left + c], br = (float)lower[right + c];                                 \
                const float top = tl + (tr - tl) * wx, bottom = bl + (br - bl) * wx;                                   \
                y[c] = top + (bottom - top) * wy;                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_resize)(const ki_resize_args *a) {                                                         \
        if (a->channels) ki_parallel(KI_NAME(S##_resize_row), (void *)a, a->batch * a->out[0], a->threads);            \
    }

KI_NUMBERS(RESIZE)
ki_resize *const KI_NAME(ki_resize)[KI_DTYPES] = KI_ROW_NUMBERS(resize);
