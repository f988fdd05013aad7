/* What stands around the tiles: where the pixels of a tile lie, the order of the loops, packing. For one element type;
 * included after igemm_tile.h.
 *
 * Work is cut into blocks (one tile's pixels), groups of blocks whose input stays in the L2 cache, and panels. A task is
 * one group x one panel; the panel's weights stay in L2 while the group's blocks pass over them.
 */

enum { TILE(GROUP_BYTES) = 512 * 1024 };

typedef struct {
    const ki_igemm_args *args;
    ptrdiff_t chunks, blocks, groups, panels; /* chunks: blocks of one line along axis 1 */
    const T *zeros;
} TILE(work);

/* Fills the table for pixels first .. first + count of a line; returns the number of taps that touch the image. */
static ptrdiff_t TILE(locate)(const TILE(work) * work, ptrdiff_t line, ptrdiff_t first, ptrdiff_t count,
                              const T **pixels, ptrdiff_t *tap) {
    const ki_igemm_args *args = work->args;
    const ki_axis *a = &args->axis[0], *b = &args->axis[1];
    const T *image = (const T *)args->x + line / a->out * args->in_batch;
    ptrdiff_t y0 = line % a->out * a->stride - a->before, x0 = first * b->stride - b->before, live = 0;
    ptrdiff_t step = b->stride * b->in_step;
    for (ptrdiff_t u = 0; u < a->taps; u++) {
        ptrdiff_t y = y0 + u * a->dilation;
        if (y < 0 || y >= a->in) continue;
        for (ptrdiff_t v = 0; v < b->taps; v++) {
            ptrdiff_t x = x0 + v * b->dilation, last = x + (count - 1) * b->stride;
            const T **row = pixels + live * count;
            ptrdiff_t offset = y * a->in_step + x * b->in_step; /* may lie before the image */
            if (x >= 0 && last < b->in) {
                for (ptrdiff_t m = 0; m < count; m++) row[m] = image + (offset + m * step);
            } else {
                int any = 0;
                for (ptrdiff_t m = 0; m < count; m++) {
                    ptrdiff_t at = x + m * b->stride;
                    int inside = at >= 0 && at < b->in;
                    row[m] = inside ? image + (offset + m * step) : work->zeros;
                    any |= inside;
                }
                if (!any) continue;
            }
            tap[live++] = u * a->tap_step + v * b->tap_step;
        }
    }
    return live;
}

static void TILE(task)(void *context, ptrdiff_t index, int slot) {
    const TILE(work) *work = context;
    const ki_igemm_args *args = work->args;
    const ki_axis *a = &args->axis[0], *b = &args->axis[1];
    const ptrdiff_t taps = a->taps * b->taps, panel = index % work->panels, group = index / work->panels;
    const ptrdiff_t width = (ptrdiff_t)args->nv * LANES, first_channel = panel * width;
    const ptrdiff_t valid = args->cout - first_channel < width ? args->cout - first_channel : width;
    const int nv = (int)((valid + LANES - 1) / LANES);
    const T *weights = (const T *)args->w + taps * args->k * first_channel;
    const T **pixels = (const T **)((char *)args->tables + slot * ki_igemm_slot_bytes(taps, args->mr));
    ptrdiff_t *tap = (ptrdiff_t *)(pixels + taps * args->mr);
    const ptrdiff_t from = work->blocks * group / work->groups, to = work->blocks * (group + 1) / work->groups;
    T *out[KI_MAX_MR];
    for (ptrdiff_t k0 = 0; k0 == 0 || k0 < args->k; k0 += args->kc) {
        const ptrdiff_t k = args->k - k0 < args->kc ? args->k - k0 : args->kc;
        const int final = k0 + args->kc >= args->k;
        TILE(epilogue) e = {.bias = args->bias ? (const T *)args->bias + first_channel : NULL,
                            .lo = final ? (T)args->lo : (T)-INFINITY,
                            .hi = final ? (T)args->hi : (T)INFINITY,
                            .valid = valid,
                            .accumulate = k0 > 0};
        for (ptrdiff_t block = from; block < to; block++) {
            ptrdiff_t line = block / work->chunks, chunk = block % work->chunks;
            ptrdiff_t first = b->out * chunk / work->chunks, count = b->out * (chunk + 1) / work->chunks - first;
            ptrdiff_t live = TILE(locate)(work, line, first, count, pixels, tap);
            if (k0)
                for (ptrdiff_t i = 0; i < live * count; i++) pixels[i] += k0;
            T *y = (T *)args->y + line / a->out * args->out_batch + line % a->out * a->out_step + first * b->out_step +
                   first_channel;
            for (ptrdiff_t m = 0; m < count; m++) out[m] = y + m * b->out_step;
            TILE(tiles)[nv - 1][count - 1](pixels, tap, live, k, args->k * nv * LANES, weights + k0 * nv * LANES, out,
                                           &e);
        }
    }
}

static void TILE(igemm)(const ki_igemm_args *args) {
    const ki_axis *a = &args->axis[0], *b = &args->axis[1];
    const ptrdiff_t lines = args->batch * a->out, width = (ptrdiff_t)args->nv * LANES;
    TILE(work) work = {.args = args, .panels = (args->cout + width - 1) / width};
    work.chunks = (b->out + args->mr - 1) / args->mr;
    work.blocks = lines * work.chunks;
    work.zeros = (const T *)args->w + ki_packed_size(a->taps * b->taps * args->k, args->cout, 0, LANES);
    if (!work.blocks || !work.panels) return;
    ptrdiff_t bytes = args->batch * a->in * b->in * args->k * (ptrdiff_t)sizeof(T);
    work.groups = bytes / TILE(GROUP_BYTES) + 1;
    if (args->threads > 1)
        while (work.groups * work.panels < 4 * args->threads && work.groups < work.blocks) work.groups++;
    if (work.groups > work.blocks) work.groups = work.blocks;
    ki_parallel(TILE(task), &work, work.groups * work.panels, args->threads);
}

static void TILE(pack_task)(void *context, ptrdiff_t panel, int slot) {
    (void)slot;
    const ki_pack_args *args = context;
    const ptrdiff_t first = panel * args->nv * LANES;
    const ptrdiff_t rest = (args->cout - first + LANES - 1) / LANES;
    const ptrdiff_t width = (rest < args->nv ? rest : args->nv) * LANES;
    const ptrdiff_t valid = args->cout - first < width ? args->cout - first : width;
    const T *w = (const T *)args->w + first * args->col_step;
    T *to = (T *)args->packed + args->rows * first;
    if (args->col_step == 1) {
        for (ptrdiff_t i = 0; i < args->rows; i++, to += width, w += args->row_step) {
            memcpy(to, w, (size_t)valid * sizeof(T));
            memset(to + valid, 0, (size_t)(width - valid) * sizeof(T));
        }
        return;
    }
    /* Columns are far apart (a transposed matrix): 16 rows at a time, so that each cache line is read once. */
    for (ptrdiff_t i0 = 0; i0 < args->rows; i0 += 16) {
        ptrdiff_t rows = args->rows - i0 < 16 ? args->rows - i0 : 16;
        for (ptrdiff_t o = 0; o < width; o++)
            for (ptrdiff_t i = 0; i < rows; i++)
                to[(i0 + i) * width + o] = o < valid ? w[(i0 + i) * args->row_step + o * args->col_step] : 0;
    }
}

void KI_NAME(TILE(pack))(const ki_pack_args *args) {
    ki_pack_args copy = *args;
    const ptrdiff_t width = (ptrdiff_t)args->nv * LANES;
    ki_parallel(TILE(pack_task), &copy, (args->cout + width - 1) / width, args->threads);
    memset((T *)args->packed + ki_packed_size(args->rows, args->cout, 0, LANES), 0, (size_t)args->k * sizeof(T));
}

/* to[m][i] = x[i * step + m] for m < rows, i < k, 16 x 16 at a time. */
static void TILE(transpose)(T *to, const T *x, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t step) {
    for (ptrdiff_t m0 = 0; m0 < rows; m0 += 16)
        for (ptrdiff_t i0 = 0; i0 < k; i0 += 16) {
            ptrdiff_t m1 = rows - m0 < 16 ? rows : m0 + 16, i1 = k - i0 < 16 ? k : i0 + 16;
            for (ptrdiff_t m = m0; m < m1; m++)
                for (ptrdiff_t i = i0; i < i1; i++) to[m * k + i] = x[i * step + m];
        }
}

static void TILE(item)(void *context, ptrdiff_t item, int slot) {
    const ki_product_args *args = context;
    const ptrdiff_t *offsets = args->offsets + 3 * item;
    ki_igemm_args gemm = args->gemm;
    const int threads = gemm.threads;
    char *own = (char *)args->workspace + args->table_bytes * threads +
                slot * (args->packed_bytes + args->transposed_bytes);
    gemm.tables = (char *)args->workspace + slot * args->table_bytes;
    if (args->items > 1) gemm.threads = 1;
    if (args->packs) {
        ki_pack_args pack = args->pack;
        pack.w = (const T *)pack.w + offsets[1];
        pack.packed = own;
        pack.threads = gemm.threads;
        KI_NAME(TILE(pack))(&pack);
        gemm.w = own;
    }
    gemm.x = (const T *)gemm.x + offsets[0];
    if (args->transposes) {
        TILE(transpose)((T *)(own + args->packed_bytes), gemm.x, args->rows, gemm.k, args->x_step);
        gemm.x = own + args->packed_bytes;
    }
    gemm.y = (T *)gemm.y + offsets[2];
    TILE(igemm)(&gemm);
}

void KI_NAME(TILE(product))(const ki_product_args *args) {
    if (args->items == 1)
        TILE(item)((void *)args, 0, 0);
    else
        ki_parallel(TILE(item), (void *)args, args->items, args->gemm.threads);
}
