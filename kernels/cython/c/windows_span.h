/* Where the cells of a window lie, for the sources of sliding windows. */
#ifndef KI_WINDOWS_SPAN_H
#define KI_WINDOWS_SPAN_H

#include "windows.h"

typedef struct {
    ptrdiff_t from, to; /* cells of the window inside the image */
    ptrdiff_t at;       /* position of cell 0 in x, maybe outside */
} span;

static inline span span_of(const ki_window_args *a, int axis, ptrdiff_t index) {
    const ptrdiff_t at = index * a->stride[axis] - a->before[axis], d = a->dilation[axis];
    span s = {0, a->window[axis], at};
    if (at < 0) s.from = (-at + d - 1) / d;
    if (at + (s.to - 1) * d >= a->in[axis]) s.to = a->in[axis] > at ? (a->in[axis] - at + d - 1) / d : 0;
    if (s.to < s.from) s.to = s.from;
    return s;
}

#endif
