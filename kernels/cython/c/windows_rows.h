/* What the kernels of sliding windows share whose tasks are rows of outputs; for sources that include simd/simd.h. */
#ifndef KI_WINDOWS_ROWS_H
#define KI_WINDOWS_ROWS_H

#include "simd/simd.h"
#include "threads.h"
#include "windows_span.h"

/* The start of a task: the row's address in x and y, of elements E and O. */
#define ROW(E, O)                                                                                                      \
    (void)slot;                                                                                                        \
    const ki_window_args *a = context;                                                                                 \
    const E *image = (const E *)a->x + index / a->out[0] * a->x_image;                                                 \
    O *row = (O *)a->y + index / a->out[0] * a->y_image + index % a->out[0] * a->y_row;                                \
    const span u = span_of(a, 0, index % a->out[0])

/* For each cell of the window inside the image, ``cell`` points to its first channel. */
#define FOR_CELLS(T)                                                                                                   \
    for (ptrdiff_t i = u.from; i < u.to; i++)                                                                          \
        for (ptrdiff_t j = v.from; j < v.to; j++) {                                                                    \
            const T *cell = image + (u.at + i * a->dilation[0]) * a->x_row + (v.at + j * a->dilation[1]) * a->x_step;

/* Cells below which a second thread does not pay. */
enum { LEAST_SHARED = 256 * 1024 };

/* ``rows``: of outputs, in a task. */
static inline void launch(ki_task *task, const ki_window_args *a, int rows) {
    const ptrdiff_t tasks = a->batch * ((a->out[0] + rows - 1) / rows);
    const double cells =
        (double)a->batch * a->out[0] * a->out[1] * a->channels * a->window[0] * a->window[1]; /* a window may be huge */
    if (a->out[1] && a->channels) ki_parallel(task, (void *)a, tasks, cells < LEAST_SHARED ? 1 : a->threads);
}

/* Of depthwise.c. */
ki_window KI_NAME(bf16_depthwise), KI_NAME(f32_to_bf16_depthwise), KI_NAME(bf16_to_f32_depthwise);

#endif
