/* The loops around the maps of a chain: blocks of rows, and shares for the threads. */
#include "chain.h"

#include <string.h>

#include "threads.h"

enum { BUFFERS = 1 + KI_CHAIN_REGISTERS + KI_CHAIN_ARRAYS, VALUES = BUFFERS - KI_CHAIN_ARRAYS + KI_CHAIN_OPERANDS };
enum { TASK_BYTES = 16 * KI_CHAIN_BYTES, LEAST_SHARED = 64 * 1024 };

/* An array of a block: ``step`` is 1, or 0 where one value serves all of it. */
typedef struct {
    const char *p;
    ptrdiff_t step;
} value;

/* memcpy of short rows: a call of the library takes longer than the copy. */
static inline void copy_row(char *to, const char *from, ptrdiff_t bytes) {
    for (; bytes >= 64; bytes -= 64, to += 64, from += 64) memcpy(to, from, 64);
    if (bytes & 32) memcpy(to, from, 32), to += 32, from += 32;
    if (bytes & 16) memcpy(to, from, 16), to += 16, from += 16;
    if (bytes & 8) memcpy(to, from, 8), to += 8, from += 8;
    if (bytes & 4) memcpy(to, from, 4);
}

static const char *operand_at(const ki_chain *c, const ki_chain_operand *o, ptrdiff_t pixel, ptrdiff_t channel) {
    const char *p = o->data + channel * o->channel;
    if (o->image == c->image_pixels * o->pixel) return p + pixel * o->pixel;
    const ptrdiff_t image = pixel / c->image_pixels;
    return p + image * o->image + (pixel - image * c->image_pixels) * o->pixel;
}

/* What a block reads of an operand: where it is, or a copy in ``own``. */
static value gather(const ki_chain *c, const ki_chain_operand *o, char *own, ptrdiff_t pixel, ptrdiff_t pixel_step,
                    ptrdiff_t rows, ptrdiff_t channel, ptrdiff_t width) {
    const ptrdiff_t row = width * c->item, item = c->item;
    const char *first = operand_at(c, o, pixel, channel);
    /* Whether the pixels of a block lie at one distance: they are in one image, or the images follow each other. */
    const int linear = o->image == c->image_pixels * o->pixel ||
                       pixel / c->image_pixels == (pixel + (rows - 1) * pixel_step) / c->image_pixels;
    const int dense = (o->channel || width == 1) && o->pixel * pixel_step == row;
    if (!o->channel && (rows == 1 || (linear && !o->pixel))) return (value){first, 0};
    if ((o->channel && rows == 1) || (linear && dense)) return (value){first, 1};
    for (ptrdiff_t i = 0, run = 1; i < rows; i += run, pixel += run * pixel_step) {
        const char *from = operand_at(c, o, pixel, channel);
        char *to = own + i * row;
        if (dense) { /* what is left of the image at once */
            const ptrdiff_t left = c->image_pixels - pixel % c->image_pixels;
            run = (left + pixel_step - 1) / pixel_step;
            if (run > rows - i) run = rows - i;
            copy_row(to, from, run * row);
        } else if (o->channel) {
            copy_row(to, from, row);
        } else if (item == 4) {
            for (ptrdiff_t j = 0; j < width; j++) memcpy(to + 4 * j, from, 4);
        } else {
            for (ptrdiff_t j = 0; j < width; j++) memcpy(to + 8 * j, from, 8);
        }
    }
    return (value){own, 1};
}

/* At most KI_CHAIN_BYTES of x. Which maps get which numbers does not depend on where a block begins: results are of elements. */
static void block(const ki_chain *c, const char *x, ptrdiff_t x_step, char *y, ptrdiff_t y_step, ptrdiff_t pixel,
                  ptrdiff_t pixel_step, ptrdiff_t rows, ptrdiff_t channel, ptrdiff_t width) {
    _Alignas(64) char own[BUFFERS][KI_CHAIN_BYTES], made[KI_CHAIN_BYTES];
    const ptrdiff_t row = width * c->item, n = rows * width;
    value v[VALUES];
    const int scattered = rows > 1 && y_step != row;
    v[0] = (value){x, 1};
    if (rows > 1 && x_step != row) {
        for (ptrdiff_t i = 0; i < rows; i++) copy_row(own[0] + i * row, x + i * x_step, row);
        v[0].p = own[0];
    }
    for (int i = 1; i <= KI_CHAIN_REGISTERS; i++) v[i] = (value){own[i], 1};
    for (int i = 0, at = 1 + KI_CHAIN_REGISTERS; i < c->operands; i++, at++)
        v[at] = gather(c, &c->operand[i], at < BUFFERS ? own[at] : NULL, pixel, pixel_step, rows, channel, width);
    char *result = scattered ? made : y;
    for (int i = 0; i < c->steps; i++) {
        const ki_chain_step *s = &c->step[i];
        const value a = v[s->from[0]], b = v[s->from[1]];
        s->map(a.p, a.step, b.p, b.step, s->to ? own[s->to] : result, n);
    }
    if (scattered)
        for (ptrdiff_t i = 0; i < rows; i++) copy_row(y + i * y_step, made + i * row, row);
}

void ki_chain_rows(const ki_chain *c, const char *x, ptrdiff_t x_step, char *y, ptrdiff_t y_step, ptrdiff_t pixel,
                   ptrdiff_t pixel_step, ptrdiff_t rows, ptrdiff_t channel, ptrdiff_t width) {
    const ptrdiff_t most = KI_CHAIN_BYTES / c->item, parts = (width + most - 1) / most;
    for (ptrdiff_t part = 0; part < parts; part++) {
        const ptrdiff_t from = width * part / parts, columns = width * (part + 1) / parts - from;
        const ptrdiff_t at_once = most / columns;
        for (ptrdiff_t i = 0; i < rows; i += at_once)
            block(c, x + i * x_step + from * c->item, x_step, y + i * y_step + from * c->item, y_step,
                  pixel + i * pixel_step, pixel_step, rows - i < at_once ? rows - i : at_once, channel + from, columns);
    }
}

typedef struct {
    const ki_chain_args *args;
    ptrdiff_t per_task;
} run;

static void task(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const run *r = context;
    const ki_chain_args *a = r->args;
    const ptrdiff_t from = index * r->per_task;
    const ptrdiff_t rows = a->pixels - from < r->per_task ? a->pixels - from : r->per_task;
    ki_chain_rows(&a->chain, a->x + from * a->x_pitch, a->x_pitch, a->y + from * a->chain.pitch, a->chain.pitch, from,
                  1, rows, 0, a->channels);
}

void ki_run_chain(const ki_chain_args *args) {
    run r = {.args = args};
    if (!args->pixels || !args->channels) return;
    const int threads = args->pixels * args->channels < LEAST_SHARED ? 1 : args->threads;
    const ptrdiff_t rows = TASK_BYTES / (args->channels * args->chain.item);
    r.per_task = threads == 1 ? args->pixels : rows < 1 ? 1 : rows;
    ki_parallel(task, &r, (args->pixels + r.per_task - 1) / r.per_task, threads);
}
