/* Transposition of any number of axes on one instruction set: rows as copies, else by square tiles of vectors. */
#include "transpose.h"

#include <stdint.h>
#include <string.h>

#include "simd/simd.h"
#include "table.h"
#include "threads.h"

/* A task is a block of items along both dense axes, of one place along the others; or some rows. */
enum { BLOCK = 64, FEW_ROWS = 16, MANY = 1024, TASK_BYTES = 128 * 1024, LEAST_SHARED = 256 * 1024 };

typedef unsigned __int128 item16;

/* rows x columns items: y[c * step_y + r] = x[r * step_x + c]; steps in bytes. */
#define PLAIN(S, T)                                                                                                    \
    typedef T S##_item __attribute__((aligned(1), may_alias));                                                         \
    static void KI_NAME(S##_transpose_plain)(const char *x, ptrdiff_t step_x, char *y, ptrdiff_t step_y,               \
                                             ptrdiff_t rows, ptrdiff_t columns) {                                      \
        if (columns < rows) {                                                                                          \
            for (ptrdiff_t c = 0; c < columns; c++) {                                                                  \
                const char *from = x + c * (ptrdiff_t)sizeof(T);                                                       \
                S##_item *to = (S##_item *)(y + c * step_y);                                                           \
                _Pragma("GCC unroll 8") for (ptrdiff_t r = 0; r < rows; r++, from += step_x) {                         \
                    to[r] = *(const S##_item *)from;                                                                   \
                    __asm__ volatile("" ::: "memory"); /* as vectors it would be gathers, which are slower */          \
                }                                                                                                      \
            }                                                                                                          \
        } else {                                                                                                       \
            for (ptrdiff_t r = 0; r < rows; r++)                                                                       \
                for (ptrdiff_t c = 0; c < columns; c++)                                                                \
                    ((S##_item *)(y + c * step_y))[r] = ((const S##_item *)(x + r * step_x))[c];                       \
        }                                                                                                              \
    }

/* A tile of LANES vectors: as many rounds of interleaving as LANES has bits. */
#define TILED(S, T, LANES, ROUNDS, LOW, HIGH)                                                                          \
    typedef T S##_vector __attribute__((vector_size(LANES * sizeof(T)), aligned(1), may_alias));                       \
    static inline void KI_NAME(S##_transpose_tile)(const char *x, ptrdiff_t step_x, char *y, ptrdiff_t step_y) {       \
        S##_vector v[LANES], w[LANES];                                                                                 \
        for (int i = 0; i < LANES; i++) v[i] = *(const S##_vector *)(x + i * step_x);                                  \
        _Pragma("GCC unroll 4") for (int round = 0; round < ROUNDS; round++) {                                         \
            _Pragma("GCC unroll 8") for (int i = 0; i < LANES / 2; i++) {                                              \
                w[2 * i] = __builtin_shuffle(v[i], v[i + LANES / 2], (S##_vector)LOW);                                 \
                w[2 * i + 1] = __builtin_shuffle(v[i], v[i + LANES / 2], (S##_vector)HIGH);                            \
            }                                                                                                          \
            _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) v[i] = w[i];                                      \
        }                                                                                                              \
        for (int i = 0; i < LANES; i++) *(S##_vector *)(y + i * step_y) = v[i];                                        \
    }                                                                                                                  \
    static void KI_NAME(S##_transpose_block)(const char *x, ptrdiff_t step_x, char *y, ptrdiff_t step_y,               \
                                             ptrdiff_t rows, ptrdiff_t columns) {                                      \
        const ptrdiff_t whole_rows = rows / LANES * LANES, whole_columns = columns / LANES * LANES;                    \
        for (ptrdiff_t c = 0; c < whole_columns; c += LANES)                                                           \
            for (ptrdiff_t r = 0; r < whole_rows; r += LANES)                                                          \
                KI_NAME(S##_transpose_tile)(x + r * step_x + c * (ptrdiff_t)sizeof(T), step_x,                         \
                                            y + c * step_y + r * (ptrdiff_t)sizeof(T), step_y);                        \
        if (whole_columns < columns)                                                                                   \
            KI_NAME(S##_transpose_plain)(x + whole_columns * (ptrdiff_t)sizeof(T), step_x, y + whole_columns * step_y, \
                                         step_y, rows, columns - whole_columns);                                       \
        if (whole_rows < rows)                                                                                         \
            KI_NAME(S##_transpose_plain)(x + whole_rows * step_x, step_x, y + whole_rows * (ptrdiff_t)sizeof(T),       \
                                         step_y, rows - whole_rows, whole_columns);                                    \
    }

PLAIN(u8, uint8_t)
PLAIN(u16, uint16_t)
PLAIN(u32, uint32_t)
PLAIN(u64, uint64_t)
PLAIN(u128, item16)

#define LIST(...) {__VA_ARGS__}
TILED(u8, uint8_t, 16, 4, LIST(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
      LIST(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31))
TILED(u16, uint16_t, 8, 3, LIST(0, 8, 1, 9, 2, 10, 3, 11), LIST(4, 12, 5, 13, 6, 14, 7, 15))
#if defined(KI_ISA_AVX512)
TILED(u32, uint32_t, 16, 4, LIST(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
      LIST(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31))
TILED(u64, uint64_t, 8, 3, LIST(0, 8, 1, 9, 2, 10, 3, 11), LIST(4, 12, 5, 13, 6, 14, 7, 15))
#elif defined(KI_ISA_AVX2)
TILED(u32, uint32_t, 8, 3, LIST(0, 8, 1, 9, 2, 10, 3, 11), LIST(4, 12, 5, 13, 6, 14, 7, 15))
TILED(u64, uint64_t, 4, 2, LIST(0, 4, 1, 5), LIST(2, 6, 3, 7))
#else
TILED(u32, uint32_t, 4, 2, LIST(0, 4, 1, 5), LIST(2, 6, 3, 7))
TILED(u64, uint64_t, 2, 1, LIST(0, 2), LIST(1, 3))
#endif

typedef void block(const char *x, ptrdiff_t step_x, char *y, ptrdiff_t step_y, ptrdiff_t rows, ptrdiff_t columns);

typedef struct {
    const ki_transpose_args *args;
    block *run;
    ptrdiff_t across, down; /* blocks along x's dense axis, and along y's */
    ptrdiff_t block_rows, block_columns;
    ptrdiff_t rows, per_task;
} work;

/* x and y at a place along all axes but two, which may be the same. */
static ptrdiff_t place(const ki_transpose_args *a, ptrdiff_t index, const ptrdiff_t *step) {
    ptrdiff_t offset = 0;
    for (int axis = a->rank - 2; axis >= 0; axis--) {
        if (axis == a->dense) continue;
        offset += index % a->size[axis] * step[axis];
        index /= a->size[axis];
    }
    return offset;
}

static void KI_NAME(u8_transpose_blocks)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const work *w = context;
    const ki_transpose_args *a = w->args;
    const int last = a->rank - 1;
    const ptrdiff_t c = index % w->across * w->block_columns, r = index / w->across % w->down * w->block_rows;
    const ptrdiff_t at = index / w->across / w->down, columns = a->size[a->dense] - c, rows = a->size[last] - r;
    w->run((const char *)a->x + place(a, at, a->step_x) + r * a->step_x[last] + c * a->item, a->step_x[last],
           (char *)a->y + place(a, at, a->step_y) + c * a->step_y[a->dense] + r * a->item, a->step_y[a->dense],
           rows < w->block_rows ? rows : w->block_rows, columns < w->block_columns ? columns : w->block_columns);
}

static void KI_NAME(u8_transpose_rows)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const work *w = context;
    const ki_transpose_args *a = w->args;
    const int inner = a->rank - 2;
    const size_t bytes = (size_t)(a->size[a->rank - 1] * a->item);
    ptrdiff_t row = index * w->per_task, end = row + w->per_task < w->rows ? row + w->per_task : w->rows;
    while (row < end) { /* as far as the innermost axis of rows goes */
        const ptrdiff_t n = inner < 0 ? 1 : a->size[inner], from = row % n;
        const ptrdiff_t count = n - from < end - row ? n - from : end - row;
        const ptrdiff_t step_x = inner < 0 ? 0 : a->step_x[inner], step_y = inner < 0 ? 0 : a->step_y[inner];
        const char *x = (const char *)a->x + place(a, row, a->step_x);
        char *y = (char *)a->y + place(a, row, a->step_y);
        for (ptrdiff_t i = 0; i < count; i++) memcpy(y + i * step_y, x + i * step_x, bytes);
        row += count;
    }
}

void KI_NAME(u8_transpose)(const ki_transpose_args *a) {
    work w = {.args = a, .rows = 1};
    const int last = a->rank - 1;
    ptrdiff_t bytes = a->item * a->size[last];
    for (int axis = 0; axis < last; axis++) bytes *= a->size[axis];
    if (!bytes) return;
    const int threads = bytes < LEAST_SHARED ? 1 : a->threads;
    for (int axis = 0; axis < last; axis++) w.rows *= axis == a->dense ? 1 : a->size[axis];
    if (a->dense == last) {
        w.per_task = TASK_BYTES / (a->item * a->size[last]) + 1;
        ki_parallel(KI_NAME(u8_transpose_rows), &w, (w.rows + w.per_task - 1) / w.per_task, threads);
        return;
    }
    w.run = a->item == 1   ? KI_NAME(u8_transpose_block)
            : a->item == 2 ? KI_NAME(u16_transpose_block)
            : a->item == 4 ? KI_NAME(u32_transpose_block)
            : a->item == 8 ? KI_NAME(u64_transpose_block)
                           : KI_NAME(u128_transpose_plain);
    /* Few channels: long blocks. Rows that begin anywhere in a cache line: 1000 x 1000 floats by 16 rows at a time 0.49 ms,
     * by 64 0.68; 1024 x 1024 0.49 and 0.45. */
    const int aligned = (a->step_x[last] | a->step_y[a->dense]) % 64 == 0;
    w.block_rows = a->size[a->dense] < FEW_ROWS ? MANY : aligned ? BLOCK : FEW_ROWS;
    w.block_columns = a->size[last] < FEW_ROWS ? MANY : BLOCK;
    w.across = (a->size[a->dense] + w.block_columns - 1) / w.block_columns;
    w.down = (a->size[last] + w.block_rows - 1) / w.block_rows;
    ki_parallel(KI_NAME(u8_transpose_blocks), &w, w.rows * w.across * w.down, threads);
}
