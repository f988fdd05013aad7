/* The tiles of outer.c and the loops around them, for one element type. Included with T, V, VOP(name), LANES defined. */

/* ``to``: the first element in dw, whose rows are ``pitch`` elements apart. ``valid``: columns to write; less than NV * LANES
 * only in the last panel. ``adds``: to the present values. */
typedef void TILE(outer_fn)(const pixels *s, const T *x, const T *dy, T *to, ptrdiff_t pitch, ptrdiff_t valid,
                            int adds);

KI_INLINE void TILE(outer)(const int MR, const int NV, const int whole, const pixels *s, const T *x, const T *dy, T *to,
                           ptrdiff_t pitch, ptrdiff_t valid, int adds) {
    const size_t last = (size_t)(valid - (NV - 1) * LANES);
    V acc[ACCUMULATORS];
    UNROLL for (int i = 0; i < MR * NV; i++) acc[i] = VOP(zero)();
    for (ptrdiff_t n = 0; n < s->images; n++)
        for (ptrdiff_t i = 0; i < s->rows; i++) {
            const T *p = x + n * s->x.image + i * s->x.row, *q = dy + n * s->dy.image + i * s->dy.row;
            for (ptrdiff_t j = 0; j < s->columns; j++, p += s->x.step, q += s->dy.step) {
                V b[KI_OUTER_NV];
                UNROLL for (int v = 0; v < NV; v++) b[v] =
                    whole || v < NV - 1 ? VOP(load)(q + v * LANES) : VOP(load_n)(q + v * LANES, last);
                UNROLL for (int m = 0; m < MR; m++) {
                    V a = VOP(set1)(p[m]);
                    UNROLL for (int v = 0; v < NV; v++) acc[m * NV + v] = VOP(fma)(a, b[v], acc[m * NV + v]);
                }
            }
        }
    UNROLL for (int m = 0; m < MR; m++) UNROLL for (int v = 0; v < NV; v++) {
        T *at = to + m * pitch + v * LANES;
        if (whole || v < NV - 1)
            VOP(store)(at, adds ? VOP(add)(VOP(load)(at), acc[m * NV + v]) : acc[m * NV + v]);
        else
            VOP(store_n)(at, adds ? VOP(add)(VOP(load_n)(at, last), acc[m * NV + v]) : acc[m * NV + v], last);
    }
}

#define DEFINE_TILE(MR, NV)                                                                                            \
    static __attribute__((noinline)) void TILE(KI_TILE_NAME(outer, MR, NV))(                                           \
        const pixels *s, const T *x, const T *dy, T *to, ptrdiff_t pitch, ptrdiff_t valid, int adds) {                 \
        if (valid >= NV * LANES)                                                                                       \
            TILE(outer)(MR, NV, 1, s, x, dy, to, pitch, valid, adds);                                                  \
        else                                                                                                           \
            TILE(outer)(MR, NV, 0, s, x, dy, to, pitch, valid, adds);                                                  \
    }
#define TILE_ENTRY(MR, NV) [NV - 1][MR - 1] = TILE(KI_TILE_NAME(outer, MR, NV)),

#define TILES_4(X, NV) X(1, NV) X(2, NV) X(3, NV) X(4, NV)
#define TILES_6(X, NV) TILES_4(X, NV) X(5, NV) X(6, NV)
#define TILES_9(X, NV) TILES_6(X, NV) X(7, NV) X(8, NV) X(9, NV)
#define TILES_12(X, NV) TILES_9(X, NV) X(10, NV) X(11, NV) X(12, NV)
#if defined(KI_ISA_AVX512)
#define ALL_TILES(X) TILES_12(X, 1) TILES_12(X, 2) TILES_9(X, 3)
#else
#define ALL_TILES(X) TILES_12(X, 1) TILES_6(X, 2) TILES_4(X, 3)
#endif

ALL_TILES(DEFINE_TILE)

static TILE(outer_fn) *const TILE(outer_tiles)[KI_OUTER_NV][KI_OUTER_MR] = {ALL_TILES(TILE_ENTRY)};

#undef DEFINE_TILE
#undef TILE_ENTRY
#undef ALL_TILES
#undef TILES_4
#undef TILES_6
#undef TILES_9
#undef TILES_12

/* Runs one tile over the pixels of a block where the tap at (at0, at1) is inside the image. */
static void TILE(tile_over)(const ki_backward_args *a, TILE(outer_fn) * tile, ki_range images, ki_range rows,
                            ki_range columns, ptrdiff_t at0, ptrdiff_t at1, ptrdiff_t input, ptrdiff_t output, T *to,
                            ptrdiff_t valid, int adds) {
    const ki_steps *x = &a->x_steps, *dy = &a->dy_steps;
    const pixels s = {images.to - images.from,
                      rows.to - rows.from,
                      columns.to - columns.from,
                      {a->stride[1] * x->step, a->stride[0] * x->row, x->image},
                      *dy};
    const T *p = a->x, *q = a->dy;
    if (s.images && s.rows && s.columns) {
        p += images.from * x->image + (rows.from * a->stride[0] + at0) * x->row +
             (columns.from * a->stride[1] + at1) * x->step + input;
        q += images.from * dy->image + rows.from * dy->row + columns.from * dy->step + output;
    } else if (adds) {
        return;
    }
    tile(&s, p, q, to, a->cout, valid, adds);
}

/* Adds the sums over one block to one tile's rows. ``tap``: the first tap, ``first`` .. ``first + count``: rows from it
 * on. */
static void TILE(tile_block)(const ki_backward_args *a, ki_block block, ptrdiff_t tap, ptrdiff_t first, int count,
                             ptrdiff_t output, int nv, ptrdiff_t valid, T *sums, int adds) {
    const ptrdiff_t at0 = tap / a->window[1] * a->dilation[0] - a->before[0];
    const ptrdiff_t at1 = tap % a->window[1] * a->dilation[1] - a->before[1];
    const ki_range rows = ki_common(block.rows, ki_outputs_inside(a->in[0], a->out[0], a->stride[0], at0));
    ki_range inner = ki_outputs_inside(a->in[1], a->out[1], a->stride[1], at1);
    T *to = sums + (tap * a->channels + first) * a->cout + output;
    if (a->merges)
        inner = ki_common(inner, ki_outputs_inside(a->in[1], a->out[1], a->stride[1], at1 + a->window[1] - 1));
    TILE(tile_over)(a, TILE(outer_tiles)[nv - 1][count - 1], block.images, rows, inner, at0, at1, first, output, to,
                    valid, adds);
    if (!a->merges) return;
    /* Columns where some of the merged taps are outside the image: tap by tap. */
    for (ptrdiff_t row = first; row < first + count;) {
        const ptrdiff_t v = row / a->channels, left = (v + 1) * a->channels - row;
        const ptrdiff_t here = first + count - row < left ? first + count - row : left;
        const ki_range all = ki_outputs_inside(a->in[1], a->out[1], a->stride[1], at1 + v);
        const ki_range sides[2] = {{all.from, all.to < inner.from ? all.to : inner.from},
                                   {all.from > inner.to ? all.from : inner.to, all.to}};
        for (int side = 0; side < 2; side++)
            if (sides[side].from < sides[side].to)
                TILE(tile_over)(a, TILE(outer_tiles)[nv - 1][here - 1], block.images, rows, sides[side], at0, at1, row,
                                output, to + (row - first) * a->cout, valid, 1);
        row += here;
    }
}

static void TILE(filter_grad_task)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const ki_backward_args *a = context;
    const ptrdiff_t part = index / a->slices, slice = index % a->slices, blocks = ki_blocks(a);
    const ptrdiff_t merged = a->merges ? a->window[1] : 1, height = merged * a->channels,
                    width = (ptrdiff_t)a->nv * LANES;
    const ptrdiff_t runs = a->window[0] * a->window[1] / merged, chunks = (height + a->mr - 1) / a->mr;
    const ptrdiff_t tiles = (a->cout + width - 1) / width * runs * chunks;
    T *sums = a->parts > 1 ? (T *)a->sums + part * ki_filter_size(a) : a->dw;
    const ptrdiff_t from = blocks * part / a->parts, to = blocks * (part + 1) / a->parts;
    for (ptrdiff_t b = from; b < to; b++) {
        const ki_block block = ki_block_at(a, b);
        for (ptrdiff_t t = tiles * slice / a->slices; t < tiles * (slice + 1) / a->slices; t++) {
            const ptrdiff_t chunk = t % chunks, run = t / chunks % runs, output = t / chunks / runs * width;
            const ptrdiff_t valid = a->cout - output < width ? a->cout - output : width;
            const ptrdiff_t first = height * chunk / chunks, end = height * (chunk + 1) / chunks;
            TILE(tile_block)(a, block, run * merged, first, (int)(end - first), output,
                             (int)((valid + LANES - 1) / LANES), valid, sums, b > from);
        }
    }
}

static void TILE(filter_grad)(const ki_backward_args *args) {
    if (!args->channels || !args->cout) return;
    if (!ki_blocks(args)) {
        memset(args->dw, 0, (size_t)ki_filter_size(args) * sizeof(T));
        return;
    }
    ki_parallel(TILE(filter_grad_task), (void *)args, args->parts * args->slices, args->threads);
    TILE(join)(args);
}
