/* Softmax cross-entropy and its gradient on one instruction set: plain loops that become SIMD. */
#include "cross_entropy.h"

#include "functions.h"
#include "simd/simd.h"
#include "table.h"
#include "threads.h"

enum { COLUMNS = 32 };

/* The i-th class number; -1 for those that no ptrdiff_t holds. */
static inline ptrdiff_t label_at(const void *labels, int type, ptrdiff_t i) {
    switch (type) {
    case KI_I8:
        return ((const int8_t *)labels)[i];
    case KI_I16:
        return ((const int16_t *)labels)[i];
    case KI_I32:
        return ((const int32_t *)labels)[i];
    case KI_I64:
        return (ptrdiff_t)((const int64_t *)labels)[i];
    case KI_U8:
        return ((const uint8_t *)labels)[i];
    case KI_U16:
        return ((const uint16_t *)labels)[i];
    case KI_U32:
        return (ptrdiff_t)((const uint32_t *)labels)[i];
    default: {
        const uint64_t label = ((const uint64_t *)labels)[i];
        return label > PTRDIFF_MAX ? -1 : (ptrdiff_t)label;
    }
    }
}

/* The log of the sum of powers is added last: small losses keep their digits. Sums go round COLUMNS accumulators, so
 * that they are SIMD without reordering by the compiler. */
#define CROSS_ENTROPY(S, T, W, LEAST, GREATEST)                                                                        \
    static void KI_NAME(S##_cross_entropy_row)(void *context, ptrdiff_t row, int slot) {                               \
        (void)slot;                                                                                                    \
        const ki_cross_entropy_args *a = context;                                                                      \
        const ptrdiff_t n = a->classes;                                                                                \
        const T *x = (const T *)a->logits + row * n;                                                                   \
        T *d = (T *)a->gradient + row * n, part[COLUMNS] = {0}, top = LEAST, sum = 0, mass = 1, loss = 0;              \
        for (ptrdiff_t i = 0; i < n; i++) top = x[i] > top || x[i] != x[i] ? x[i] : top;                               \
        for (ptrdiff_t i = 0; i < n; i += COLUMNS) {                                                                   \
            const int count = n - i < COLUMNS ? (int)(n - i) : COLUMNS;                                                \
            IVDEP for (int c = 0; c < count; c++) {                                                                    \
                const T power = ki_exp_##S(x[i + c] - top);                                                            \
                d[i + c] = power;                                                                                      \
                part[c] += power;                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        for (int c = 0; c < COLUMNS; c++) sum += part[c];                                                              \
        const T log_sum = ki_log_##S(sum);                                                                             \
        if (a->label_type == KI_F32 || a->label_type == KI_F64) {                                                      \
            const T *labels = (const T *)a->labels + row * n;                                                          \
            mass = 0;                                                                                                  \
            for (ptrdiff_t i = 0; i < n; i++) {                                                                        \
                mass += labels[i];                                                                                     \
                loss -= labels[i] * (x[i] - top - log_sum);                                                            \
            }                                                                                                          \
            for (ptrdiff_t i = 0; i < n; i++) d[i] = d[i] / sum * mass - labels[i];                                    \
        } else {                                                                                                       \
            const ptrdiff_t label = label_at(a->labels, a->label_type, row);                                           \
            loss = log_sum - (x[label] - top);                                                                         \
            for (ptrdiff_t i = 0; i < n; i++) d[i] /= sum;                                                             \
            d[label] -= 1;                                                                                             \
        }                                                                                                              \
        ((T *)a->loss)[row] = loss;                                                                                    \
    }                                                                                                                  \
    static int KI_NAME(S##_cross_entropy)(const ki_cross_entropy_args *a) {                                            \
        if (a->label_type != KI_F32 && a->label_type != KI_F64)                                                        \
            for (ptrdiff_t i = 0; i < a->rows; i++) {                                                                  \
                const ptrdiff_t label = label_at(a->labels, a->label_type, i);                                         \
                if (label < 0 || label >= a->classes) return 1;                                                        \
            }                                                                                                          \
        ki_parallel(KI_NAME(S##_cross_entropy_row), (void *)a, a->rows, a->rows * a->classes < 4096 ? 1 : a->threads); \
        return 0;                                                                                                      \
    }

KI_FLOATS(CROSS_ENTROPY)
ki_cross_entropy *const KI_NAME(ki_cross_entropy)[KI_DTYPES] = KI_ROW_FLOATS(cross_entropy);
