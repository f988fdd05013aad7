/* Softmax cross-entropy and its gradient. */
#ifndef KI_CROSS_ENTROPY_H
#define KI_CROSS_ENTROPY_H

#include <stddef.h>

/* Rows of logits and labels (a distribution, or class numbers of an integer type) -> loss[row], gradient[row][class]. */
typedef struct {
    ptrdiff_t rows, classes;
    int label_type; /* ki_dtype; a float: distributions */
    int threads;
    const void *logits, *labels;
    void *loss, *gradient;
} ki_cross_entropy_args;

/* Returns 0, or 1 if a class number is outside [0, classes): then nothing is written. */
typedef int ki_cross_entropy(const ki_cross_entropy_args *args);

#endif
