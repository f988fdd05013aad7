/* Chains of elementwise maps over rows of channels, block by block through the L1 cache.
 *
 * Values of a chain are numbered: 0 is x, and as the target of a step the result; then come KI_CHAIN_REGISTERS registers, then the
 * operands. A step may write a register that it reads. */
#ifndef KI_CHAIN_H
#define KI_CHAIN_H

#include "elementwise.h"

/* KI_CHAIN_OPERANDS: arrays, then numbers, of which each step may have one. */
enum {
    KI_CHAIN_STEPS = 16,
    KI_CHAIN_ARRAYS = 8,
    KI_CHAIN_OPERANDS = 24,
    KI_CHAIN_REGISTERS = 4,
    KI_CHAIN_BYTES = 4096
};

typedef struct {
    ki_map *map;
    int from[2], to; /* from[1]: as from[0] for a map of one input */
} ki_chain_step;

/* Bytes between an operand's values for neighbouring images, pixels of an image and channels; 0: one value for all. */
typedef struct {
    const char *data;
    ptrdiff_t image, pixel, channel;
} ki_chain_operand;

typedef struct {
    int steps, operands;
    ptrdiff_t item, image_pixels; /* bytes of an element; pixels of an image */
    ki_chain_step step[KI_CHAIN_STEPS];
    ki_chain_operand operand[KI_CHAIN_OPERANDS];
    const char *y;   /* of pixel 0, for kernels that know the address of what they have written; */
    ptrdiff_t pitch; /* bytes between its pixels */
} ki_chain;

typedef struct {
    ki_chain chain;
    ptrdiff_t pixels, channels, x_pitch; /* the pitch in bytes; y's is the chain's */
    int threads;
    const char *x;
    char *y;
} ki_chain_args;

/* Rows of ``width`` channels from ``channel`` on, x_step and y_step bytes apart in x and y. Row i is pixel ``pixel`` +
 * i * ``pixel_step``. y may be x. */
void ki_chain_rows(const ki_chain *chain, const char *x, ptrdiff_t x_step, char *y, ptrdiff_t y_step, ptrdiff_t pixel,
                   ptrdiff_t pixel_step, ptrdiff_t rows, ptrdiff_t channel, ptrdiff_t width);

/* The whole of x; the same for every instruction set. */
void ki_run_chain(const ki_chain_args *args);

/* The chain on rows that a kernel has just computed, which belong at y: a place in the whole y of the chain. */
static inline void ki_chain_computed(const ki_chain *chain, const void *x, ptrdiff_t x_step, void *y, ptrdiff_t y_step,
                                     ptrdiff_t rows, ptrdiff_t width) {
    const ptrdiff_t at = (char *)y - chain->y, pixel = at / chain->pitch;
    const ptrdiff_t channel = (at - pixel * chain->pitch) / chain->item;
    ki_chain_rows(chain, x, x_step, y, y_step, pixel, y_step / chain->pitch, rows, channel, width);
}

#endif
