/* Batch normalisation on one instruction set: plain loops that become SIMD. */
#include "normalization.h"

#include <math.h>

#include "simd/simd.h"
#include "table.h"
#include "threads.h"

enum { NORM_ROWS = 32 };

#define BATCH_NORM(S, T, W, LEAST, GREATEST)                                                                           \
    static void KI_NAME(S##_batch_norm_rows)(void *context, ptrdiff_t index, int slot) {                               \
        (void)slot;                                                                                                    \
        const ki_batch_norm_args *a = context;                                                                         \
        const T *mean = a->mean, *offset = a->offset, *factors = a->factors;                                           \
        ptrdiff_t row = index * NORM_ROWS, end = row + NORM_ROWS < a->rows ? row + NORM_ROWS : a->rows;                \
        for (; row < end; row++) {                                                                                     \
            const T *x = (const T *)a->x + row * a->x_step;                                                            \
            T *y = (T *)a->y + row * a->y_step;                                                                        \
            IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) y[c] = (x[c] - mean[c]) * factors[c] + offset[c];        \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_batch_norm)(const ki_batch_norm_args *a) {                                                 \
        const T *variance = a->variance, *scale = a->scale;                                                            \
        T *factors = a->factors;                                                                                       \
        for (ptrdiff_t c = 0; c < a->channels; c++)                                                                    \
            factors[c] = (T)(1 / sqrt((double)variance[c] + a->epsilon)) * (scale ? scale[c] : 1);                     \
        ki_parallel(KI_NAME(S##_batch_norm_rows), (void *)a, (a->rows + NORM_ROWS - 1) / NORM_ROWS, a->threads);       \
    }

KI_FLOATS(BATCH_NORM)
ki_batch_norm *const KI_NAME(ki_batch_norm)[KI_DTYPES] = KI_ROW_FLOATS(batch_norm);
