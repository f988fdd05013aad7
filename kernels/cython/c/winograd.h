/* Convolution with fewer multiplications, float32: Winograd's F(m x m, r x r) and, along one axis, Cook-Toom's F(m, r).
 *
 *     y = A^T [(G g) . (B^T d)]     a tile: m outputs from n = m + r - 1 inputs by n products; two axes: twice
 *
 * Points: 0, pairs of +-p, infinity: n = 2 * pairs + 2. Summed over input channels, the products of each of the n (or
 * n * n) points are a matrix product of their own. (Winograd 1980; Lavin and Gray 2016, arXiv:1509.09308.)
 *
 * Packed weights: panels of nv vectors of output channels (the last one as wide as needed), each
 * [point][input channel][lanes * nv], zero-filled; after them cin zeros, which stand for pixels outside the image.
 */
#ifndef KI_WINOGRAD_H
#define KI_WINOGRAD_H

#include <stddef.h>

enum { KI_PAIRS = 5, KI_TILE_OUTPUTS = 6, KI_WINOGRAD_KINDS = 9, KI_WINOGRAD_TAPS = 7 };

/* Transforms in float32 for one set of points. Polynomials in x^2, constant term first, leading term (1) left out:
 * z of the product over all pairs of (x^2 - p^2), r of the same product without pair j. a: powers of p. */
typedef struct {
    float p[KI_PAIRS], z[KI_PAIRS], r[KI_PAIRS][KI_PAIRS], a[KI_PAIRS][KI_TILE_OUTPUTS];
} ki_points;

/* What threads divide. Tiles: each transforms its own and reads all weights. Panels: each transforms all tiles and reads its
 * part of the weights. Blocks: they share the transformed inputs, and divide panels and blocks of tiles. Cache
 * lines that another core has just written arrive slowly, so sharing is for weights that are much larger than the inputs. */
enum ki_division { KI_DIVIDE_BLOCKS, KI_DIVIDE_TILES, KI_DIVIDE_PANELS };

/* One spatial axis; sizes in pixels, steps in elements. */
typedef struct {
    ptrdiff_t in, out, before; /* before: padding at the low end */
    ptrdiff_t in_step, out_step;
} ki_tile_axis;

typedef struct {
    ki_tile_axis axis[2]; /* an algorithm of one axis works along axis[1] */
    int rows; /* the axis that counts the rows of the image */
    ptrdiff_t batch, in_batch, out_batch, cin, cout;
    ptrdiff_t most_tiles; /* whose transformed inputs are held at a time */
    ptrdiff_t block_tiles; /* whose products are held at a time, by a thread */
    int division; /* ki_division */
    int nv, threads;
    double lo, hi; /* the activation as limits; -inf and inf for none */
    const ki_points *points;
    const float *x, *u, *bias; /* bias may be NULL */
    float *y;
    void *workspace; /* ki_winograd_workspace() bytes, 64-byte aligned */
} ki_winograd_args;

typedef void ki_winograd(const ki_winograd_args *args);

typedef struct {
    const char *name;
    int pairs[2]; /* per axis; 0: no transform along it */
    int outputs[2];
    ki_winograd *run;
} ki_winograd_kind;

/* Weights (taps, taps, input channels, output channels) to packed ones, in double precision: G g G^T, rounded once. */
typedef struct {
    int taps[2], points[2]; /* along both axes; 1 and 1: no transform along it */
    ptrdiff_t tap_step[2]; /* elements between neighbouring taps */
    ptrdiff_t cin, cout, width; /* width: of a panel, in output channels */
    double g[2][2 * KI_PAIRS + 2][KI_WINOGRAD_TAPS]; /* G of both axes */
    double largest; /* of the transformed weights, by magnitude */
    int threads;
    const float *w;
    float *packed;
} ki_winograd_pack_args;

/* Returns 0 where a weight is not finite or a transformed one is above ``largest``; ``packed`` is then of no use. */
typedef int ki_winograd_pack(const ki_winograd_pack_args *args);

/* Elements between two points' matrices of ``elements``: an odd number of cache lines, so that the points of one tile
 * do not fall into one set of the L1 cache. */
static inline ptrdiff_t ki_point_step(ptrdiff_t elements) {
    ptrdiff_t lines = (elements + 15) / 16;
    return (lines | 1) * 16;
}

/* Bytes of scratch memory for ``threads`` threads and ``points`` points of panels of ``width`` channels. */
static inline ptrdiff_t ki_winograd_workspace(ptrdiff_t points, ptrdiff_t tiles, ptrdiff_t cin, ptrdiff_t block,
                                              ptrdiff_t width, int threads, int division) {
    ptrdiff_t inputs = points * ki_point_step(tiles * cin), products = points * ki_point_step(block * width);
    return (inputs * (division == KI_DIVIDE_BLOCKS ? 1 : threads) + products * threads) * (ptrdiff_t)sizeof(float);
}

#endif
