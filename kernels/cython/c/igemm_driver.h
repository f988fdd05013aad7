/* The loops around the tiles and the table of pointers to the pixels of a tile, for one element type;
 * included after the other igemm_*.h.
 *
 * Work is cut into blocks (one tile's pixels), groups of blocks, and panels. A task is one group x one panel. A thread
 * takes consecutive tasks, so the order of the loops decides what each thread reads: with the panels in the outer loop a
 * part of the weights and all of the input; with the groups in the outer loop a part of the input and all of the weights.
 * One thread reads the smaller of the two repeatedly. Several threads read all of the weights up to INPUT_SHARE times the
 * input, because cache lines that another thread has just written arrive slowly (Inception on two threads: 2 %). Products
 * of one input (siblings) run as one: their panels are numbered consecutively, groups and order are common.
 */

/* SHARES: tasks per thread, so that they finish together */
enum { TILE(GROUP_BYTES) = 512 * 1024, TILE(SHARES) = 8, TILE(INPUT_SHARE) = 3 };

typedef struct {
    const ki_igemm_args *args;
    ptrdiff_t chunks, blocks, groups, panels; /* chunks: blocks of one line along axis 1 */
    ptrdiff_t first_panel, all_panels;        /* of the products before this one, of all that run as one */
    int panels_outside, threads;
    const T *zeros, *following; /* following: weights of the next sibling, or NULL */
    int side_by_side; /* the axis whose taps are contiguous in x; -1: none */
    int skips;        /* whether runs of nothing but zeros are skipped */
} TILE(work);

typedef struct {
    const T **pixels;
    ki_run *runs;
    ptrdiff_t count;
} TILE(table);

/* Adds the run of taps ``tap`` .. ``tap + taps`` to the table. ``x``: the position of the first pixel along axis 1, ``line``:
 * the address of position 0. Pixels outside the image point to zeros; a run that has nothing else is skipped. */
static inline void TILE(add_run)(const TILE(work) * work, TILE(table) * table, ptrdiff_t tap, ptrdiff_t taps, ptrdiff_t x,
                                 const T *line, ptrdiff_t count) {
    const ki_axis *b = &work->args->axis[1];
    const T **row = table->pixels + table->count * count;
    if (x >= 0 && x + (count - 1) * b->stride < b->in) {
        const ptrdiff_t step = b->stride * b->in_step;
        for (ptrdiff_t m = 0; m < count; m++) row[m] = line + (x * b->in_step + m * step);
    } else {
        int any = 0;
        for (ptrdiff_t m = 0, at = x; m < count; m++, at += b->stride) { /* far outside, addresses would overflow */
            int inside = at >= 0 && at < b->in;
            row[m] = inside ? line + at * b->in_step : work->zeros;
            any |= inside;
        }
        if (!any && work->skips) return;
    }
    table->runs[table->count++] = (ki_run){tap * work->args->k, taps * work->args->k};
}

/* As product_locate, but tap by tap and with the taps in the padding: their weights may make NaN of zeros. */
static void TILE(product_locate_all)(const TILE(work) * work, const T *image, ptrdiff_t y0, ptrdiff_t x0,
                                     ptrdiff_t count, TILE(table) * table) {
    const ki_axis *a = &work->args->axis[0], *b = &work->args->axis[1];
    table->count = 0;
    for (ptrdiff_t u = 0; u < a->taps; u++) {
        const ptrdiff_t y = y0 + u * a->dilation;
        const int inside = y >= 0 && y < a->in;
        for (ptrdiff_t v = 0; v < b->taps; v++)
            TILE(add_run)(work, table, u * a->tap_step + v * b->tap_step, 1, inside ? x0 + v * b->dilation : b->in,
                          inside ? image + y * a->in_step : image, count);
    }
}

/* Fills the table for ``count`` pixels of a line. ``y0``, ``x0``: positions of their first tap along the axes. */
static void TILE(product_locate)(const TILE(work) * work, const T *image, ptrdiff_t y0, ptrdiff_t x0, ptrdiff_t count,
                                 TILE(table) * table) {
    const ki_axis *a = &work->args->axis[0], *b = &work->args->axis[1];
    const ptrdiff_t span = (count - 1) * b->stride;
    table->count = 0;
    ptrdiff_t u0 = 0, u1 = a->taps; /* taps along axis 0 that are inside */
    if (y0 < 0) u0 = (-y0 + a->dilation - 1) / a->dilation;
    while (u1 > u0 && y0 + (u1 - 1) * a->dilation >= a->in) u1--;
    if (u1 <= u0) return;
    if (work->side_by_side == 0) {
        for (ptrdiff_t v = 0; v < b->taps; v++) {
            ptrdiff_t x = x0 + v * b->dilation;
            TILE(add_run)(work, table, u0 + v * b->tap_step, u1 - u0, x, image + (y0 + u0) * a->in_step, count);
        }
        return;
    }
    for (ptrdiff_t u = u0; u < u1; u++) {
        const ptrdiff_t tap = u * a->tap_step;
        const T *line = image + (y0 + u * a->dilation) * a->in_step;
        ptrdiff_t v = 0;
        while (v < b->taps) {
            ptrdiff_t x = x0 + v * b->dilation, taps = 1;
            if (work->side_by_side == 1 && x >= 0)
                while (v + taps < b->taps && x + taps + span < b->in) taps++;
            TILE(add_run)(work, table, tap + v * b->tap_step, taps, x, line, count);
            v += taps;
        }
    }
}

/* Clips the runs of a table to the rows [from, to) of the panel. */
static inline void TILE(narrow)(TILE(table) * table, ptrdiff_t from, ptrdiff_t to, ptrdiff_t count) {
    ptrdiff_t kept = 0;
    for (ptrdiff_t r = 0; r < table->count; r++) {
        const ki_run run = table->runs[r];
        const ptrdiff_t first = run.row > from ? run.row : from;
        const ptrdiff_t end = run.row + run.length < to ? run.row + run.length : to;
        if (end <= first) continue;
        for (ptrdiff_t m = 0; m < count; m++)
            table->pixels[kept * count + m] = table->pixels[r * count + m] + (first - run.row);
        table->runs[kept++] = (ki_run){first, end - first};
    }
    table->count = kept;
}

/* Prefetching of ``bytes`` from an address on, spread evenly over the k loop of a tile. */
static inline ki_ahead TILE(fetch)(const void *address, ptrdiff_t bytes, ptrdiff_t products) {
    const ptrdiff_t strips = products / KI_STRIP + 1;
    return (ki_ahead){(uintptr_t)address, ((bytes + 63) / 64 + strips - 1) / strips};
}

static void TILE(product_task)(void *context, ptrdiff_t index, int slot) {
    const TILE(work) *work = context;
    const ki_igemm_args *args = work->args;
    const ki_axis *a = &args->axis[0], *b = &args->axis[1];
    const ptrdiff_t counted = work->panels_outside ? index / work->groups : index % work->all_panels;
    const ptrdiff_t group = work->panels_outside ? index % work->groups : index / work->all_panels;
    const ptrdiff_t panel = counted - work->first_panel;
    const ptrdiff_t taps = a->taps * b->taps, width = (ptrdiff_t)args->nv * LANES;
    const ptrdiff_t first_channel = panel * width, products = taps * args->k;
    const ptrdiff_t valid = args->cout - first_channel < width ? args->cout - first_channel : width;
    const int nv = (int)((valid + LANES - 1) / LANES);
    const T *weights = (const T *)args->w + products * first_channel;
    TILE(table) table = {.pixels = (const T **)((char *)args->tables + slot * ki_igemm_slot_bytes(taps, args->mr))};
    table.runs = (ki_run *)(table.pixels + taps * args->mr);
    const ptrdiff_t from = work->blocks * group / work->groups, to = work->blocks * (group + 1) / work->groups;
    const ptrdiff_t pixels = b->out / work->chunks, longer = b->out % work->chunks; /* the first chunks are longer by 1 */
    /* Prefetched while this task computes: the weights of the next pass, which follow those in use, and pixels that this
     * thread has not read yet. */
    const ptrdiff_t tasks = work->groups * work->all_panels, own = ki_first_task(tasks, work->threads, slot);
    const ptrdiff_t own_end = ki_first_task(tasks, work->threads, slot + 1);
    const int first_meeting = work->panels_outside ? index < own + work->groups : counted == 0 || index == own;
    const int last_panel = panel + 1 == work->panels;
    const int next_panel = index + 1 < own_end && (!last_panel || work->following) &&
                           (!work->panels_outside || group + 1 == work->groups);
    const int new_panel = !work->panels_outside || group == 0 || index == own;
    T *out[KI_MAX_MR];
    _Alignas(64) T computed[KI_TILE_ACCUMULATORS * LANES]; /* a tile on its way through the chain */
    for (ptrdiff_t k0 = 0; k0 == 0 || k0 < products; k0 += args->kc) {
        const ptrdiff_t k1 = products - k0 < args->kc ? products : k0 + args->kc;
        const int final = k1 == products;
        TILE(epilogue) e = {.bias = args->bias ? (const T *)args->bias + first_channel : NULL,
                            .lo = final ? (T)args->lo : (T)-INFINITY,
                            .hi = final ? (T)args->hi : (T)INFINITY,
                            .valid = valid,
                            .accumulate = k0 > 0};
        const ptrdiff_t chunk_bytes = (k1 - k0) * nv * LANES * (ptrdiff_t)sizeof(T), share = chunk_bytes / (to - from) + 64;
        const T *next = final && last_panel ? work->following : weights + k1 * nv * LANES;
        const char *next_weights = (const char *)((final ? next_panel : new_panel) ? next : NULL);
        ptrdiff_t line = from / work->chunks, chunk = from % work->chunks, n = line / a->out, o = line % a->out;
        for (ptrdiff_t block = from; block < to; block++) {
            const ptrdiff_t first = chunk * pixels + (chunk < longer ? chunk : longer), count = pixels + (chunk < longer);
            const ptrdiff_t y0 = o * a->stride - a->before, x0 = first * b->stride - b->before;
            const T *image = (const T *)args->x + n * args->in_batch;
            (work->skips ? TILE(product_locate) : TILE(product_locate_all))(work, image, y0, x0, count, &table);
            if (args->kc < products) TILE(narrow)(&table, k0, k1, count);
            e.ahead[0].lines = e.ahead[1].lines = 0;
            if (next_weights) e.ahead[0] = TILE(fetch)(next_weights + (block - from) * share, share, k1 - k0);
            if (first_meeting && k0 == 0) {
                const ptrdiff_t fresh = y0 + (a->taps - 1) * a->dilation + 1; /* the next line begins to read this row */
                const ptrdiff_t stride = b->stride < b->in ? b->stride : b->in;
                const ptrdiff_t bytes = count * stride * b->in_step * (ptrdiff_t)sizeof(T);
                if (x0 >= b->in || x0 < -b->in)
                    ; /* far outside */
                else if (fresh > 0 && fresh < a->in && a->in_step > b->in_step)
                    e.ahead[1] = TILE(fetch)(image + fresh * a->in_step + (x0 > 0 ? x0 : 0) * b->in_step, bytes, k1 - k0);
                else if (a->in == 1)
                    e.ahead[1] = TILE(fetch)(image + (x0 + count * stride) * b->in_step, bytes, k1 - k0);
            }
            T *y = (T *)args->y + n * args->out_batch + o * a->out_step + first * b->out_step + first_channel;
            const ki_chain *chain = final ? args->chain : NULL;
            const int aside = chain && k0 == 0;
            T *to = aside ? computed : y;
            const ptrdiff_t to_step = aside ? valid : b->out_step;
            for (ptrdiff_t m = 0; m < count; m++) out[m] = to + m * to_step;
            TILE(tiles)[nv - 1][count - 1](table.pixels, table.runs, table.count, weights, out, &e);
            if (chain)
                ki_chain_computed(chain, to, to_step * (ptrdiff_t)sizeof(T), y, b->out_step * (ptrdiff_t)sizeof(T), count,
                                  valid);
            if (++chunk == work->chunks) {
                chunk = 0;
                if (++o == a->out) o = 0, n++;
            }
        }
    }
}

/* How a product is cut into blocks and panels. */
static TILE(work) TILE(cut)(const ki_igemm_args *args) {
    const ki_axis *a = &args->axis[0], *b = &args->axis[1];
    const ptrdiff_t lines = args->batch * a->out, width = (ptrdiff_t)args->nv * LANES;
    TILE(work) work = {.args = args, .panels = (args->cout + width - 1) / width, .side_by_side = -1};
    work.chunks = (b->out + args->mr - 1) / args->mr;
    work.blocks = lines * work.chunks;
    work.zeros = (const T *)args->w + ki_packed_size(a->taps * b->taps * args->k, args->cout, 0, LANES);
    work.skips = work.zeros[ki_zeros(a->taps, b->taps, args->k)] == 0;
    for (int i = 0; i < 2; i++)
        if (args->axis[i].taps > 1 && args->axis[i].tap_step == 1 && args->axis[i].dilation == 1 &&
            args->axis[i].in_step == args->k)
            work.side_by_side = i;
    return work;
}

static void TILE(product_family_task)(void *context, ptrdiff_t index, int slot) {
    const TILE(work) *work = context;
    const ptrdiff_t panel = work->panels_outside ? index / work->groups : index % work->all_panels;
    while (panel >= work->first_panel + work->panels) work++;
    TILE(product_task)((void *)work, index, slot);
}

/* Bytes of the weights of siblings that run as one and are all read for every group: they must stay in the L2 cache. */
enum { TILE(FAMILY_BYTES) = 1024 * 1024 };

/* Runs products of the same input and pixels as one. */
static void TILE(product_run)(TILE(work) * works, ptrdiff_t count) {
    const ki_igemm_args *args = works->args;
    const ki_axis *a = &args->axis[0], *b = &args->axis[1];
    const ptrdiff_t input = args->batch * a->in * b->in * args->k * (ptrdiff_t)sizeof(T);
    ptrdiff_t weights = 0, panels = 0, blocks = works->blocks, groups = input / TILE(GROUP_BYTES) + 1;
    for (ptrdiff_t i = 0; i < count; i++) {
        works[i].first_panel = panels;
        works[i].following = i + 1 < count ? works[i + 1].args->w : NULL;
        panels += works[i].panels;
        weights += a->taps * b->taps * args->k * works[i].args->cout * (ptrdiff_t)sizeof(T);
        if (works[i].blocks < blocks) blocks = works[i].blocks;
    }
    if (blocks < 1 || panels < 1) return; /* y is empty */
    if (count > 1 && weights <= input && weights > TILE(FAMILY_BYTES)) {
        for (ptrdiff_t i = 0; i < count; i++) TILE(product_run)(works + i, 1);
        return;
    }
    const ptrdiff_t shares = (TILE(SHARES) * (ptrdiff_t)args->threads + panels - 1) / panels;
    if (args->threads > 1 && groups < shares) groups = shares;
    if (groups > blocks) groups = blocks;
    const ptrdiff_t tasks = groups * panels;
    for (ptrdiff_t i = 0; i < count; i++) {
        works[i].all_panels = panels;
        works[i].groups = groups;
        works[i].panels_outside = weights > input * (args->threads > 1 ? TILE(INPUT_SHARE) : 1);
        works[i].threads = tasks < args->threads ? (int)tasks : args->threads;
    }
    ki_parallel(TILE(product_family_task), works, tasks, args->threads);
}

static void TILE(igemm)(const ki_igemm_args *args) {
    TILE(work) work = TILE(cut)(args);
    TILE(product_run)(&work, 1);
}

/* Prepares what a product needs in each run: packed weights, transposed x. ``own``: its part of the workspace. */
static void TILE(product_make_ready)(const ki_product_args *args, ki_igemm_args *gemm, const ptrdiff_t *offsets,
                                     char *own) {
    if (args->packs) {
        ki_pack_args pack = args->pack;
        pack.w = (const T *)pack.w + offsets[1];
        pack.packed = own;
        pack.threads = gemm->threads;
        TILE(pack)(&pack);
        gemm->w = own;
    }
    gemm->x = (const T *)gemm->x + offsets[0];
    if (args->transposes) {
        TILE(transpose)((T *)(own + args->packed_bytes), gemm->x, args->rows, gemm->k, args->x_step,
                        gemm->threads);
        gemm->x = own + args->packed_bytes;
    }
    gemm->y = (T *)gemm->y + offsets[2];
}

static void TILE(product_item)(void *context, ptrdiff_t item, int slot) {
    const ki_product_args *args = context;
    ki_igemm_args gemm = args->gemm;
    char *own = (char *)args->workspace + args->table_bytes * gemm.threads +
                slot * (args->packed_bytes + args->transposed_bytes);
    gemm.tables = (char *)args->workspace + slot * args->table_bytes;
    if (args->items > 1) gemm.threads = 1;
    if (args->in_place) {
        const ptrdiff_t *offsets = args->offsets + 3 * item;
        gemm.x = (const T *)gemm.x + offsets[0], gemm.y = (T *)gemm.y + offsets[2];
        TILE(product_unpacked)(&gemm, &args->pack, (const T *)args->pack.w + offsets[1], args->transposes ? args->x_step : 0);
        return;
    }
    TILE(product_make_ready)(args, &gemm, args->offsets + 3 * item, own);
    TILE(igemm)(&gemm);
}

static void TILE(product)(const ki_product_args *args) {
    if (args->items == 1)
        TILE(product_item)((void *)args, 0, 0);
    else
        ki_parallel(TILE(product_item), (void *)args, args->items, args->gemm.threads);
}

static void TILE(siblings)(const ki_product_args *products, ptrdiff_t count) {
    for (; count > 0; products += KI_MAX_SIBLINGS, count -= KI_MAX_SIBLINGS) {
        const ptrdiff_t members = count < KI_MAX_SIBLINGS ? count : KI_MAX_SIBLINGS;
        ki_igemm_args gemms[KI_MAX_SIBLINGS];
        TILE(work) works[KI_MAX_SIBLINGS];
        for (ptrdiff_t i = 0; i < members; i++) {
            gemms[i] = products[i].gemm;
            gemms[i].tables = products[i].workspace;
            TILE(product_make_ready)(&products[i], &gemms[i], products[i].offsets,
                                     (char *)products[i].workspace + products[i].table_bytes * gemms[i].threads);
            works[i] = TILE(cut)(&gemms[i]);
        }
        TILE(product_run)(works, members);
    }
}
