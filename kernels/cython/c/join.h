/* dw = the sum of its parts, in their order; included by the sources of the filter gradients. */
#ifndef KI_JOIN_H
#define KI_JOIN_H

#include "backward.h"
#include "threads.h"

enum { KI_JOIN_PIECE = 4096 }; /* elements per task */

#define KI_JOIN(S, T)                                                                                                  \
    static void KI_NAME(S##_join_task)(void *context, ptrdiff_t piece, int slot) {                                     \
        (void)slot;                                                                                                    \
        const ki_backward_args *a = context;                                                                           \
        const ptrdiff_t size = ki_filter_size(a), from = piece * KI_JOIN_PIECE;                                        \
        const ptrdiff_t to = size - from < KI_JOIN_PIECE ? size : from + KI_JOIN_PIECE;                                \
        T *restrict dw = a->dw;                                                                                        \
        for (ptrdiff_t i = from; i < to; i++) dw[i] = ((const T *)a->sums)[i];                                         \
        for (ptrdiff_t part = 1; part < a->parts; part++) {                                                            \
            const T *sums = (const T *)a->sums + part * size;                                                          \
            for (ptrdiff_t i = from; i < to; i++) dw[i] += sums[i];                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    static void KI_NAME(S##_join)(const ki_backward_args *a) {                                                         \
        const ptrdiff_t pieces = (ki_filter_size(a) + KI_JOIN_PIECE - 1) / KI_JOIN_PIECE;                              \
        if (a->parts > 1) ki_parallel(KI_NAME(S##_join_task), (void *)a, pieces, a->threads);                          \
    }

#endif
