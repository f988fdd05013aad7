/* The largest numbers of lines, in order. */
#ifndef KI_ORDER_H
#define KI_ORDER_H

#include <stddef.h>
#include <stdint.h>

/* Up to this many of a line are kept in order while it is read; more are taken from the whole line, sorted by radix. */
enum { KI_TOP_K_KEPT = 32 };

/* A number as a key that rises with it, and where it stood. */
typedef struct {
    uint64_t key;
    ptrdiff_t place;
} ki_ordered;

/* x [rows][n]; values and indices [rows][k], descending, of equals the lower index first; a NaN is the largest. indices are
 * int32 or int64 (index_bytes). scratch: 2 * n per thread, if k is above KI_TOP_K_KEPT. */
typedef struct {
    ptrdiff_t rows, n, k;
    int dtype, index_bytes, threads;
    const void *x;
    void *values, *indices;
    ki_ordered *scratch;
} ki_top_k_args;
void ki_top_k(const ki_top_k_args *args);

#endif
