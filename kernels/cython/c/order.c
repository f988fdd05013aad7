/* The largest numbers of lines, in order: kept in order while the line is read, or a radix sort of the whole line. */
#include "order.h"

#include <string.h>

#include "dtypes.h"
#include "threads.h"

enum { BLOCK = 32, RADIX = 256 };

/* Keys without a sign. -0 counts as 0; a NaN is above all. */
static inline uint64_t ki_key_f32(float x) {
    int32_t i;
    x += 0.0f; /* -0 + 0 = 0 */
    memcpy(&i, &x, sizeof i);
    return x != x ? UINT64_MAX : (uint32_t)(i < 0 ? ~i : i ^ INT32_MIN);
}
static inline uint64_t ki_key_f64(double x) {
    int64_t i;
    x += 0.0;
    memcpy(&i, &x, sizeof i);
    return x != x ? UINT64_MAX : (uint64_t)(i < 0 ? ~i : i ^ INT64_MIN);
}
#define SIGNED_KEY(S, T, W, LEAST, GREATEST)                                                                           \
    static inline uint64_t ki_key_##S(T x) { return (uint64_t)x ^ (UINT64_C(1) << 63); }
#define UNSIGNED_KEY(S, T, W, LEAST, GREATEST)                                                                         \
    static inline uint64_t ki_key_##S(T x) { return x; }
KI_SIGNED(SIGNED_KEY)
KI_UNSIGNED(UNSIGNED_KEY)

/* Sorts by key, descending and stable, through 8 bits at a time; bits that are the same in all keys cost nothing. Returns which of
 * the two arrays has the result. */
static const ki_ordered *sorted(ki_ordered *a, ki_ordered *b, ptrdiff_t n) {
    uint64_t all = UINT64_MAX, any = 0;
    for (ptrdiff_t i = 0; i < n; i++) all &= a[i].key, any |= a[i].key;
    for (int shift = 0; shift < 64; shift += 8) {
        if (!(((all ^ any) >> shift) & (RADIX - 1))) continue;
        ptrdiff_t count[RADIX] = {0}, at = 0;
        for (ptrdiff_t i = 0; i < n; i++) count[a[i].key >> shift & (RADIX - 1)]++;
        for (int digit = RADIX - 1; digit >= 0; digit--) {
            const ptrdiff_t of_digit = count[digit];
            count[digit] = at;
            at += of_digit;
        }
        for (ptrdiff_t i = 0; i < n; i++) b[count[a[i].key >> shift & (RADIX - 1)]++] = a[i];
        ki_ordered *other = a;
        a = b;
        b = other;
    }
    return a;
}

static void put_index(const ki_top_k_args *a, ptrdiff_t at, ptrdiff_t index) {
    if (a->index_bytes == 2)
        ((int16_t *)a->indices)[at] = (int16_t)index;
    else if (a->index_bytes == 4)
        ((int32_t *)a->indices)[at] = (int32_t)index;
    else
        ((int64_t *)a->indices)[at] = index;
}

/* kept[0 .. count) is in order; a line's further numbers come in behind their equals. Blocks without a number above the least
 * that is kept are passed over by a loop that is SIMD. */
#define TOP_K(S, T, W, LEAST, GREATEST)                                                                                \
    static void ki_top_k_kept_##S(const ki_top_k_args *a, const T *x, ptrdiff_t row) {                                 \
        ki_ordered kept[KI_TOP_K_KEPT];                                                                                \
        ptrdiff_t count = 0;                                                                                           \
        for (ptrdiff_t from = 0; from < a->n; from += BLOCK) {                                                         \
            const ptrdiff_t to = a->n - from < BLOCK ? a->n : from + BLOCK;                                            \
            if (count == a->k && to - from == BLOCK) {                                                                 \
                const T least = x[kept[count - 1].place];                                                              \
                int above = 0;                                                                                         \
                for (ptrdiff_t i = 0; i < BLOCK; i++) above |= !(x[from + i] <= least);                                \
                if (!above) continue;                                                                                  \
            }                                                                                                          \
            for (ptrdiff_t i = from; i < to; i++) {                                                                    \
                const uint64_t key = ki_key_##S(x[i]);                                                                 \
                if (count == a->k && key <= kept[count - 1].key) continue;                                             \
                ptrdiff_t j = count < a->k ? count++ : count - 1;                                                      \
                for (; j && kept[j - 1].key < key; j--) kept[j] = kept[j - 1];                                         \
                kept[j] = (ki_ordered){key, i};                                                                        \
            }                                                                                                          \
        }                                                                                                              \
        for (ptrdiff_t i = 0; i < a->k; i++) {                                                                         \
            ((T *)a->values)[row * a->k + i] = x[kept[i].place];                                                       \
            put_index(a, row * a->k + i, kept[i].place);                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    static void ki_top_k_##S(void *context, ptrdiff_t row, int slot) {                                                 \
        const ki_top_k_args *a = context;                                                                              \
        const T *x = (const T *)a->x + row * a->n;                                                                     \
        if (a->k <= KI_TOP_K_KEPT) {                                                                                   \
            ki_top_k_kept_##S(a, x, row);                                                                              \
            return;                                                                                                    \
        }                                                                                                              \
        ki_ordered *line = a->scratch + slot * 2 * a->n;                                                               \
        for (ptrdiff_t i = 0; i < a->n; i++) line[i] = (ki_ordered){ki_key_##S(x[i]), i};                              \
        const ki_ordered *order = sorted(line, line + a->n, a->n);                                                     \
        for (ptrdiff_t i = 0; i < a->k; i++) {                                                                         \
            ((T *)a->values)[row * a->k + i] = x[order[i].place];                                                      \
            put_index(a, row * a->k + i, order[i].place);                                                              \
        }                                                                                                              \
    }
#define ROW(S, T, W, LEAST, GREATEST) ki_top_k_##S,
KI_NUMBERS(TOP_K)
static ki_task *const TASKS[KI_DTYPES] = {KI_NUMBERS(ROW)}; /* in the order of ki_dtype */

void ki_top_k(const ki_top_k_args *a) {
    if (a->k) ki_parallel(TASKS[a->dtype], (void *)a, a->rows, a->rows * a->n < 16384 ? 1 : a->threads);
}
