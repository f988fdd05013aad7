/* Philox4x32-10 (Salmon et al. 2011), with TensorFlow's distributions of float. */
#ifndef KI_PHILOX_H
#define KI_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* Group g gives four numbers, those of the counter (128 bits: low, high) + offsets[g], or + g where offsets is NULL. */
typedef struct {
    uint64_t key, low, high;
    const uint64_t *offsets;
    ptrdiff_t count; /* elements of y; the last group may be cut */
    void *y;
} ki_philox_args;
typedef void ki_philox(const ki_philox_args *args);

#endif
