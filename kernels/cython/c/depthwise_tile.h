/* The register tiles of depthwise convolution: COLUMNS outputs of one or two rows, for one vector of channels.
 *
 * Included with E, O (elements of x and y), XOP(name), YOP(name) (their loads and stores as vf32), DW(name) defined. Sums,
 * weights and bias are float. A vector of x is loaded once for all the outputs of both rows that it reaches; the weights of
 * a row of the window stay in registers meanwhile. An output sums its taps in rising order, whatever tile it is in.
 */

/* Where a tile is. ``x``: row ``top`` of x and the column of the first output's first cell, which may be outside; columns and rows
 * of the window count from that output's first cell. Steps in elements. */
typedef struct {
    const E *x;
    O *y;
    const float *w, *bias; /* bias may be NULL */
    ptrdiff_t x_step, x_row, y_step, y_row, w_step, w_row;
    ptrdiff_t from, to; /* columns of x */
    ptrdiff_t top, bottom; /* rows of x, counted from the first row of the window */
    ptrdiff_t height; /* rows of the window */
    ptrdiff_t count; /* outputs of a row, up to COLUMNS */
    float lo, hi;
} DW(place);

#define UNROLL _Pragma("GCC unroll 32")

/* One row of x, which is row ``i`` of the window for outputs ``sum`` and row i - STRIDE for outputs ``below``. */
KI_INLINE void DW(window_row)(const int WIDTH, const int STRIDE, const int first, const int second, const DW(place) * p,
                              ptrdiff_t i, vf32 *sum, vf32 *below) {
    const E *x = p->x + (i - p->top) * p->x_row;
    const float *w = p->w + i * p->w_row, *w_below = w - STRIDE * p->w_row;
    const ptrdiff_t from = p->from;
    const size_t inside = (size_t)(p->to - from);
    vf32 weight[7], other[7];
    UNROLL for (int t = 0; t < WIDTH; t++) {
        if (first) weight[t] = vf32_load(w + t * p->w_step);
        if (second) other[t] = vf32_load(w_below + t * p->w_step);
    }
    UNROLL for (int j = 0; j < (COLUMNS - 1) * STRIDE + WIDTH; j++) {
        if ((size_t)(j - from) >= inside) continue;
        const vf32 v = XOP(load)(x + j * p->x_step);
        UNROLL for (int o = 0; o < COLUMNS; o++) {
            const int t = j - o * STRIDE;
            if (t < 0 || t >= WIDTH) continue;
            if (first) sum[o] = vf32_fma(v, weight[t], sum[o]);
            if (second) below[o] = vf32_fma(v, other[t], below[o]);
        }
    }
}

/* The epilogue. */
KI_INLINE void DW(finish)(const DW(place) * p, O *y, const vf32 *sum) {
    const vf32 lo = vf32_set1(p->lo), hi = vf32_set1(p->hi);
    UNROLL for (int o = 0; o < COLUMNS; o++) if (o < p->count)
        YOP(store)(y + o * p->y_step, vf32_min(hi, vf32_max(lo, sum[o])));
}

KI_INLINE void DW(tile)(const int WIDTH, const int STRIDE, const int rows, const DW(place) * p) {
    vf32 sum[COLUMNS], below[COLUMNS];
    const vf32 start = p->bias ? vf32_load(p->bias) : vf32_zero();
    UNROLL for (int o = 0; o < COLUMNS; o++) sum[o] = below[o] = start;
    ptrdiff_t i = p->top;
    if (rows == 1) {
        for (; i < p->bottom && i < p->height; i++) DW(window_row)(WIDTH, STRIDE, 1, 0, p, i, sum, below);
    } else {
        for (; i < p->bottom && i < p->height && i < STRIDE; i++) DW(window_row)(WIDTH, STRIDE, 1, 0, p, i, sum, below);
        for (; i < p->bottom && i < p->height; i++) DW(window_row)(WIDTH, STRIDE, 1, 1, p, i, sum, below);
        for (i = i < STRIDE ? STRIDE : i; i < p->bottom; i++) DW(window_row)(WIDTH, STRIDE, 0, 1, p, i, sum, below);
    }
    DW(finish)(p, p->y, sum);
    if (rows == 2) DW(finish)(p, p->y + p->y_row, below);
}

/* Every vector of channels of one tile; the last one takes channels again that the one before had. */
#define DEFINE_TILE(WIDTH, STRIDE, ROWS)                                                                               \
    static __attribute__((noinline)) void DW(KI_TILE_NAME(tile, WIDTH, KI_CAT(STRIDE, KI_CAT(r, ROWS))))(              \
        const DW(place) * all, ptrdiff_t channels) {                                                                   \
        DW(place) p = *all;                                                                                            \
        for (ptrdiff_t c = 0, at = 0; c < channels; c += VF32_LANES) {                                                 \
            const ptrdiff_t step = (c + VF32_LANES <= channels ? c : channels - VF32_LANES) - at;                      \
            p.x += step, p.y += step, p.w += step, at += step;                                                         \
            if (p.bias) p.bias += step;                                                                                \
            DW(tile)(WIDTH, STRIDE, ROWS, &p);                                                                         \
        }                                                                                                              \
    }
#define TILE_ENTRY(WIDTH, STRIDE, ROWS)                                                                                \
    [WIDTH / 2 - 1][STRIDE - 1][ROWS - 1] = DW(KI_TILE_NAME(tile, WIDTH, KI_CAT(STRIDE, KI_CAT(r, ROWS)))),
#define TILES_OF(X, ROWS) X(3, 1, ROWS) X(3, 2, ROWS) X(5, 1, ROWS) X(5, 2, ROWS) X(7, 1, ROWS) X(7, 2, ROWS)
#if defined(KI_ISA_AVX512)
#define ALL_TILES(X) TILES_OF(X, 1) TILES_OF(X, 2)
#else
#define ALL_TILES(X) TILES_OF(X, 1)
#endif

ALL_TILES(DEFINE_TILE)

typedef void DW(tile_fn)(const DW(place) *, ptrdiff_t);
static DW(tile_fn) *const DW(tiles)[3][2][2] = {ALL_TILES(TILE_ENTRY)};

/* A task: one or two rows of outputs. Columns whose cells are ``dilation`` apart share inputs, so they form tiles. */
static void DW(band)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const ki_window_args *a = context;
    const int rows = rows_of_tile(a), stride = (int)a->stride[1], apart = (int)a->dilation[1];
    const ptrdiff_t bands = (a->out[0] + rows - 1) / rows, image = index / bands, row = index % bands * rows;
    const int here = a->out[0] - row < rows ? 1 : rows;
    const ptrdiff_t at = row * a->stride[0] - a->before[0], d = a->dilation[0];
    const ptrdiff_t height = a->window[0] + (here - 1) * a->stride[0];
    const E *x = (const E *)a->x + image * a->x_image;
    O *y = (O *)a->y + image * a->y_image + row * a->y_row;
    DW(place) p = {.bias = a->bias, .w = a->w, .lo = (float)a->lo, .hi = (float)a->hi, .height = a->window[0]};
    p.x_step = a->x_step * apart, p.x_row = a->x_row * d, p.y_step = a->y_step * apart, p.y_row = a->y_row;
    p.w_step = a->channels, p.w_row = a->channels * a->window[1];
    p.top = at < 0 ? (-at + d - 1) / d : 0;
    p.bottom = at + (height - 1) * d < a->in[0] ? height : at < a->in[0] ? (a->in[0] - at + d - 1) / d : 0;
    const ptrdiff_t line = p.top < p.bottom ? at + p.top * d : 0; /* far outside, addresses would overflow */
    DW(tile_fn) *const tile = DW(tiles)[a->window[1] / 2 - 1][stride - 1][here - 1];
    for (int phase = 0; phase < apart && phase < a->out[1]; phase++) {
        const ptrdiff_t outputs = (a->out[1] - phase + apart - 1) / apart, chunks = (outputs + COLUMNS - 1) / COLUMNS;
        const ptrdiff_t start = phase - a->before[1]; /* in x, of the first output's window */
        const ptrdiff_t from = start < 0 ? (-start + apart - 1) / apart : 0;
        const ptrdiff_t to = a->in[1] > start ? (a->in[1] - start + apart - 1) / apart : 0;
        for (ptrdiff_t chunk = 0; chunk < chunks; chunk++) {
            const ptrdiff_t first = outputs * chunk / chunks;
            p.count = outputs * (chunk + 1) / chunks - first;
            const ptrdiff_t columns = (p.count - 1) * stride + a->window[1];
            p.from = from - first * stride > 0 ? from - first * stride : 0;
            p.to = to - first * stride < columns ? to - first * stride : columns;
            if (p.to < p.from) p.to = p.from;
            p.x = x + line * a->x_row + (start + first * stride * apart) * a->x_step;
            p.y = y + (phase + first * apart) * a->y_step;
            tile(&p, a->channels);
        }
    }
}

#undef UNROLL
#undef DEFINE_TILE
#undef TILE_ENTRY
#undef TILES_OF
#undef ALL_TILES
