/* The loops around an elementwise map: axes, and shares for the threads. */
#include "maps.h"
#include "threads.h"

enum { PIECE = 16 * 1024, LEAST_SHARED = 64 * 1024 }; /* elements */

typedef struct {
    const ki_map_args *args;
    ptrdiff_t rows, pieces, per_task, units; /* a unit is one piece of one row along the innermost axis */
} run;

static void task(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const run *r = context;
    const ki_map_args *a = r->args;
    const int last = a->rank - 1;
    const ptrdiff_t n = a->size[last];
    ptrdiff_t unit = index * r->per_task, end = unit + r->per_task < r->units ? unit + r->per_task : r->units;
    for (; unit < end; unit++) {
        ptrdiff_t row = unit / r->pieces, from = unit % r->pieces * PIECE;
        ptrdiff_t count = n - from < PIECE ? n - from : PIECE;
        const char *x0 = a->x0, *x1 = a->x1;
        char *y = a->y;
        for (int axis = last - 1; axis >= 0; axis--) {
            ptrdiff_t at = row % a->size[axis];
            row /= a->size[axis];
            x0 += at * a->step0[axis];
            x1 += at * a->step1[axis];
            y += at * a->step_y[axis];
        }
        a->map(x0 + from * a->step0[last], a->step0[last] / a->item0, x1 + from * a->step1[last],
               a->step1[last] / a->item1, y + from * a->step_y[last], count);
    }
}

void ki_run_map(const ki_map_args *args) {
    run r = {.args = args, .rows = 1};
    const ptrdiff_t n = args->size[args->rank - 1];
    for (int i = 0; i < args->rank - 1; i++) r.rows *= args->size[i];
    if (!n || !r.rows) return;
    r.pieces = (n + PIECE - 1) / PIECE;
    r.units = r.rows * r.pieces;
    ptrdiff_t per_unit = n < PIECE ? n : PIECE;
    int threads = r.rows * n < LEAST_SHARED ? 1 : args->threads;
    r.per_task = threads == 1 ? r.units : (PIECE + per_unit - 1) / per_unit;
    ki_parallel(task, &r, (r.units + r.per_task - 1) / r.per_task, threads);
}
