/* Matrix product and convolution as one thing: an implicit GEMM over packed weights.
 *
 *     y[pixel, o] = clamp(bias[o] + sum over taps t and i < k of x[pixel, t][i] * w[t][i][o], lo, hi)
 *
 * A convolution has a grid of output pixels (batch x axis 0 x axis 1) and a grid of taps. A matrix product is the case of
 * one tap, where axis 1 counts the rows. Tiles of up to ``mr`` pixels run along axis 1, so a caller may swap the two
 * axes to have the tiles run down the image. docs/micro-kernels.md has pictures.
 *
 * Packed weights: panels of nv vectors of output channels (the last one as wide as needed), each [tap][k][lanes * nv],
 * zero-filled; after them zeros, which stand for pixels outside the image, and a mark: 0, or NaN if a weight is not finite.
 * With a NaN mark the zeros have to be multiplied, too; else runs of nothing but zeros are skipped.
 */
#ifndef KI_IGEMM_H
#define KI_IGEMM_H

#include <stddef.h>
#include <stdint.h>

#include "chain.h"

/* KI_MAX_SIBLINGS: matrix products that run as one; more run in groups of this size. KI_UNPACKED_ROWS: most rows of a transposed x
 * times weights that are used unpacked, unless these are one column. */
enum { KI_MAX_NV = 5, KI_MAX_MR = 10, KI_MAX_SIBLINGS = 16, KI_UNPACKED_ROWS = 64 };

/* One spatial axis; sizes in pixels and taps, steps in elements. */
typedef struct {
    ptrdiff_t in, out, taps;
    ptrdiff_t stride, dilation, before; /* before: padding at the low end */
    ptrdiff_t in_step, out_step;        /* between neighbours in x and in y */
    ptrdiff_t tap_step;                 /* between neighbouring taps in the order of the packed weights */
} ki_axis;

/* The weights of one run of inputs: ``length`` rows of the panel from ``row`` on. A run is one tap, or several whose
 * inputs are contiguous in x. */
typedef struct {
    ptrdiff_t row, length;
} ki_run;

/* Memory to prefetch: the next address, and cache lines per strip of KI_STRIP iterations of the k loop. */
typedef struct {
    uintptr_t address;
    ptrdiff_t lines;
} ki_ahead;

/* KI_WEIGHTS_AHEAD: rows of a panel between the one in use and the one fetched from L2 (+5 %; 4 .. 16 are alike). */
enum { KI_STRIP = 16, KI_WEIGHTS_AHEAD = 8 };

typedef struct {
    ki_axis axis[2];
    ptrdiff_t batch, in_batch, out_batch;
    ptrdiff_t k;    /* inputs per tap, contiguous in x */
    ptrdiff_t kc;   /* rows of a panel per pass over the output (of taps * k): this part stays in the L2 cache */
    ptrdiff_t cout;
    int nv, mr;     /* vectors of a panel, most pixels of a tile */
    int threads;
    double lo, hi;  /* the activation as limits; -inf and inf for none */
    const void *x, *w, *bias; /* bias may be NULL */
    void *y, *tables;         /* threads x ki_igemm_slot_bytes(), 64-byte aligned */
    const ki_chain *chain;    /* not NULL: runs on every tile before it is written; for packed weights */
} ki_igemm_args;

/* Packs w[i * row_step + o * col_step] for i < rows = taps * k and o < cout, then zeros. */
typedef struct {
    const void *w;
    void *packed; /* ki_packed_size() + 1 elements */
    ptrdiff_t rows, cout, row_step, col_step, zeros;
    int nv, threads;
} ki_pack_args;

typedef void ki_pack(const ki_pack_args *args);

/* A convolution, or one or more matrix products, with the packing and transposing that each run needs.
 *
 * Item i works on x + offsets[3 i], w + offsets[3 i + 1], y + offsets[3 i + 2] (elements). One item uses all threads;
 * several items are divided among the threads, one thread each. A thread's part of the workspace holds the tables of
 * pointers, the packed weights and the transposed x, in this order. */
typedef struct {
    ki_igemm_args gemm; /* w: the packed weights, unless ``packs`` */
    ki_pack_args pack;  /* w: the raw weights */
    int packs, transposes;
    int in_place; /* weights that are no constant are used unpacked (igemm_unpacked.h); pack has their address */
    ptrdiff_t rows, x_step; /* transposes: x is stored [k][rows] with x_step elements between its rows */
    ptrdiff_t items;
    const ptrdiff_t *offsets;
    ptrdiff_t table_bytes, packed_bytes, transposed_bytes; /* multiples of 64; the first for one slot */
    void *workspace; /* ki_product_workspace() bytes */
} ki_product_args;

typedef void ki_product(const ki_product_args *args);

/* Matrix products of one item each with the same x, threads and pixels; own weights, tile, bias, limits and y. */
typedef void ki_siblings(const ki_product_args *products, ptrdiff_t count);

static inline ptrdiff_t ki_product_workspace(const ki_product_args *p) {
    ptrdiff_t tables = p->table_bytes * p->gemm.threads, rest = p->packed_bytes + p->transposed_bytes;
    return tables + rest * (p->items > 1 ? p->gemm.threads : 1);
}

/* The longest run of inputs of a pixel outside the image, which reads zeros. */
static inline ptrdiff_t ki_zeros(ptrdiff_t taps0, ptrdiff_t taps1, ptrdiff_t k) {
    return (taps0 > taps1 ? taps0 : taps1) * k;
}

/* Elements of the packed weights before the mark, which is its index. */
static inline ptrdiff_t ki_packed_size(ptrdiff_t rows, ptrdiff_t cout, ptrdiff_t zeros, int lanes) {
    return rows * ((cout + lanes - 1) / lanes) * lanes + zeros;
}

/* Bytes of one thread's table of pointers. */
static inline ptrdiff_t ki_igemm_slot_bytes(ptrdiff_t taps, int mr) {
    ptrdiff_t bytes = taps * (mr * (ptrdiff_t)sizeof(void *) + (ptrdiff_t)sizeof(ki_run));
    return (bytes + 63) / 64 * 64;
}

#endif
