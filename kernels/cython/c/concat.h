/* Concatenation. */
#ifndef KI_CONCAT_H
#define KI_CONCAT_H

#include <stddef.h>

/* Copies rows of lines of bytes into rows of y, part after part; all steps in bytes. A part's lines follow each other at
 * the same step from row to row. The same for every instruction set. */
typedef struct {
    const void *x;
    ptrdiff_t lines, bytes, step; /* lines of a row, bytes of a line, from line to line */
    ptrdiff_t offset; /* in a row of y */
} ki_concat_part;

typedef struct {
    ptrdiff_t rows, parts, row_bytes; /* row_bytes: copied in a row */
    ptrdiff_t y_step, row_step; /* between lines and between rows of y */
    int threads;
    const ki_concat_part *part;
    void *y;
} ki_concat_args;
void ki_concat(const ki_concat_args *args);

#endif
