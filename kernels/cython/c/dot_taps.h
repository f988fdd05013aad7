/* Windows whose taps are read from cells (ki_dot_plan): every pixel is copied once, and a tap is a place in the copy.
 *
 * The cells of a line follow those of the one before, so that 32 outputs of a block may lie in several lines; cells between
 * the last output of a line and the first of the next one are computed and not used. Per step of a block, a tile of pixels
 * is read that the tap before has brought into the L1 cache: 1x7 of 192 channels on AMX reaches 2.5 TFLOP/s of 2.7 that way,
 * with a copy of each tap 1.7.
 */

/* Cells [c0, c1) of a line of padding. */
static void pad_cells(const ki_dot_args *args, char *to, ptrdiff_t cell, ptrdiff_t count) {
    for (ptrdiff_t c = 0; c < count; c++) put_padding(args, to + c * cell, args->cin);
}

/* Fills the cells of an image's output lines [line, line + lines) of the major axis. */
static void fill_cells(const ki_dot_args *args, const ki_dot_plan *plan, char *to, ptrdiff_t image, ptrdiff_t line,
                       ptrdiff_t lines) {
    const ki_dot_cells *major = &plan->on[0], *minor = &plan->on[1];
    const ki_dot_axis *a = &args->axis[plan->major], *b = &args->axis[!plan->major];
    const ptrdiff_t size = args->x_pitch * element_bytes(args), cell = plan->cell, all = lines + major->extra;
    const ptrdiff_t row = args->axis[1].in * size, along = plan->major ? row : size, down = plan->major ? size : row;
    const char *x = (const char *)args->x + image * args->axis[0].in * row;
    const ptrdiff_t used = args->cin * (ki_dot_is_bytes(args->from) ? 1 : 2),
                    rest = args->tap_steps * KI_DOT_STEP - used;
    for (int i = 0; i < major->planes; i++)
        for (int j = 0; j < minor->planes; j++) {
            const ptrdiff_t start = minor->start[j], step = minor->step;
            ptrdiff_t first = start < 0 ? (-start + step - 1) / step : 0;
            ptrdiff_t end = start < b->in ? (b->in - 1 - start) / step + 1 : 0;
            if (end > plan->width) end = plan->width;
            if (first > end) first = end;
            char *begin = to;
            for (ptrdiff_t l = 0; l < all; l++, to += plan->width * cell) {
                const ptrdiff_t at = major->start[i] + (line + l) * major->step;
                if (at < 0 || at >= a->in) {
                    pad_cells(args, to, cell, plan->width);
                    continue;
                }
                pad_cells(args, to, cell, first);
                put_runs(args, to + first * cell, cell, x + at * down + (start + first * step) * along, step * along,
                         args->cin, end - first);
                pad_cells(args, to + end * cell, cell, plan->width - end);
            }
            pad_cells(args, to, cell, minor->after);
            to += minor->after * cell;
            if (rest > 0)
                for (char *c = begin; c < to; c += cell) put_zeros(c + used, rest);
        }
}

/* The outputs of a block of cells from ``at`` on, line by line. ``line``: the first of the group. */
static void finish_cells(const work *w, finish_args *finish, ptrdiff_t image, ptrdiff_t line, ptrdiff_t at, int rows) {
    const ki_dot_args *args = w->args;
    const ki_dot_plan *plan = &w->plan;
    const ptrdiff_t wide = args->axis[1].out, outs = args->axis[!plan->major].out,
                    begin = image * args->axis[0].out * wide;
    const int32_t *sums = finish->sums;
    const int bytes = ki_dot_is_bytes(args->from);
    ptrdiff_t r = at / plan->width, c = at % plan->width;
    finish->stride = plan->major ? wide : 1;
    for (ptrdiff_t m = 0; m < rows; r++, m += plan->width - c, c = 0) {
        if (c >= outs) continue;
        finish->rows = outs - c < rows - m ? outs - c : rows - m;
        finish->pixel = begin + (plan->major ? c * wide + line + r : (line + r) * wide + c);
        finish->sums = sums + m * KI_DOT_PANEL;
        (bytes ? finish_bytes : finish_floats)(finish);
    }
    finish->sums = sums;
}

/* Some images' lines times one panel; ``ahead``: the panel that comes next. */
static void panel_of_cells(const work *w, const ki_dot_out *out, ptrdiff_t panel, const cells_group *g,
                           const ptrdiff_t *offsets, const char *ahead, ptrdiff_t ahead_bytes) {
    const ki_dot_args *args = w->args;
    const ki_dot_plan *plan = &w->plan;
    const ptrdiff_t first = panel * KI_DOT_PANEL, rest = out->cout - first;
    const ptrdiff_t valid = rest < KI_DOT_PANEL ? rest : KI_DOT_PANEL;
    const ptrdiff_t count = (g->lines - 1) * plan->width + args->axis[!plan->major].out;
    const ptrdiff_t blocks = (count + KI_DOT_BLOCK - 1) / KI_DOT_BLOCK;
    ptrdiff_t lines = (ahead_bytes + 63) / 64;
    const ptrdiff_t share = (lines + g->images * blocks * args->steps - 1) / (g->images * blocks * args->steps);
    const int bytes = ki_dot_is_bytes(args->from);
    block_args block = {.w = (const char *)out->w + panel * args->steps * 2048,
                        .vectors = valid > KI_DOT_LANES ? 2 : 1,
                        .runs = args->axis[0].taps * args->axis[1].taps,
                        .steps = args->tap_steps,
                        .offsets = offsets,
                        .pitch = plan->cell,
                        .sums = g->sums,
                        .ahead = ahead};
    finish_args finish = finish_of(w, out, first, valid);
    finish.sums = g->sums;
    for (ptrdiff_t image = 0; image < g->images; image++)
        for (ptrdiff_t b = 0; b < blocks; b++) {
            ptrdiff_t at = b * KI_DOT_BLOCK;
            block.rows = (int)(count - at < KI_DOT_BLOCK ? count - at : KI_DOT_BLOCK);
            if (plan->direct && block.rows < KI_DOT_BLOCK) /* tiles read whole blocks: the last one begins earlier */
                at = count - KI_DOT_BLOCK, block.rows = KI_DOT_BLOCK;
            block.a = g->cells + image * g->image_bytes + at * plan->cell;
            block.lines = lines >= share * args->steps ? share : 0;
            (bytes ? byte_block : bf16_block)(&block);
            block.ahead += block.lines * args->steps * 64;
            lines -= block.lines * args->steps;
            finish_cells(w, &finish, g->image + image, g->line, at, block.rows);
        }
}

/* Where a group begins and ends, and its cells, which are filled if the thread does not hold them yet. */
static cells_group group_of_cells(const work *w, ptrdiff_t group, char *own) {
    const ki_dot_args *args = w->args;
    const ki_dot_plan *plan = &w->plan;
    const ptrdiff_t all = args->axis[plan->major].out, part = group % w->parts, many = group / w->parts;
    const ptrdiff_t packs = w->groups / w->parts;
    cells_group g = {.image = args->batch * many / packs, .line = all * part / w->parts};
    g.images = args->batch * (many + 1) / packs - g.image;
    g.lines = all * (part + 1) / w->parts - g.line;
    g.sums = (int32_t *)(own + 64);
    g.image_bytes = ki_dot_cell_bytes(plan, g.lines);
    if (plan->direct) {
        const ptrdiff_t row = args->axis[1].in * plan->cell;
        g.image_bytes = args->axis[0].in * row;
        g.cells = (const char *)args->x + g.image * g.image_bytes + g.line * row;
        return g;
    }
    char *cells = own + 64 + KI_DOT_BLOCK * KI_DOT_PANEL * 4;
    g.cells = cells;
    ptrdiff_t *held = (ptrdiff_t *)own;
    if (*held == group + 1) return g;
    for (ptrdiff_t i = 0; i < g.images; i++)
        fill_cells(args, plan, cells + i * g.image_bytes, g.image + i, g.line, g.lines);
    *held = group + 1;
    return g;
}

/* Bytes from the cell of an output to that of each of its taps. */
static void find_taps(const ki_dot_args *args, const ki_dot_plan *plan, ptrdiff_t lines, ptrdiff_t *offsets) {
    const ki_dot_cells *major = &plan->on[0], *minor = &plan->on[1];
    const ptrdiff_t size = ki_dot_cell_bytes(plan, lines) / (major->planes * minor->planes);
    for (ptrdiff_t u = 0; u < args->axis[0].taps; u++)
        for (ptrdiff_t v = 0; v < args->axis[1].taps; v++) {
            const ptrdiff_t p = plan->major ? v : u, q = plan->major ? u : v;
            const ptrdiff_t plane = major->plane[p] * minor->planes + minor->plane[q];
            *offsets++ = plane * size + (major->shift[p] * plan->width + minor->shift[q]) * plan->cell;
        }
}

/* One group by some panels. */
static void cells_task(void *context, ptrdiff_t index, int slot) {
    const work *w = context;
    const ptrdiff_t group = index / w->splits, split = index % w->splits;
    const cells_group g = group_of_cells(w, group, slot_of(w->args, slot));
    ptrdiff_t offsets[KI_DOT_TAPS * KI_DOT_TAPS];
    find_taps(w->args, &w->plan, g.lines, offsets);
    begin_tiles();
    const ptrdiff_t first = w->panels * split / w->splits, end = w->panels * (split + 1) / w->splits;
    for (ptrdiff_t panel = first; panel < end; panel++) {
        ptrdiff_t here = panel, ahead_bytes;
        const ki_dot_out *out = find_panel(w->args, &here);
        const char *ahead = panel_after(w, panel, &ahead_bytes);
        panel_of_cells(w, out, here, &g, offsets, ahead, ahead_bytes);
    }
    end_tiles();
}

/* Divides images, or the lines of each, among groups. */
static void divide_cells(work *w) {
    const ki_dot_args *args = w->args;
    const ptrdiff_t all = args->axis[w->plan.major].out,
                    wanted = args->threads > 1 && !w->few ? SHARES * args->threads : 1;
    ptrdiff_t packs = (args->batch + args->images - 1) / args->images;
    w->parts = (all + args->lines - 1) / args->lines;
    if (packs < wanted) packs = args->batch < wanted ? args->batch : wanted;
    if (packs * w->parts < wanted) {
        /* No smaller than FEW_BLOCKS, or a panel is read too often. */
        const ptrdiff_t most = all * w->plan.width / (FEW_BLOCKS * KI_DOT_BLOCK), parts = (wanted + packs - 1) / packs;
        const ptrdiff_t possible = most < 1 ? 1 : most < all ? most : all;
        if (parts > w->parts) w->parts = parts < possible ? parts : possible > w->parts ? possible : w->parts;
    }
    /* Where x itself is the cells, every block is 32 of them. */
    const ptrdiff_t outs = args->axis[!w->plan.major].out;
    while (w->plan.direct && w->parts > 1 && (all / w->parts - 1) * w->plan.width + outs < KI_DOT_BLOCK) w->parts--;
    w->groups = packs * w->parts;
}
