/* Matrix products whose weights are no constant and are read where they lie, for one element type; included after
 * igemm_transpose.h. Packing them would take longer than a product of few rows.
 *
 * An element of y is the same chain of FMAs as in the packed tiles (igemm_tile.h), so the bits do not depend on the number of
 * rows. One column is the exception: a sum of dot products, in one order for any number of rows (a chain of FMAs if x
 * is transposed).
 */

/* BLOCK: most columns of a task; whole rows of the weights stream best (1 x 4096 x 1000: 0.86 of MKL's time with 512
 * columns, 0.68 with all). DEPTH: rows of the weights that are read strip by strip before the next ones. AHEAD: strips between
 * the one in use and the one fetched (0.68 -> 0.65), to L2, because rows of whole pages share the sets of L1. LEAST: columns
 * of a task, where threads share them. ALONE: products that one thread computes. */
enum {
    TILE(ROWS) = KI_UNPACKED_ROWS,
    TILE(BLOCK) = 4096,
    TILE(DEPTH) = 64,
    TILE(AHEAD) = 4,
    TILE(LEAST) = 128,
    TILE(ALONE) = 128 * 1024
};

typedef struct {
    const T *x, *w, *bias; /* x: of the first row; w, bias: of the first column */
    T *y;
    ptrdiff_t x_step, w_step, y_step; /* elements between rows */
    ptrdiff_t depth;
    ptrdiff_t ahead[2]; /* from the weights in use to those to prefetch, in elements: even and odd vectors */
    ptrdiff_t valid;                  /* columns, where that is less than a vector */
    int accumulate, final;
    T lo, hi;
} TILE(strip);

typedef void TILE(strip_fn)(const TILE(strip) * s);

#define UNROLL _Pragma("GCC unroll 16")

KI_INLINE void TILE(strip_tile)(const int MR, const int NV, const int whole, const TILE(strip) * s) {
    V acc[16];
    const size_t valid = (size_t)s->valid;
    UNROLL for (int v = 0; v < NV; v++) {
        V start = VOP(zero)();
        if (!s->accumulate && s->bias)
            start = whole ? VOP(load)(s->bias + v * LANES) : VOP(load_n)(s->bias + v * LANES, valid);
        UNROLL for (int m = 0; m < MR; m++) acc[m * NV + v] = start;
    }
    if (s->accumulate) UNROLL for (int m = 0; m < MR; m++) UNROLL for (int v = 0; v < NV; v++) {
            const T *y = s->y + m * s->y_step + v * LANES;
            acc[m * NV + v] = whole ? VOP(load)(y) : VOP(load_n)(y, valid);
        }
    const T *p[8], *w = s->w;
    UNROLL for (int m = 0; m < MR; m++) p[m] = s->x + m * s->x_step;
    const ptrdiff_t depth = s->depth, step = s->w_step;
    const uintptr_t ahead[2] = {(uintptr_t)s->ahead[0] * sizeof(T), (uintptr_t)s->ahead[1] * sizeof(T)};
    for (ptrdiff_t i = 0; i < depth; i++, w += step) {
        V b[NV];
        UNROLL for (int v = 0; v < NV; v++) {
            b[v] = whole ? VOP(load)(w + v * LANES) : VOP(load_n)(w + v * LANES, valid);
            __builtin_prefetch((const void *)((uintptr_t)(w + v * LANES) + ahead[v & 1]), 0, 2);
        }
        UNROLL for (int m = 0; m < MR; m++) {
            const V a = VOP(set1)(p[m][i]);
            UNROLL for (int v = 0; v < NV; v++) acc[m * NV + v] = VOP(fma)(a, b[v], acc[m * NV + v]);
        }
    }
    if (s->final) {
        const V lo = VOP(set1)(s->lo), hi = VOP(set1)(s->hi);
        UNROLL for (int a = 0; a < MR * NV; a++) acc[a] = VOP(min)(hi, VOP(max)(lo, acc[a]));
    }
    UNROLL for (int m = 0; m < MR; m++) UNROLL for (int v = 0; v < NV; v++) {
        T *y = s->y + m * s->y_step + v * LANES;
        if (whole)
            VOP(store)(y, acc[m * NV + v]);
        else
            VOP(store_n)(y, acc[m * NV + v], valid);
    }
}

#define DEFINE_STRIP(MR, NV)                                                                                           \
    static __attribute__((noinline)) void TILE(KI_TILE_NAME(strip, MR, NV))(const TILE(strip) * s) {                   \
        if (NV > 1 || s->valid >= LANES)                                                                               \
            TILE(strip_tile)(MR, NV, 1, s);                                                                            \
        else                                                                                                           \
            TILE(strip_tile)(MR, NV, 0, s);                                                                            \
    }
#define STRIP_ENTRY(MR, NV) [NV / 2][MR - 1] = TILE(KI_TILE_NAME(strip, MR, NV)),

#define STRIPS_2(X, NV) X(1, NV) X(2, NV)
#define STRIPS_4(X, NV) STRIPS_2(X, NV) X(3, NV) X(4, NV)
#define STRIPS_6(X, NV) STRIPS_4(X, NV) X(5, NV) X(6, NV)
#define STRIPS_8(X, NV) STRIPS_6(X, NV) X(7, NV) X(8, NV)
#if defined(KI_ISA_AVX512)
#define ALL_STRIPS(X) STRIPS_8(X, 1) STRIPS_8(X, 2) STRIPS_4(X, 4)
static const int TILE(strip_rows)[3] = {8, 8, 4};
#else
#define ALL_STRIPS(X) STRIPS_8(X, 1) STRIPS_6(X, 2) STRIPS_2(X, 4)
static const int TILE(strip_rows)[3] = {8, 6, 2};
#endif

ALL_STRIPS(DEFINE_STRIP)

static TILE(strip_fn) *const TILE(strips)[3][8] = {ALL_STRIPS(STRIP_ENTRY)}; /* 1, 2, 4 vectors */

#undef DEFINE_STRIP
#undef STRIP_ENTRY
#undef ALL_STRIPS
#undef STRIPS_2
#undef STRIPS_4
#undef STRIPS_6
#undef STRIPS_8

/* One product. A task is ``blocks`` columns x ``parts`` rows. */
typedef struct {
    const T *x, *w, *bias;
    T *y;
    ptrdiff_t x_step, y_step, w_row, w_column; /* one of w_row and w_column is 1 */
    ptrdiff_t x_rows; /* 0, or x is stored [k][rows] with this step; then at most ROWS rows */
    ptrdiff_t rows, k, columns, blocks, parts;
    int accumulate; /* start from what y holds */
    T lo, hi;
} TILE(unpacked);

/* Vectors of the next strip: no wider than the columns that are left, with the tallest tile that suits the rows. */
static inline int TILE(strip_vectors)(ptrdiff_t rows, ptrdiff_t columns) {
    if (columns >= 4 * LANES && rows <= TILE(strip_rows)[2]) return 4;
    return columns >= 2 * LANES ? 2 : 1;
}

/* All rows of one strip, in tiles that differ by one row at most. */
static inline void TILE(strip_run)(TILE(strip) * s, ptrdiff_t rows, int vectors) {
    const int most = TILE(strip_rows)[vectors / 2];
    const ptrdiff_t tiles = (rows + most - 1) / most;
    const T *x = s->x;
    T *y = s->y;
    const ptrdiff_t odd = s->ahead[1];
    if (tiles > 1 && vectors > 1) s->ahead[1] = 0; /* the second tile fetches these */
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const ptrdiff_t from = rows * t / tiles, count = rows * (t + 1) / tiles - from;
        s->x = x + from * s->x_step, s->y = y + from * s->y_step;
        TILE(strips)[vectors / 2][count - 1](s);
        s->ahead[0] = 0, s->ahead[1] = t == 0 && vectors > 1 ? odd : 0;
    }
}

static void TILE(unpacked_task)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const TILE(unpacked) *u = context;
    const ptrdiff_t block = index % u->blocks, part = index / u->blocks;
    const ptrdiff_t first = u->rows * part / u->parts, rows = u->rows * (part + 1) / u->parts - first;
    const ptrdiff_t vectors = (u->columns + LANES - 1) / LANES, to_vector = vectors * (block + 1) / u->blocks * LANES;
    const ptrdiff_t from = vectors * block / u->blocks * LANES, to = to_vector < u->columns ? to_vector : u->columns;
    T turned[TILE(DEPTH) * 4 * LANES] __attribute__((aligned(64)));
    T x[TILE(ROWS) * TILE(DEPTH)] __attribute__((aligned(64)));
    TILE(strip) s = {.x_step = u->x_rows ? TILE(DEPTH) : u->x_step, .y_step = u->y_step, .lo = u->lo, .hi = u->hi};
    for (ptrdiff_t k = 0; k == 0 || k < u->k; k += TILE(DEPTH)) {
        s.depth = u->k - k < TILE(DEPTH) ? u->k - k : TILE(DEPTH);
        s.accumulate = k > 0 || u->accumulate;
        s.final = k + TILE(DEPTH) >= u->k;
        if (u->x_rows) TILE(turn_all)(x, TILE(DEPTH), u->x + k * u->x_rows + first, u->x_rows, s.depth, rows);
        for (ptrdiff_t c = from, width; c < to; c += width) {
            const int nv = TILE(strip_vectors)(rows, to - c);
            width = (ptrdiff_t)nv * LANES;
            s.valid = to - c;
            s.x = u->x_rows ? x : u->x + first * u->x_step + k, s.y = u->y + first * u->y_step + c;
            s.bias = u->bias ? u->bias + c : NULL;
            s.w = u->w + k * u->w_row + c * u->w_column;
            if (u->w_column == 1) {
                s.w_step = u->w_row;
                const ptrdiff_t past = c + TILE(AHEAD) * width - to;
                s.ahead[0] = s.ahead[1] = past < 0 ? TILE(AHEAD) * width : TILE(DEPTH) * u->w_row + from + past - c;
            } else {
                for (ptrdiff_t i = 0; i < s.depth; i += LANES)
                    for (ptrdiff_t o = 0; o < width; o += LANES) {
                        const T *w = s.w + o * u->w_column + i;
                        const ptrdiff_t count = s.valid - o < LANES ? s.valid - o : LANES;
                        for (ptrdiff_t r = 0; r < count; r++) /* of the next pass over these columns */
                            __builtin_prefetch(
                                (const void *)((uintptr_t)(w + r * u->w_column) + TILE(DEPTH) * sizeof(T)), 0, 2);
                        TILE(turn)(turned + i * width + o, width, w, u->w_column, count, s.depth - i);
                    }
                s.w = turned, s.w_step = width, s.ahead[0] = s.ahead[1] = 0;
            }
            TILE(strip_run)(&s, rows, nv);
        }
    }
}

/* MR rows times LANES columns of weights that are stored [columns][k]: LANES x LANES of them are turned in registers and
 * used at once. Columns beyond ``valid`` repeat the last one and are not stored. */
KI_INLINE void TILE(turned_tile)(const int MR, const TILE(unpacked) * u, ptrdiff_t m0, ptrdiff_t c, ptrdiff_t valid) {
    V acc[8], row[LANES];
    const V start = u->bias ? TILE(load_valid)(u->bias + c, valid) : VOP(zero)();
    const T *w[LANES], *x[8];
    UNROLL for (int o = 0; o < LANES; o++) w[o] = u->w + (c + (o < valid ? o : valid - 1)) * u->w_column;
    UNROLL for (int m = 0; m < MR; m++) {
        acc[m] = start;
        x[m] = u->x + (m0 + m) * u->x_step;
    }
    ptrdiff_t k = 0;
    for (; k + LANES <= u->k; k += LANES) {
        UNROLL for (int o = 0; o < LANES; o++) {
            row[o] = VOP(load)(w[o] + k);
            __builtin_prefetch((const void *)((uintptr_t)(w[o] + k) + 512), 0, 3);
        }
        TILE(exchange_rows)(row);
        UNROLL for (int i = 0; i < LANES; i++) UNROLL for (int m = 0; m < MR; m++) acc[m] =
            VOP(fma)(VOP(set1)(x[m][k + i]), row[i], acc[m]);
    }
    if (k < u->k) {
        UNROLL for (int o = 0; o < LANES; o++) row[o] = VOP(load_n)(w[o] + k, (size_t)(u->k - k));
        TILE(exchange_rows)(row);
        UNROLL for (int i = 0; i < LANES; i++) if (i < u->k - k) UNROLL for (int m = 0; m < MR; m++) acc[m] =
            VOP(fma)(VOP(set1)(x[m][k + i]), row[i], acc[m]);
    }
    const V lo = VOP(set1)(u->lo), hi = VOP(set1)(u->hi);
    UNROLL for (int m = 0; m < MR; m++) {
        acc[m] = VOP(min)(hi, VOP(max)(lo, acc[m]));
        T *y = u->y + (m0 + m) * u->y_step + c;
        if (valid == LANES)
            VOP(store)(y, acc[m]);
        else
            VOP(store_n)(y, acc[m], (size_t)valid);
    }
}

enum { TILE(TURNED_ROWS) = 8, TILE(TURNED_TASK) = 4 * LANES };

static void TILE(turned_task)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const TILE(unpacked) *u = context;
    const ptrdiff_t end = (index + 1) * TILE(TURNED_TASK), to = end < u->columns ? end : u->columns;
    for (ptrdiff_t c = index * TILE(TURNED_TASK); c < to; c += LANES) {
        const ptrdiff_t valid = to - c < LANES ? to - c : LANES;
        ptrdiff_t m = 0;
        if (u->rows == TILE(TURNED_ROWS)) TILE(turned_tile)(8, u, m, c, valid), m += 8;
        if (u->rows - m >= 4) TILE(turned_tile)(4, u, m, c, valid), m += 4;
        if (u->rows - m >= 2) TILE(turned_tile)(2, u, m, c, valid), m += 2;
        if (u->rows - m >= 1) TILE(turned_tile)(1, u, m, c, valid);
    }
}

enum { TILE(DOT_ROWS) = 4, TILE(DOT_TASK) = 64 };

/* MR dot products of k elements: two accumulators each, which take turns, and a tree over their lanes. */
KI_INLINE void TILE(dots)(const int MR, const T *x, ptrdiff_t x_step, const T *w, ptrdiff_t k, T *sums) {
    V even[TILE(DOT_ROWS)], odd[TILE(DOT_ROWS)];
    const T *p[TILE(DOT_ROWS)];
    UNROLL for (int m = 0; m < MR; m++) {
        even[m] = odd[m] = VOP(zero)();
        p[m] = x + m * x_step;
    }
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= k; i += 2 * LANES) {
        const V w0 = VOP(load)(w + i), w1 = VOP(load)(w + i + LANES);
        UNROLL for (int m = 0; m < MR; m++) {
            even[m] = VOP(fma)(VOP(load)(p[m] + i), w0, even[m]);
            odd[m] = VOP(fma)(VOP(load)(p[m] + i + LANES), w1, odd[m]);
        }
    }
    if (i + LANES <= k) {
        UNROLL for (int m = 0; m < MR; m++) even[m] = VOP(fma)(VOP(load)(p[m] + i), VOP(load)(w + i), even[m]);
        i += LANES;
    }
    if (i < k)
        UNROLL for (int m = 0; m < MR; m++) odd[m] =
            VOP(fma)(TILE(load_valid)(p[m] + i, k - i), TILE(load_valid)(w + i, k - i), odd[m]);
    UNROLL for (int m = 0; m < MR; m++) {
        T lanes[LANES];
        VOP(store)(lanes, VOP(add)(even[m], odd[m]));
        for (int s = LANES / 2; s > 0; s /= 2)
            for (int j = 0; j < s; j++) lanes[j] += lanes[j + s];
        sums[m] = lanes[0];
    }
}

#undef UNROLL

/* DOT_TASK rows of a product with one column. */
static void TILE(column_task)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const TILE(unpacked) *u = context;
    const ptrdiff_t from = index * TILE(DOT_TASK);
    const ptrdiff_t to = u->rows - from < TILE(DOT_TASK) ? u->rows : from + TILE(DOT_TASK);
    const T start = u->bias ? *u->bias : 0;
    for (ptrdiff_t m = from; m < to; m += TILE(DOT_ROWS)) {
        const ptrdiff_t count = to - m < TILE(DOT_ROWS) ? to - m : TILE(DOT_ROWS);
        T sums[TILE(DOT_ROWS)];
        if (count == TILE(DOT_ROWS))
            TILE(dots)(TILE(DOT_ROWS), u->x + m * u->x_step, u->x_step, u->w, u->k, sums);
        else
            for (ptrdiff_t r = 0; r < count; r++)
                TILE(dots)(1, u->x + (m + r) * u->x_step, u->x_step, u->w, u->k, sums + r);
        for (ptrdiff_t r = 0; r < count; r++) {
            const T sum = start + sums[r]; /* a NaN passes both limits */
            u->y[(m + r) * u->y_step] = sum < u->lo ? u->lo : sum > u->hi ? u->hi : sum;
        }
    }
}

/* A product of one item; ``gemm`` has its x and y, ``w`` are its weights. ``x_rows``: elements between the rows of an x that
 * is stored [k][rows]; 0: x is [rows][k]. */
static void TILE(product_unpacked)(const ki_igemm_args *gemm, const ki_pack_args *pack, const T *w, ptrdiff_t x_rows) {
    const ki_axis *b = &gemm->axis[1];
    TILE(unpacked)
    u = {.x = gemm->x,
         .w = w,
         .bias = gemm->bias,
         .y = gemm->y,
         .x_step = b->in_step,
         .y_step = b->out_step,
         .w_row = pack->row_step,
         .w_column = pack->col_step,
         .rows = b->out,
         .k = gemm->k,
         .columns = gemm->cout,
         .lo = (T)gemm->lo,
         .hi = (T)gemm->hi,
         .parts = 1};
    if (u.rows < 1 || u.columns < 1) return;
    const int threads = u.rows * u.k * u.columns < TILE(ALONE) ? 1 : gemm->threads;
    if (u.columns == 1 && !x_rows) {
        ki_parallel(TILE(column_task), &u, (u.rows + TILE(DOT_TASK) - 1) / TILE(DOT_TASK), threads);
        return;
    }
    if (u.columns == 1) { /* the transposed x is the matrix that is read row by row */
        for (ptrdiff_t m = 0; u.bias && m < u.rows; m++) u.y[m] = *u.bias;
        u.accumulate = u.bias != NULL, u.bias = NULL;
        u.x = w, u.w = gemm->x, u.w_row = x_rows, u.w_column = 1, u.columns = u.rows, u.rows = 1;
    } else if (x_rows) {
        u.x_rows = x_rows;
    } else if (u.w_column != 1 && u.rows <= TILE(TURNED_ROWS)) {
        ki_parallel(TILE(turned_task), &u, (u.columns + TILE(TURNED_TASK) - 1) / TILE(TURNED_TASK), threads);
        return;
    }
    u.blocks = (u.columns + TILE(BLOCK) - 1) / TILE(BLOCK);
    if (u.blocks < threads) u.blocks = u.columns / TILE(LEAST) < threads ? u.columns / TILE(LEAST) + 1 : threads;
    if (u.blocks < threads) u.parts = u.rows / 8 < threads ? u.rows / 8 + 1 : threads;
    ki_parallel(TILE(unpacked_task), &u, u.blocks * u.parts, threads);
}
