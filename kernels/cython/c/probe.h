/* What the processor can do at most, measured by loops that do nothing else. */
#ifndef KI_PROBE_H
#define KI_PROBE_H

#include <stddef.h>

/* `rounds` rounds of independent float multiply-adds on registers; the number of float operations. *sink gets a result. */
typedef double ki_probe_flops(long rounds, float *sink);
/* Reads n floats, a multiple of 128, once. Returns their sum. */
typedef float ki_probe_read(const float *x, ptrdiff_t n);

#endif
