/* Packing the weights of a product into panels (igemm.h), for one element type; included after igemm_transpose.h. */

enum { TILE(PACK_ROWS) = 32 };

static inline T *TILE(mark_of)(const ki_pack_args *args) {
    return (T *)args->packed + ki_packed_size(args->rows, args->cout, args->zeros, LANES);
}

/* Some rows of a matrix whose columns are contiguous, over all panels: the reads are contiguous. */
static void TILE(pack_rows)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const ki_pack_args *args = context;
    V check = VOP(zero)();
    const ptrdiff_t full = (ptrdiff_t)args->nv * LANES, from = index * TILE(PACK_ROWS);
    const ptrdiff_t to = args->rows - from < TILE(PACK_ROWS) ? args->rows : from + TILE(PACK_ROWS);
    for (ptrdiff_t i = from; i < to; i++) {
        const T *w = (const T *)args->w + i * args->row_step;
        for (ptrdiff_t first = 0; first < args->cout; first += full) {
            const ptrdiff_t valid = args->cout - first < full ? args->cout - first : full;
            const ptrdiff_t vectors = (valid + LANES - 1) / LANES;
            T *row = (T *)args->packed + args->rows * first + i * vectors * LANES;
            for (ptrdiff_t v = 0; v < vectors * LANES; v += LANES) {
                const V weights = TILE(load_valid)(w + first + v, valid - v);
                check = VOP(fma)(weights, VOP(zero)(), check); /* NaN if one is not finite */
                VOP(store)(row + v, weights);
            }
        }
    }
    T lanes[LANES];
    VOP(store)(lanes, check);
    for (int i = 0; i < LANES; i++)
        if (!(lanes[i] == 0)) __atomic_store(TILE(mark_of)(args), &lanes[i], __ATOMIC_RELAXED);
}

/* One panel of a matrix whose columns are strided: LANES rows at a time, so that each cache line is read once. Only matrix
 * products have such weights, and they have no padding: the mark stays 0. */
static void TILE(pack_columns)(void *context, ptrdiff_t panel, int slot) {
    (void)slot;
    const ki_pack_args *args = context;
    const ptrdiff_t first = panel * args->nv * LANES;
    const ptrdiff_t rest = (args->cout - first + LANES - 1) / LANES;
    const ptrdiff_t width = (rest < args->nv ? rest : args->nv) * LANES;
    const ptrdiff_t valid = args->cout - first < width ? args->cout - first : width;
    const T *w = (const T *)args->w + first * args->col_step;
    T *to = (T *)args->packed + args->rows * first;
    for (ptrdiff_t i0 = 0; i0 < args->rows; i0 += LANES) {
        const ptrdiff_t rows = args->rows - i0 < LANES ? args->rows - i0 : LANES;
        if (args->row_step == 1) {
            for (ptrdiff_t o = 0; o < width; o += LANES)
                TILE(turn)(to + i0 * width + o, width, w + o * args->col_step + i0, args->col_step, valid - o, rows);
            continue;
        }
        for (ptrdiff_t o = 0; o < width; o++)
            for (ptrdiff_t i = 0; i < rows; i++)
                to[(i0 + i) * width + o] = o < valid ? w[(i0 + i) * args->row_step + o * args->col_step] : 0;
    }
}

static void TILE(pack)(const ki_pack_args *args) {
    const ptrdiff_t width = (ptrdiff_t)args->nv * LANES;
    memset((T *)args->packed + ki_packed_size(args->rows, args->cout, 0, LANES), 0,
           (size_t)(args->zeros + 1) * sizeof(T));
    if (args->col_step == 1)
        ki_parallel(TILE(pack_rows), (void *)args, (args->rows + TILE(PACK_ROWS) - 1) / TILE(PACK_ROWS), args->threads);
    else
        ki_parallel(TILE(pack_columns), (void *)args, (args->cout + width - 1) / width, args->threads);
}
