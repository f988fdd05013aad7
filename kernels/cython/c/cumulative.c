/* Running sums and products, in the order of the elements. */
#include "cumulative.h"

#include "dtypes.h"
#include "threads.h"

/* Lines that are summed side by side, since an addition waits for the one before; neighbouring lines of one task. */
enum { LINES = 8, COLUMNS = 1024 };

#define ADD(a, b) ((W)(a) + (W)(b))
#define MULTIPLY(a, b) ((W)(a) * (W)(b))

/* FIRST: the first element of an exclusive line; NONE: what changes no element, -0 + -0 being -0.
 * ``lines``: the axis is the last one; ``columns``: up to COLUMNS neighbouring lines, element by element. */
#define CUMULATIVE(S, T, ARITHMETIC, LEAST, GREATEST, name, FIRST, NONE, OP)                                           \
    static void ki_##name##_lines_##S(void *context, ptrdiff_t task, int slot) {                                       \
        (void)slot;                                                                                                    \
        typedef ARITHMETIC W;                                                                                          \
        const ki_cumulative_args *a = context;                                                                         \
        const ptrdiff_t n = a->n, first = task * LINES, step = a->reverse ? -1 : 1;                                    \
        const int lines = a->outer - first < LINES ? (int)(a->outer - first) : LINES;                                  \
        const T *x = (const T *)a->x + first * n;                                                                      \
        T *y = (T *)a->y + first * n, sum[LINES];                                                                      \
        for (int l = 0; l < LINES; l++) sum[l] = a->exclusive ? (T)FIRST : (T)NONE;                                    \
        ptrdiff_t at = a->reverse ? n - 1 : 0;                                                                         \
        if (lines == LINES && !a->exclusive) {                                                                         \
            for (ptrdiff_t i = 0; i < n; i++, at += step)                                                              \
                _Pragma("GCC unroll 8") for (int l = 0; l < LINES; l++) y[l * n + at] = sum[l] =                       \
                    (T)OP(sum[l], x[l * n + at]);                                                                      \
            return;                                                                                                    \
        }                                                                                                              \
        for (ptrdiff_t i = 0; i < n; i++, at += step)                                                                  \
            for (int l = 0; l < lines; l++) {                                                                          \
                const T next = (T)OP(sum[l], x[l * n + at]);                                                           \
                y[l * n + at] = a->exclusive ? sum[l] : next;                                                          \
                sum[l] = next;                                                                                         \
            }                                                                                                          \
    }                                                                                                                  \
    static void ki_##name##_columns_##S(void *context, ptrdiff_t task, int slot) {                                     \
        (void)slot;                                                                                                    \
        typedef ARITHMETIC W;                                                                                          \
        const ki_cumulative_args *a = context;                                                                         \
        const ptrdiff_t blocks = (a->inner + COLUMNS - 1) / COLUMNS, first = task % blocks * COLUMNS;                  \
        const ptrdiff_t count = a->inner - first < COLUMNS ? a->inner - first : COLUMNS;                               \
        const ptrdiff_t offset = task / blocks * a->n * a->inner + first, step = a->reverse ? -a->inner : a->inner;    \
        const ptrdiff_t start = offset + (a->reverse ? (a->n - 1) * a->inner : 0);                                     \
        const T *x = (const T *)a->x + start;                                                                          \
        T *y = (T *)a->y + start;                                                                                      \
        for (ptrdiff_t c = 0; c < count; c++) y[c] = a->exclusive ? FIRST : x[c];                                      \
        if (!a->exclusive) x += step;                                                                                  \
        for (ptrdiff_t i = 1; i < a->n; i++, x += step, y += step)                                                     \
            _Pragma("GCC ivdep") for (ptrdiff_t c = 0; c < count; c++) y[step + c] = (T)OP(y[c], x[c]);                \
    }

#define SUMS(S, T, W, LEAST, GREATEST) CUMULATIVE(S, T, W, LEAST, GREATEST, running_sum, 0, -0.0, ADD)
#define PRODUCTS(S, T, W, LEAST, GREATEST) CUMULATIVE(S, T, W, LEAST, GREATEST, running_product, 1, 1, MULTIPLY)
KI_NUMBERS(SUMS)
KI_NUMBERS(PRODUCTS)

#define ROW(S, T, W, LEAST, GREATEST, name) ki_##name##_##S,
static ki_task *const TASKS[2][2][KI_DTYPES] = {
    /* in the order of ki_dtype */
    {{KI_NUMBERS(ROW, running_sum_lines)}, {KI_NUMBERS(ROW, running_sum_columns)}},
    {{KI_NUMBERS(ROW, running_product_lines)}, {KI_NUMBERS(ROW, running_product_columns)}}};

void ki_cumulative(const ki_cumulative_args *a) {
    const ptrdiff_t blocks = a->inner == 1 ? 1 : (a->inner + COLUMNS - 1) / COLUMNS;
    const ptrdiff_t tasks = a->inner == 1 ? (a->outer + LINES - 1) / LINES : a->outer * blocks;
    if (!a->n || !a->inner) return;
    ki_parallel(TASKS[a->product][a->inner != 1][a->dtype], (void *)a, tasks,
                a->outer * a->n * a->inner < 32768 ? 1 : a->threads);
}
