/* Winograd and Cook-Toom convolution on one instruction set.
 *
 * Inputs of ``most_tiles`` tiles are transformed (points x tiles x cin); then, panel by panel and block by block of tiles,
 * the matrix products of all points are computed and transformed back while they are in the L2 cache. ki_division says
 * what the threads divide. */
#include "winograd.h"

#include <stdint.h>

#include "simd/simd.h"
#include "table.h"
#include "threads.h"
#include "winograd_tile.h"

enum { L = VF32_LANES };

/* B^T along one axis: d[0], d[step], ... -> t likewise. */
KI_INLINE void transform_input(const int P, const ki_points *restrict c, const vf32 *d, vf32 *t, const int step) {
    if (P == 0) {
        t[0] = d[0];
        return;
    }
    vf32 zero = d[2 * P * step], infinity = d[(2 * P + 1) * step];
    UNROLL for (int k = 0; k < P; k++) {
        vf32 z = vf32_set1(c->z[k]);
        zero = vf32_fma(z, d[2 * k * step], zero);
        infinity = vf32_fma(z, d[(2 * k + 1) * step], infinity);
    }
    t[0] = zero;
    t[(2 * P + 1) * step] = infinity;
    UNROLL for (int j = 0; j < P; j++) {
        vf32 even = d[2 * P * step], odd = d[(2 * P - 1) * step], p = vf32_set1(c->p[j]);
        UNROLL for (int k = 0; k < P - 1; k++) {
            vf32 r = vf32_set1(c->r[j][k]);
            even = vf32_fma(r, d[(2 * k + 2) * step], even);
            odd = vf32_fma(r, d[(2 * k + 1) * step], odd);
        }
        odd = vf32_mul(p, odd);
        t[(2 * j + 1) * step] = vf32_add(even, odd);
        t[(2 * j + 2) * step] = vf32_sub(even, odd);
    }
}

/* A^T along one axis: 2 P + 2 products -> M outputs. */
KI_INLINE void transform_output(const int P, const int M, const ki_points *restrict c, const vf32 *t, const int t_step,
                                vf32 *y, const int y_step) {
    if (P == 0) {
        y[0] = t[0];
        return;
    }
    vf32 sum[KI_PAIRS], difference[KI_PAIRS];
    UNROLL for (int j = 0; j < P; j++) {
        sum[j] = vf32_add(t[(2 * j + 1) * t_step], t[(2 * j + 2) * t_step]);
        difference[j] = vf32_sub(t[(2 * j + 1) * t_step], t[(2 * j + 2) * t_step]);
    }
    UNROLL for (int i = 0; i < M; i++) {
        vf32 s = i == 0 ? t[0] : i == M - 1 ? t[(2 * P + 1) * t_step] : vf32_zero();
        UNROLL for (int j = 0; j < P; j++) {
            vf32 term = i % 2 ? difference[j] : sum[j];
            s = i == 0 ? vf32_add(s, term) : vf32_fma(vf32_set1(c->a[j][i]), term, s);
        }
        y[i * y_step] = s;
    }
}

/* What the parts of one run share. */
typedef struct {
    const ki_winograd_args *args;
    ptrdiff_t tiles[2]; /* tiles along the axes of an image */
    ptrdiff_t all, supers, panels, width;
    ptrdiff_t panels_size, v_size, m_size; /* elements of all panels, and of one thread's parts of the workspace */
    float *v, *m;
    /* Of the tiles that are held at the moment: */
    ptrdiff_t first, count, v_step;
    ptrdiff_t blocks, chunks, first_panel;
} work;

/* The position of a tile. */
typedef struct {
    ptrdiff_t image, at[2]; /* first output pixel */
} tile_place;

KI_INLINE tile_place place_of(const work *w, ptrdiff_t tile, const int M0, const int M1) {
    const int rows = w->args->rows; /* tiles are counted along the rows of the image, so that threads get rows */
    const ptrdiff_t line = tile / w->tiles[1 - rows], row = line % w->tiles[rows], column = tile % w->tiles[1 - rows];
    return (tile_place){line / w->tiles[rows], {(rows ? column : row) * M0, (rows ? row : column) * M1}};
}

static inline ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Transforms one tile's inputs: all channels, points v_step apart in v. */
KI_INLINE void tile_in(const work *w, const tile_place at, float *restrict v, const int P0, const int P1) {
    enum { MOST = (2 * KI_PAIRS + 2) * 6 };
    const ki_winograd_args *a = w->args;
    const ki_tile_axis *down = &a->axis[0], *across = &a->axis[1];
    const int n0 = P0 ? 2 * P0 + 2 : 1, n1 = P1 ? 2 * P1 + 2 : 1;
    const float *zeros = a->u + w->panels_size;
    const float *image = a->x + at.image * a->in_batch;
    const float *pixels[MOST];
    for (int i = 0; i < n0; i++) {
        const ptrdiff_t y = at.at[0] + i - down->before;
        for (int j = 0; j < n1; j++) {
            const ptrdiff_t x = at.at[1] + j - across->before;
            const int inside = y >= 0 && y < down->in && x >= 0 && x < across->in;
            pixels[i * n1 + j] = inside ? image + y * down->in_step + x * across->in_step : zeros;
        }
    }
    for (ptrdiff_t c = 0; c < a->cin; c += L) {
        const size_t rest = (size_t)least(a->cin - c, L);
        vf32 d[MOST], t[MOST];
        UNROLL for (int i = 0; i < n0; i++) UNROLL for (int j = 0; j < n1; j++) d[i * n1 + j] =
            rest == L ? vf32_load(pixels[i * n1 + j] + c) : vf32_load_n(pixels[i * n1 + j] + c, rest);
        if (P0) {
            UNROLL for (int j = 0; j < n1; j++) transform_input(P0, a->points, d + j, t + j, n1);
            UNROLL for (int i = 0; i < n0; i++) transform_input(P1, a->points, t + i * n1, d + i * n1, 1);
        } else {
            transform_input(P1, a->points, d, t, 1);
            UNROLL for (int j = 0; j < n1; j++) d[j] = t[j];
        }
        UNROLL for (int i = 0; i < n0; i++) UNROLL for (int j = 0; j < n1; j++) {
            float *to = v + (i * n1 + j) * w->v_step + c;
            if (rest == L)
                vf32_store(to, d[i * n1 + j]);
            else
                vf32_store_n(to, d[i * n1 + j], rest);
        }
    }
}

/* Transforms one tile's products back, adds the bias, clamps, writes the outputs that are inside y. */
KI_INLINE void tile_out(const work *w, const tile_place at, const float *restrict m, ptrdiff_t m_step,
                        ptrdiff_t channel, ptrdiff_t channels, const int P0, const int M0, const int P1, const int M1) {
    const ki_winograd_args *a = w->args;
    const int n0 = P0 ? 2 * P0 + 2 : 1, n1 = P1 ? 2 * P1 + 2 : 1;
    const int rows = (int)least(M0, a->axis[0].out - at.at[0]), columns = (int)least(M1, a->axis[1].out - at.at[1]);
    float *y =
        a->y + at.image * a->out_batch + at.at[0] * a->axis[0].out_step + at.at[1] * a->axis[1].out_step + channel;
    const vf32 lo = vf32_set1((float)a->lo), hi = vf32_set1((float)a->hi);
    for (ptrdiff_t c = 0; c < channels; c += L, m += L, y += L) {
        const size_t rest = (size_t)least(channels - c, L);
        vf32 t[(2 * KI_PAIRS + 2) * 6], half[KI_TILE_OUTPUTS * (2 * KI_PAIRS + 2)], out[KI_TILE_OUTPUTS * 6];
        UNROLL for (int i = 0; i < n0; i++) UNROLL for (int j = 0; j < n1; j++) t[i * n1 + j] =
            vf32_load(m + (i * n1 + j) * m_step);
        if (P0) {
            UNROLL for (int j = 0; j < n1; j++) transform_output(P0, M0, a->points, t + j, n1, half + j, n1);
            UNROLL for (int i = 0; i < M0; i++) transform_output(P1, M1, a->points, half + i * n1, 1, out + i * M1, 1);
        } else {
            transform_output(P1, M1, a->points, t, 1, out, 1);
        }
        const vf32 bias = !a->bias ? vf32_zero() : vf32_load_n(a->bias + channel + c, rest);
        UNROLL for (int i = 0; i < M0; i++) UNROLL for (int j = 0; j < M1; j++) {
            if (i >= rows || j >= columns) continue;
            const vf32 v = vf32_min(hi, vf32_max(lo, vf32_add(out[i * M1 + j], bias)));
            float *to = y + i * a->axis[0].out_step + j * a->axis[1].out_step;
            if (rest == L)
                vf32_store(to, v);
            else
                vf32_store_n(to, v, rest);
        }
    }
}

/* m = v * u for every point, tiles from .. to of those held in v. While one point is multiplied, the next one's u is
 * prefetched from memory, evenly: at 14 GB/s per core the weights would bound the speed. */
static void KI_NAME(f32_winograd_multiply)(const work *w, const float *v, float *m, ptrdiff_t m_step, ptrdiff_t points,
                                           const float *u, int nv, ptrdiff_t from, ptrdiff_t to) {
    const ptrdiff_t cin = w->args->cin, most = product_rows[nv - 1], tiles = to - from;
    const ptrdiff_t calls = (tiles + most - 1) / most, rows = tiles / calls, longer = tiles % calls;
    const ptrdiff_t share = (cin * nv * L * (ptrdiff_t)sizeof(float) / 64 + calls) / calls; /* lines */
    const ptrdiff_t strips = cin / STRIP + 1, lines = (share + strips - 1) / strips;
    for (ptrdiff_t p = 0; p < points; p++, u += cin * nv * L) {
        const float *row = v + p * w->v_step + from * cin;
        float *product = m + p * m_step;
        for (ptrdiff_t call = 0; call < calls; call++) {
            const ptrdiff_t count = rows + (call < longer);
            const uintptr_t ahead = (uintptr_t)(u + cin * nv * L) + (uintptr_t)(call * share * 64);
            KI_NAME(f32_winograd_products)[nv - 1][count - 1](row, cin, u, product, cin, ahead, lines);
            row += count * cin;
            product += count * nv * L;
        }
    }
}

/* Cuts ``total`` into ``parts`` of nearly one size: where part ``i`` begins. */
static inline ptrdiff_t cut(ptrdiff_t total, ptrdiff_t parts, ptrdiff_t i) { return total * i / parts; }

/* One algorithm: a task that transforms inputs, one that multiplies and transforms back, one that does both. */
#define ALGORITHM(NAME, P0, M0, P1, M1)                                                                                \
    static void KI_NAME(f32_##NAME##_inputs)(void *context, ptrdiff_t chunk, int slot) {                               \
        (void)slot;                                                                                                    \
        const work *w = context;                                                                                       \
        const ptrdiff_t to = cut(w->count, w->chunks, chunk + 1);                                                      \
        for (ptrdiff_t t = cut(w->count, w->chunks, chunk); t < to; t++)                                               \
            tile_in(w, place_of(w, w->first + t, M0, M1), w->v + t * w->args->cin, P0, P1);                            \
    }                                                                                                                  \
    static void KI_NAME(f32_##NAME##_outputs)(void *context, ptrdiff_t task, int slot) {                               \
        const work *w = context;                                                                                       \
        const ki_winograd_args *a = w->args;                                                                           \
        enum { POINTS = (P0 ? 2 * P0 + 2 : 1) * (P1 ? 2 * P1 + 2 : 1) };                                               \
        const ptrdiff_t panel = w->first_panel + task / w->blocks, block = task % w->blocks,                           \
                        channel = panel * w->width;                                                                    \
        const ptrdiff_t from = cut(w->count, w->blocks, block), to = cut(w->count, w->blocks, block + 1);              \
        const ptrdiff_t valid = least(a->cout - channel, w->width);                                                    \
        const int nv = (int)((valid + L - 1) / L);                                                                     \
        const ptrdiff_t m_step = ki_point_step((to - from) * nv * L);                                                  \
        float *m = w->m + slot * w->m_size;                                                                            \
        KI_NAME(f32_winograd_multiply)(w, w->v, m, m_step, POINTS, a->u + POINTS * a->cin * channel, nv, from, to);    \
        for (ptrdiff_t t = from; t < to; t++)                                                                          \
            tile_out(w, place_of(w, w->first + t, M0, M1), m + (t - from) * nv * L, m_step, channel, valid, P0, M0,    \
                     P1, M1);                                                                                          \
    }                                                                                                                  \
    static void KI_NAME(f32_##NAME##_super)(work * w, ptrdiff_t super, int threads, ptrdiff_t first_panel,             \
                                            ptrdiff_t end_panel) {                                                     \
        w->first = cut(w->all, w->supers, super), w->count = cut(w->all, w->supers, super + 1) - w->first;             \
        w->v_step = ki_point_step(w->count * w->args->cin);                                                            \
        w->chunks = threads == 1 ? 1 : least(w->count, 4 * threads);                                                   \
        w->blocks = (w->count + w->args->block_tiles - 1) / w->args->block_tiles;                                      \
        w->first_panel = first_panel;                                                                                  \
        ki_parallel(KI_NAME(f32_##NAME##_inputs), w, w->chunks, threads);                                              \
        ki_parallel(KI_NAME(f32_##NAME##_outputs), w, (end_panel - first_panel) * w->blocks, threads);                 \
    }                                                                                                                  \
    static void KI_NAME(f32_##NAME##_part)(void *context, ptrdiff_t part, int slot) {                                  \
        work w = *(const work *)context;                                                                               \
        const int threads = w.args->threads;                                                                           \
        w.v += slot * w.v_size, w.m += slot * w.m_size;                                                                \
        if (w.args->division == KI_DIVIDE_TILES)                                                                       \
            KI_NAME(f32_##NAME##_super)(&w, part, 1, 0, w.panels);                                                     \
        else if (w.args->division == KI_DIVIDE_PANELS)                                                                 \
            for (ptrdiff_t s = 0; s < w.supers; s++)                                                                   \
                KI_NAME(f32_##NAME##_super)(&w, s, 1, cut(w.panels, threads, part), cut(w.panels, threads, part + 1)); \
        else                                                                                                           \
            for (ptrdiff_t s = 0; s < w.supers; s++) KI_NAME(f32_##NAME##_super)(&w, s, threads, 0, w.panels);         \
    }                                                                                                                  \
    static void KI_NAME(f32_##NAME)(const ki_winograd_args *args) {                                                    \
        run(args, KI_NAME(f32_##NAME##_part), P0, M0, P1, M1);                                                         \
    }

/* Lays out the work and the workspace. */
static void run(const ki_winograd_args *args, ki_task *part, int P0, int M0, int P1, int M1) {
    const ptrdiff_t points = (P0 ? 2 * P0 + 2 : 1) * (P1 ? 2 * P1 + 2 : 1);
    work w = {.args = args, .width = (ptrdiff_t)args->nv * L};
    w.tiles[0] = (args->axis[0].out + M0 - 1) / M0;
    w.tiles[1] = (args->axis[1].out + M1 - 1) / M1;
    w.all = args->batch * w.tiles[0] * w.tiles[1];
    w.panels = (args->cout + w.width - 1) / w.width;
    if (!w.all || !w.panels) return;
    w.panels_size = points * args->cin * ((args->cout + L - 1) / L) * L;
    w.supers = (w.all + args->most_tiles - 1) / args->most_tiles;
    const int threads = args->threads, divided = args->division != KI_DIVIDE_BLOCKS;
    if (args->division == KI_DIVIDE_TILES) w.supers = (w.supers + threads - 1) / threads * threads;
    if (w.supers > w.all) w.supers = w.all;
    w.v_size = points * ki_point_step(args->most_tiles * args->cin);
    w.m_size = points * ki_point_step(args->block_tiles * w.width);
    w.v = args->workspace;
    w.m = w.v + w.v_size * (divided ? threads : 1);
    ki_parallel(part, &w, args->division == KI_DIVIDE_TILES ? w.supers : divided ? threads : 1, threads);
}

/* name, pairs of points and outputs along both axes */
#define ALGORITHMS(X)                                                                                                  \
    X(winograd_2x2_3x3, 1, 2, 1, 2)                                                                                    \
    X(winograd_4x4_3x3, 2, 4, 2, 4)                                                                                    \
    X(winograd_2x2_5x5, 2, 2, 2, 2)                                                                                    \
    X(winograd_4x4_5x5, 3, 4, 3, 4)                                                                                    \
    X(cook_toom_2_3, 0, 1, 1, 2)                                                                                       \
    X(cook_toom_4_3, 0, 1, 2, 4)                                                                                       \
    X(cook_toom_2_7, 0, 1, 3, 2)                                                                                       \
    X(cook_toom_4_7, 0, 1, 4, 4)                                                                                       \
    X(cook_toom_6_7, 0, 1, 5, 6)

ALGORITHMS(ALGORITHM)

#define KIND(NAME, P0, M0, P1, M1) {#NAME, {P0, P1}, {M0, M1}, KI_NAME(f32_##NAME)},

const ki_winograd_kind KI_NAME(ki_winograd)[KI_WINOGRAD_KINDS] = {ALGORITHMS(KIND)};
