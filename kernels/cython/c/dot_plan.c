/* Plans of dot.h for windows whose taps are read from cells. */
#include "dot.h"

static ptrdiff_t floor_div(ptrdiff_t a, ptrdiff_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

/* Planes by the remainder of a tap's position by the stride. */
static ki_dot_cells by_phase(const ki_dot_axis *axis) {
    ki_dot_cells c = {.step = axis->stride};
    ptrdiff_t phases[KI_DOT_TAPS], least = 0, most = 0;
    for (ptrdiff_t t = 0; t < axis->taps; t++) {
        const ptrdiff_t at = t * axis->dilation - axis->before, k = floor_div(at, axis->stride);
        const ptrdiff_t phase = at - k * axis->stride;
        int plane = 0;
        while (plane < c.planes && phases[plane] != phase) plane++;
        if (plane == c.planes) phases[c.planes++] = phase;
        c.plane[t] = plane, c.shift[t] = k;
        if (t == 0 || k < least) least = k;
        if (t == 0 || k > most) most = k;
    }
    for (ptrdiff_t t = 0; t < axis->taps; t++) c.shift[t] -= least;
    for (int p = 0; p < c.planes; p++) c.start[p] = axis->stride * least + phases[p];
    c.extra = most - least;
    return c;
}

/* Lines of stride 1 whose padding is the next one's, too. */
static ki_dot_cells shared(const ki_dot_axis *axis) {
    ki_dot_cells c = {.planes = 1, .step = 1};
    const ptrdiff_t reach = axis->out - 1 + (axis->taps - 1) * axis->dilation - axis->before;
    const ptrdiff_t left = axis->before > 0 ? axis->before : 0, right = reach >= axis->in ? reach - axis->in + 1 : 0;
    for (ptrdiff_t t = 0; t < axis->taps; t++) c.shift[t] = t * axis->dilation - axis->before + left;
    c.start[0] = -left;
    c.after = left > right ? left : right;
    c.extra = axis->in + c.after - axis->out;
    return c;
}

/* A plane for each tap: nothing in vain, but as many copies. */
static ki_dot_cells by_tap(const ki_dot_axis *axis) {
    ki_dot_cells c = {.planes = (int)axis->taps, .step = axis->stride};
    for (int t = 0; t < c.planes; t++) c.plane[t] = t, c.start[t] = t * axis->dilation - axis->before;
    return c;
}

/* Lines along ``axis``. Copies of it take less time than products in vain from an eighth on. */
static ki_dot_cells line_of(const ki_dot_axis *axis) {
    ki_dot_cells c = axis->stride == 1 ? shared(axis) : by_phase(axis);
    if (c.extra < 0 || c.extra * 8 > axis->out) c = by_tap(axis);
    return c;
}

void ki_dot_make_plan(const ki_dot_args *args, ki_dot_plan *plan) {
    const ki_dot_axis *axis = args->axis;
    const ptrdiff_t element = args->from == KI_DOT_F32 ? 4 : args->from == KI_DOT_BF16 ? 2 : 1;
    const ki_dot_cells down = line_of(&axis[0]), across = line_of(&axis[1]);
    /* Lines of the axis that wastes less, or is copied less often; else those of x. */
    const ptrdiff_t cost_down = down.extra * axis[1].out * 8 + (down.planes - 1) * axis[0].out * axis[1].out;
    const ptrdiff_t cost_across = across.extra * axis[0].out * 8 + (across.planes - 1) * axis[0].out * axis[1].out;
    plan->major = cost_down < cost_across;
    plan->on[0] = by_phase(&axis[plan->major]);
    plan->on[1] = plan->major ? down : across;
    plan->width = axis[!plan->major].out + plan->on[1].extra;
    plan->cell = (args->tap_steps | 1) * KI_DOT_STEP;
    plan->direct = 0;
    /* x as it lies: no padding, no planes, whole steps. */
    const ptrdiff_t bytes = args->x_pitch * element;
    if (!plan->major && args->from != KI_DOT_F32 && args->from != KI_DOT_S8 && plan->on[1].planes == 1 &&
        plan->on[1].after == 0 && plan->on[0].planes == 1 && plan->on[0].start[0] == 0 && plan->on[0].step == 1 &&
        plan->on[1].step == 1 && plan->width == axis[1].in && axis[0].out + plan->on[0].extra <= axis[0].in &&
        args->cin * element == args->tap_steps * KI_DOT_STEP && bytes % KI_DOT_STEP == 0 &&
        (axis[0].out - 1) * plan->width + axis[1].out >= KI_DOT_BLOCK)
        plan->direct = 1, plan->cell = bytes;
}

double ki_dot_waste(const ki_dot_args *args) {
    ki_dot_plan plan;
    ki_dot_make_plan(args, &plan);
    return (double)plan.width / (double)args->axis[!plan.major].out;
}

void ki_dot_plan_groups(ki_dot_args *args, ptrdiff_t most) {
    ki_dot_plan plan;
    ki_dot_make_plan(args, &plan);
    plan.cell = (args->tap_steps | 1) * KI_DOT_STEP; /* as if x were copied: its pitch is not known yet */
    const ptrdiff_t all = args->axis[plan.major].out, image = ki_dot_cell_bytes(&plan, all);
    args->lines = all, args->images = most / image;
    if (args->images > args->batch) args->images = args->batch;
    if (args->images < 1) {
        const ptrdiff_t one = ki_dot_cell_bytes(&plan, 1), line = ki_dot_cell_bytes(&plan, 2) - one;
        args->images = 1;
        args->lines = most < one ? 1 : 1 + (most - one) / line;
        if (args->lines > all) args->lines = all;
    }
    /* Blocks may reach beyond the last cell. */
    args->cells = args->images * ki_dot_cell_bytes(&plan, args->lines) + KI_DOT_BLOCK * plan.cell;
}
