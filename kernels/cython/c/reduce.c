/* Reductions over any axes on one instruction set. Floats are summed in double, so that no order of axes loses digits. */
#include "reduce.h"

#include "simd/simd.h"
#include "table.h"
#include "threads.h"

enum { COLUMNS = 64 };
/* Rows of x that are fetched ahead where neighbouring outputs are computed: each is on another page, which no prefetcher of the
 * processor foresees. 1024 x 1024 floats over the first axis: see benchmarks/against_numpy.py. */
enum { AHEAD = 8, LINE = 64 };

/* The offset of the i-th of the given axes' cells in row-major order. */
static ptrdiff_t offset_of(ptrdiff_t i, int rank, const ptrdiff_t *size, const ptrdiff_t *step) {
    ptrdiff_t offset = 0;
    for (int axis = rank - 1; axis >= 0; axis--) {
        offset += i % size[axis] * step[axis];
        i /= size[axis];
    }
    return offset;
}

static ptrdiff_t product(int rank, const ptrdiff_t *size) {
    ptrdiff_t p = 1;
    for (int axis = 0; axis < rank; axis++) p *= size[axis];
    return p;
}

/* Both tasks keep COLUMNS accumulators. ``columns``: x's last axis is kept; they are neighbouring outputs.
 * ``line``: it is reduced; one output, its accumulators joined at the end. A is the accumulator's type. */
#define REDUCE(op, S, T, A, START, STEP, JOIN, FINISH)                                                                 \
    static void KI_NAME(S##_##op##_columns)(void *context, ptrdiff_t index, int slot) {                                \
        (void)slot;                                                                                                    \
        const ki_reduce_args *r = context;                                                                             \
        const int last = r->kept_rank - 1, inner = r->reduced_rank - 1;                                                \
        const ptrdiff_t width = r->kept[last], blocks = (width + COLUMNS - 1) / COLUMNS;                               \
        const ptrdiff_t first = index % blocks * COLUMNS, row = index / blocks;                                        \
        const int count = width - first < COLUMNS ? (int)(width - first) : COLUMNS;                                    \
        const T *x = (const T *)r->x + offset_of(row, last, r->kept, r->kept_step) + first;                            \
        const ptrdiff_t outer = product(inner, r->reduced), cells = outer * r->reduced[inner];                         \
        T *y = (T *)r->y + row * width + first;                                                                        \
        A acc[COLUMNS];                                                                                                \
        (void)cells;                                                                                                   \
        for (int c = 0; c < COLUMNS; c++) acc[c] = START;                                                              \
        for (ptrdiff_t o = 0; o < outer; o++) {                                                                        \
            const T *p = x + offset_of(o, inner, r->reduced, r->reduced_step);                                         \
            for (ptrdiff_t i = 0; i < r->reduced[inner]; i++, p += r->reduced_step[inner]) {                           \
                for (size_t b = 0; b < COLUMNS * sizeof(T); b += LINE)                                                 \
                    __builtin_prefetch((const char *)(p + AHEAD * r->reduced_step[inner]) + b);                        \
                if (count == COLUMNS)                                                                                  \
                    for (int c = 0; c < COLUMNS; c++) acc[c] = STEP(acc[c], p[c]);                                     \
                else                                                                                                   \
                    for (int c = 0; c < count; c++) acc[c] = STEP(acc[c], p[c]);                                       \
            }                                                                                                          \
        }                                                                                                              \
        for (int c = 0; c < count; c++) y[c] = (T)(FINISH(acc[c], cells));                                             \
    }                                                                                                                  \
    static void KI_NAME(S##_##op##_line)(void *context, ptrdiff_t index, int slot) {                                   \
        (void)slot;                                                                                                    \
        const ki_reduce_args *r = context;                                                                             \
        const int inner = r->reduced_rank - 1;                                                                         \
        const ptrdiff_t n = r->reduced[inner], outer = product(inner, r->reduced), cells = outer * n;                  \
        const T *x = (const T *)r->x + offset_of(index, r->kept_rank, r->kept, r->kept_step);                          \
        A acc[COLUMNS];                                                                                                \
        (void)cells;                                                                                                   \
        for (int c = 0; c < COLUMNS; c++) acc[c] = START;                                                              \
        for (ptrdiff_t o = 0; o < outer; o++) {                                                                        \
            const T *p = x + offset_of(o, inner, r->reduced, r->reduced_step);                                         \
            ptrdiff_t i = 0;                                                                                           \
            for (; i + COLUMNS <= n; i += COLUMNS)                                                                     \
                for (int c = 0; c < COLUMNS; c++) acc[c] = STEP(acc[c], p[i + c]);                                     \
            for (int c = 0; c < n - i; c++) acc[c] = STEP(acc[c], p[i + c]);                                           \
        }                                                                                                              \
        for (int half = COLUMNS / 2; half; half /= 2)                                                                  \
            for (int c = 0; c < half; c++) acc[c] = JOIN(acc[c], acc[c + half]);                                       \
        ((T *)r->y)[index] = (T)(FINISH(acc[0], cells));                                                               \
    }                                                                                                                  \
    static void KI_NAME(S##_##op)(const ki_reduce_args *r) {                                                           \
        const ptrdiff_t kept = product(r->kept_rank, r->kept);                                                         \
        const ptrdiff_t cells = product(r->reduced_rank, r->reduced);                                                  \
        const int threads = kept * cells < 32768 ? 1 : r->threads;                                                     \
        if (!kept) return;                                                                                             \
        if (r->kept_rank && r->kept_step[r->kept_rank - 1] == 1 && r->kept[r->kept_rank - 1] > 1) {                    \
            const ptrdiff_t width = r->kept[r->kept_rank - 1];                                                         \
            ki_parallel(KI_NAME(S##_##op##_columns), (void *)r, kept / width * ((width + COLUMNS - 1) / COLUMNS),      \
                        threads);                                                                                      \
        } else {                                                                                                       \
            ki_parallel(KI_NAME(S##_##op##_line), (void *)r, kept, threads);                                           \
        }                                                                                                              \
    }

#define ADD(a, b) ((a) + (b))
#define GREATER(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define LESS(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))
#define AS_IS(a, cells) (a)
#define DIVIDED(a, cells) ((a) / (double)(cells))

#define SUM_FLOAT(S, T, W, LEAST, GREATEST) REDUCE(reduce_sum, S, T, double, 0, ADD, ADD, AS_IS)
#define MEAN_FLOAT(S, T, W, LEAST, GREATEST) REDUCE(reduce_mean, S, T, double, 0, ADD, ADD, DIVIDED)
#define MULTIPLY(a, b) ((a) * (b))
#define PROD_FLOAT(S, T, W, LEAST, GREATEST) REDUCE(reduce_prod, S, T, double, 1, MULTIPLY, MULTIPLY, AS_IS)
#define PROD_INTEGER(S, T, W, LEAST, GREATEST) REDUCE(reduce_prod, S, T, W, 1, MULTIPLY, MULTIPLY, AS_IS)
#define SUM_INTEGER(S, T, W, LEAST, GREATEST) REDUCE(reduce_sum, S, T, W, 0, ADD, ADD, AS_IS)
#define EXTREMES(S, T, W, LEAST, GREATEST)                                                                             \
    REDUCE(reduce_max, S, T, T, LEAST, GREATER, GREATER, AS_IS) REDUCE(reduce_min, S, T, T, GREATEST, LESS, LESS, AS_IS)

KI_FLOATS(SUM_FLOAT)
KI_FLOATS(MEAN_FLOAT)
KI_INTEGERS(SUM_INTEGER)
KI_NUMBERS(EXTREMES)
KI_FLOATS(PROD_FLOAT)
KI_INTEGERS(PROD_INTEGER)

ki_reduce *const KI_NAME(ki_reduce_sum)[KI_DTYPES] = KI_ROW_NUMBERS(reduce_sum);
ki_reduce *const KI_NAME(ki_reduce_mean)[KI_DTYPES] = KI_ROW_FLOATS(reduce_mean);
ki_reduce *const KI_NAME(ki_reduce_prod)[KI_DTYPES] = KI_ROW_NUMBERS(reduce_prod);
ki_reduce *const KI_NAME(ki_reduce_max)[KI_DTYPES] = KI_ROW_NUMBERS(reduce_max);
ki_reduce *const KI_NAME(ki_reduce_min)[KI_DTYPES] = KI_ROW_NUMBERS(reduce_min);
