/* Local response normalisation on one instruction set, pixel by pixel. */
#include "lrn.h"

#include "functions.h"
#include "simd/simd.h"
#include "table.h"
#include "threads.h"

/* Elements of a task, at least; wider windows (they are odd) are not summed term by term. */
enum { LRN_TASK = 4096, LRN_NARROW = 16 };

/* lrn_sums: sums[c] = line[c] + ... + line[c + 2 * reach]; destroys the line. In wide windows sums of 2 ** k neighbours come
 * from those of 2 ** (k - 1), and a window is one of each power of two that it has: about log2 of the window passes. Term by
 * term a window of 11 takes 0.8 of the time of that on 64 channels.
 * lrn_powers: n[c] = n[c] ** -beta, with roots where they are exact. */
#define LRN(S, T, W, LEAST, GREATEST)                                                                                  \
    static void KI_NAME(S##_lrn_sums)(T * line, T * sums, ptrdiff_t channels, ptrdiff_t reach) {                       \
        const ptrdiff_t lanes = (ptrdiff_t)(sizeof(v##S) / sizeof(T)), window = 2 * reach + 1;                         \
        if (window <= LRN_NARROW) {                                                                                    \
            for (ptrdiff_t c = 0; c < channels; c += lanes) {                                                          \
                v##S sum = v##S##_load(line + c);                                                                      \
                for (ptrdiff_t i = 1; i < window; i++) sum = v##S##_add(sum, v##S##_load(line + c + i));               \
                v##S##_store(sums + c, sum);                                                                           \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (ptrdiff_t c = 0; c < channels; c += lanes) v##S##_store(sums + c, v##S##_load(line + c));                 \
        for (ptrdiff_t half = 1, done = 1; 2 * half <= window; half *= 2) {                                            \
            for (ptrdiff_t i = 0; i <= channels + 2 * reach - 2 * half; i += lanes)                                    \
                v##S##_store(line + i, v##S##_add(v##S##_load(line + i), v##S##_load(line + i + half)));               \
            if (!(window & 2 * half)) continue;                                                                        \
            for (ptrdiff_t c = 0; c < channels; c += lanes)                                                            \
                v##S##_store(sums + c, v##S##_add(v##S##_load(sums + c), v##S##_load(line + done + c)));               \
            done += 2 * half;                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_lrn_powers)(T * n, ptrdiff_t channels, double beta) {                                      \
        const T exponent = (T)(-beta);                                                                                 \
        if (beta == 0.5)                                                                                               \
            for (ptrdiff_t c = 0; c < channels; c++) n[c] = 1 / KI_OF(ki_sqrt, n[c]);                                  \
        else if (beta == 0.75)                                                                                         \
            for (ptrdiff_t c = 0; c < channels; c++) {                                                                 \
                const T root = KI_OF(ki_sqrt, n[c]);                                                                   \
                n[c] = 1 / (root * KI_OF(ki_sqrt, root));                                                              \
            }                                                                                                          \
        else if (beta == 1)                                                                                            \
            for (ptrdiff_t c = 0; c < channels; c++) n[c] = 1 / n[c];                                                  \
        else                                                                                                           \
            for (ptrdiff_t c = 0; c < channels; c++) n[c] = KI_OF(ki_exp, exponent * KI_OF(ki_log, n[c]));             \
    }                                                                                                                  \
    static void KI_NAME(S##_lrn_norms)(const ki_lrn_args *a, const T *x, T *line, T *n) {                              \
        const T bias = (T)a->bias, alpha = (T)a->alpha;                                                                \
        for (ptrdiff_t i = 0; i < a->reach; i++) line[i] = line[a->reach + a->channels + i] = 0;                       \
        IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) line[a->reach + c] = x[c] * x[c];                            \
        KI_NAME(S##_lrn_sums)(line, n, a->channels, a->reach);                                                         \
        for (ptrdiff_t c = 0; c < a->channels; c++) n[c] = bias + alpha * n[c];                                        \
    }                                                                                                                  \
    static void KI_NAME(S##_lrn_rows)(void *context, ptrdiff_t task, int slot) {                                       \
        const ki_lrn_args *a = context;                                                                                \
        const ptrdiff_t block = (LRN_TASK + a->channels - 1) / a->channels, from = task * block;                       \
        const ptrdiff_t to = a->rows - from < block ? a->rows : from + block;                                          \
        T *line = (T *)a->scratch + slot * ki_lrn_scratch(a->channels, a->reach);                                      \
        T *n = line + a->channels + 2 * a->reach + KI_LRN_SPARE, *flow = n + a->channels + KI_LRN_SPARE;               \
        const T factor = (T)(2 * a->alpha * a->beta);                                                                  \
        for (ptrdiff_t row = from; row < to; row++) {                                                                  \
            const T *x = (const T *)a->x + row * a->x_step;                                                            \
            T *out = (T *)a->out + row * a->out_step;                                                                  \
            KI_NAME(S##_lrn_norms)(a, x, line, n);                                                                     \
            if (!a->dy) {                                                                                              \
                KI_NAME(S##_lrn_powers)(n, a->channels, a->beta);                                                      \
                IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) out[c] = x[c] * n[c];                                \
                continue;                                                                                              \
            }                                                                                                          \
            const T *dy = (const T *)a->dy + row * a->dy_step, *y = (const T *)a->y + row * a->y_step;                 \
            for (ptrdiff_t i = 0; i < a->reach; i++) line[i] = line[a->reach + a->channels + i] = 0;                   \
            IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) line[a->reach + c] = dy[c] * y[c] / n[c];                \
            KI_NAME(S##_lrn_sums)(line, flow, a->channels, a->reach);                                                  \
            KI_NAME(S##_lrn_powers)(n, a->channels, a->beta);                                                          \
            IVDEP for (ptrdiff_t c = 0; c < a->channels; c++) out[c] = dy[c] * n[c] - factor * x[c] * flow[c];         \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_lrn)(const ki_lrn_args *a) {                                                               \
        const ptrdiff_t block = (LRN_TASK + a->channels - 1) / a->channels;                                            \
        ki_parallel(KI_NAME(S##_lrn_rows), (void *)a, (a->rows + block - 1) / block, a->threads);                      \
    }

KI_FLOATS(LRN)
ki_lrn *const KI_NAME(ki_lrn)[KI_DTYPES] = KI_ROW_FLOATS(lrn);
