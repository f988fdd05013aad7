/* Products of narrow numbers: bfloat16 by pairs with float32 sums, and bytes by fours with int32 sums.
 *
 *     y[pixel, o] = epilogue(sum over taps t and i < cin of x[pixel, t][i] * w[t][i][o])
 *
 * A convolution or, with one tap and one row of pixels, a matrix product. The inputs of a group of pixels are copied into
 * rows of a thread's own buffer (im2col by groups), where float32 is rounded to bfloat16 and int8 becomes uint8 by adding
 * 128. A row is ``steps`` times 64 bytes, its pitch an odd multiple of 64, so that rows lie in different cache sets. Where
 * copying every tap costs more than the products (AMX), pixels are copied once into cells, and taps are places in them
 * (dot_taps.h). The same packed weights serve every instruction set (dot_sets.h), from tiles (AMX) to plain C, but where
 * cells round the channels up.
 *
 * Packed weights: panels of two vectors of 16 output channels (the last may have one), each [step][vector][16 groups][16
 * channels][group], a group being 2 bfloat16 or 4 bytes: 1 KiB per step and vector, which is an AMX tile. After the panels of
 * bytes, one int32 per channel: -zero point of x * sum of its weights.
 */
#ifndef KI_DOT_H
#define KI_DOT_H

#include <stddef.h>
#include <stdint.h>

/* KI_DOT_BLOCK: pixels of a block, in tiles of 16. KI_DOT_SPLIT: most inputs of a pixel that are split. */
enum { KI_DOT_LANES = 16, KI_DOT_PANEL = 32, KI_DOT_BLOCK = 32, KI_DOT_STEP = 64, KI_DOT_MOST = 16, KI_DOT_SPLIT = 64 };

/* Most taps of an axis that are read from cells. */
enum { KI_DOT_TAPS = 8 };

/* Element types of x: float32 that is rounded to bfloat16, bfloat16, uint8, int8. */
typedef enum { KI_DOT_F32, KI_DOT_BF16, KI_DOT_U8, KI_DOT_S8 } ki_dot_from;

/* Element types of y. From bytes, float32 is the sum times the multiplier, int32 the sum. */
typedef enum { KI_DOT_TO_F32, KI_DOT_TO_BF16, KI_DOT_TO_U8, KI_DOT_TO_S8, KI_DOT_TO_I32 } ki_dot_to;

/* One spatial axis; sizes in pixels and taps. */
typedef struct {
    ptrdiff_t in, out, taps, stride, dilation, before;
} ki_dot_axis;

/* One product of x: its weights, epilogue and output.
 *
 * bfloat16: clamp(sum + bias, lo, hi). Bytes: rint(clamp((sum + bias) * multiplier, lo, hi)) + zero, where lo and hi are
 * whole numbers, the limits less the zero point. */
typedef struct {
    const void *w;
    const void *bias; /* float or int32_t; may be NULL */
    const float *multiplier;
    void *y;
    ptrdiff_t cout, pitch; /* pitch: elements between pixels of y */
    float lo, hi;
    int32_t zero;
} ki_dot_out;

typedef struct {
    ki_dot_from from;
    ki_dot_to to;
    ki_dot_axis axis[2];
    ptrdiff_t batch, cin, x_pitch; /* x_pitch: elements between pixels of x */
    ptrdiff_t steps;               /* of 64 bytes per row */
    ptrdiff_t rows;                /* most pixels of a group, a multiple of KI_DOT_BLOCK */
    /* Nearly exact products of few float32: x and w as two bfloat16 each, a row is [high, low, high] and the weights are [high,
     * high, low]. ``steps`` counts all three. */
    int split;
    /* Steps of a pixel's channels where taps are read from cells (ki_dot_plan), else 0. A group then has so many images and
     * lines, and ``cells`` bytes; ``steps`` counts all taps. */
    ptrdiff_t tap_steps, images, lines, cells;
    int x_zero; /* what a pixel in the padding holds, as uint8 (int8 + 128) */
    int threads;
    int count; /* products of x, at most KI_DOT_MOST */
    const void *x;
    ki_dot_out outs[KI_DOT_MOST];
    char *workspace; /* threads x ki_dot_slot_bytes(), at a multiple of 64 */
} ki_dot_args;

typedef void ki_dot(const ki_dot_args *args);

/* Packs w[i * row_step + o * col_step] for i < rows and o < cout: float to bfloat16 (nearest even), or int8. from: that of x.
 * Each ``taps``-th part of the rows begins a step of its own. */
typedef struct {
    const void *w;
    void *packed; /* ki_dot_packed_bytes() */
    ptrdiff_t rows, cout, row_step, col_step, taps;
    ki_dot_from from;
    int x_zero, threads;
} ki_dot_pack_args;

typedef void ki_dot_pack(const ki_dot_pack_args *args);

/* Bytes of the L2 cache, 0 where the system does not say. */
ptrdiff_t ki_l2_bytes(void);

static inline ptrdiff_t ki_dot_vectors(ptrdiff_t cout) { return (cout + KI_DOT_LANES - 1) / KI_DOT_LANES; }

static inline int ki_dot_is_bytes(ki_dot_from from) { return from == KI_DOT_U8 || from == KI_DOT_S8; }

/* Elements of one step. */
static inline ptrdiff_t ki_dot_depth(ki_dot_from from) { return ki_dot_is_bytes(from) ? 64 : 32; }

static inline ptrdiff_t ki_dot_steps(ki_dot_from from, ptrdiff_t rows) {
    return (rows + ki_dot_depth(from) - 1) / ki_dot_depth(from);
}

/* Bytes of the panels alone. */
static inline ptrdiff_t ki_dot_panel_bytes(ptrdiff_t steps, ptrdiff_t cout) {
    return ki_dot_vectors(cout) * steps * 1024;
}

static inline ptrdiff_t ki_dot_packed_bytes(ki_dot_from from, ptrdiff_t steps, ptrdiff_t cout) {
    ptrdiff_t sums = ki_dot_is_bytes(from) ? ki_dot_vectors(cout) * KI_DOT_LANES * (ptrdiff_t)sizeof(int32_t) : 0;
    return ki_dot_panel_bytes(steps, cout) + sums;
}

/* Bytes between rows of a thread's buffer: an odd number of cache lines. */
static inline ptrdiff_t ki_dot_pitch(ptrdiff_t steps) { return (steps | 1) * KI_DOT_STEP; }

/* A thread's part of the workspace: the number of the group that it holds, the sums of a panel, the rows. */
static inline ptrdiff_t ki_dot_slot_bytes(const ki_dot_args *args) {
    if (args->tap_steps) return 64 + KI_DOT_BLOCK * KI_DOT_PANEL * 4 + args->cells;
    return 64 + args->rows * (KI_DOT_PANEL * 4 + ki_dot_pitch(args->steps));
}

/* One axis of cells. Each plane holds every ``step``-th position from ``start`` on; tap t of output r is cell r + shift[t] of
 * plane[t]. */
typedef struct {
    int planes, plane[KI_DOT_TAPS];
    ptrdiff_t start[KI_DOT_TAPS], shift[KI_DOT_TAPS], step;
    ptrdiff_t extra; /* cells more than outputs */
    ptrdiff_t after; /* cells of padding behind the last line, where lines share it */
} ki_dot_cells;

/* How the taps of a window are read from cells. */
typedef struct {
    int major; /* the axis whose lines follow one another; a line is ``width`` cells of the other one, ``minor`` */
    ki_dot_cells on[2]; /* major, minor */
    ptrdiff_t width, cell; /* cell: bytes of a pixel's channels, whole steps, an odd number of them */
    int direct; /* x itself is the cells */
} ki_dot_plan;

/* The plan of args->axis, which have at most KI_DOT_TAPS taps each. */
void ki_dot_make_plan(const ki_dot_args *args, ki_dot_plan *plan);

/* Bytes of the cells of one image's ``lines`` output lines. */
static inline ptrdiff_t ki_dot_cell_bytes(const ki_dot_plan *plan, ptrdiff_t lines) {
    const ptrdiff_t plane = (lines + plan->on[0].extra) * plan->width + plan->on[1].after;
    return plan->on[0].planes * plan->on[1].planes * plane * plan->cell;
}

/* Cells of products over outputs: what lines that share padding, or end in it, compute in vain. */
double ki_dot_waste(const ki_dot_args *args);

/* Sets images, lines and cells of groups that take at most ``most`` bytes, if one line does. */
void ki_dot_plan_groups(ki_dot_args *args, ptrdiff_t most);

/* The functions for one instruction set. native: it multiplies bfloat16 by instructions of its own. */
typedef struct {
    const char *name, *base; /* base: the set of all other kernels (table.h) */
    int native_bf16;
    ki_dot *run;
    ki_dot_pack *pack;
    double (*waste)(const ki_dot_args *);
    void (*plan)(ki_dot_args *, ptrdiff_t);
} ki_dot_table;

/* Sets that can run here, best first; NULL after the last. */
const ki_dot_table *const *ki_usable_dots(void);

#endif
