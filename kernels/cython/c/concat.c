/* Concatenation: copies of bytes. */
#include "concat.h"

#include <string.h>

#include "threads.h"

enum { TASK_BYTES = 256 * 1024 };

typedef struct {
    const ki_concat_args *args;
    ptrdiff_t rows; /* of a task */
} work;

static void task(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const work *w = context;
    const ki_concat_args *a = w->args;
    ptrdiff_t row = index * w->rows, end = row + w->rows < a->rows ? row + w->rows : a->rows;
    for (; row < end; row++) {
        for (ptrdiff_t i = 0; i < a->parts; i++) {
            const ki_concat_part *p = &a->part[i];
            const char *x = (const char *)p->x + row * p->lines * p->step;
            char *y = (char *)a->y + row * a->row_step + p->offset;
            for (ptrdiff_t line = 0; line < p->lines; line++)
                memcpy(y + line * a->y_step, x + line * p->step, (size_t)p->bytes);
        }
    }
}

void ki_concat(const ki_concat_args *args) {
    if (!args->rows || !args->row_bytes) return;
    work w = {.args = args, .rows = TASK_BYTES / args->row_bytes + 1};
    ki_parallel(task, &w, (args->rows + w.rows - 1) / w.rows, args->threads);
}
