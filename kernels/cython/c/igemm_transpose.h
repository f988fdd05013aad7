/* Transposing in registers, for one element type; included after igemm_tile.h. */

/* Exchanges the blocks of ``s`` lanes that are off the diagonal of two rows that are ``s`` apart. */
KI_INLINE void TILE(exchange)(V *a, V *b, const int s) {
#if defined(__GNUC__) && !defined(__clang__)
#define LOW(j) ((j) & s ? LANES + (j) - s : (j))
#define HIGH(j) ((j) & s ? LANES + (j) : (j) + s)
    const V low = __builtin_shuffle(*a, *b, (I){INDICES(LOW)});
    *b = __builtin_shuffle(*a, *b, (I){INDICES(HIGH)});
    *a = low;
#undef LOW
#undef HIGH
#else
    for (int j = 0; j < LANES; j++)
        if (j & s) {
            const T kept = (*a)[j];
            (*a)[j] = (*b)[j - s];
            (*b)[j - s] = kept;
        }
#endif
}

/* ``s`` must be a number here: masks that become constants too late are slow. */
KI_INLINE void TILE(exchange_all)(V *row, const int s) {
    _Pragma("GCC unroll 16") for (int o = 0; o < LANES; o++) if (!(o & s)) TILE(exchange)(&row[o], &row[o + s], s);
}

KI_INLINE void TILE(exchange_rows)(V *row) {
    if (LANES > 8) TILE(exchange_all)(row, 8 % LANES);
    if (LANES > 4) TILE(exchange_all)(row, 4 % LANES);
    if (LANES > 2) TILE(exchange_all)(row, 2 % LANES);
    TILE(exchange_all)(row, 1);
}

static __attribute__((noinline)) void TILE(turn_square)(T *to, ptrdiff_t to_step, const T *from, ptrdiff_t from_step) {
    V row[LANES];
    _Pragma("GCC unroll 16") for (int o = 0; o < LANES; o++) row[o] = VOP(load)(from + o * from_step);
    TILE(exchange_rows)(row);
    _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) VOP(store)(to + i * to_step, row[i]);
}

static __attribute__((noinline)) void TILE(turn_part)(T *to, ptrdiff_t to_step, const T *from, ptrdiff_t from_step,
                                                      ptrdiff_t rows, ptrdiff_t columns) {
    V row[LANES];
    for (int o = 0; o < LANES; o++) row[o] = o < rows ? TILE(load_valid)(from + o * from_step, columns) : VOP(zero)();
    TILE(exchange_rows)(row);
    for (ptrdiff_t i = 0; i < LANES && i < columns; i++) VOP(store)(to + i * to_step, row[i]);
}

/* to[i * to_step + o] = from[o * from_step + i] for o < rows and i < columns, of which LANES count; 0 for the other
 * o < LANES. */
static inline void TILE(turn)(T *to, ptrdiff_t to_step, const T *from, ptrdiff_t from_step, ptrdiff_t rows,
                              ptrdiff_t columns) {
    if (rows >= LANES && columns >= LANES)
        TILE(turn_square)(to, to_step, from, from_step);
    else
        TILE(turn_part)(to, to_step, from, from_step, rows, columns);
}

/* to[m * to_step + i] = x[i * step + m] for i < k, m < rows; up to LANES - 1 zeros may follow a row of k. */
static inline void TILE(turn_all)(T *to, ptrdiff_t to_step, const T *x, ptrdiff_t step, ptrdiff_t k, ptrdiff_t rows) {
    for (ptrdiff_t i = 0; i < k; i += LANES)
        for (ptrdiff_t m = 0; m < rows; m += LANES)
            TILE(turn)(to + m * to_step + i, to_step, x + i * step + m, step, k - i, rows - m);
}

typedef struct {
    T *to;
    const T *x;
    ptrdiff_t rows, k, step;
} TILE(turned);

enum { TILE(TURN_ROWS) = 4 * LANES };

/* TURN_ROWS rows of the result: LANES x LANES at a time, each cache line of x read once. */
static void TILE(transpose_task)(void *context, ptrdiff_t index, int slot) {
    (void)slot;
    const TILE(turned) *t = context;
    const ptrdiff_t m0 = index * TILE(TURN_ROWS);
    const ptrdiff_t m1 = t->rows - m0 < TILE(TURN_ROWS) ? t->rows : m0 + TILE(TURN_ROWS);
    for (ptrdiff_t i = 0; i < t->k; i += LANES)
        for (ptrdiff_t m = m0; m < m1; m += LANES) {
            const ptrdiff_t depth = t->k - i < LANES ? t->k - i : LANES, rows = m1 - m < LANES ? m1 - m : LANES;
            T *to = t->to + m * t->k + i;
            const T *x = t->x + i * t->step + m;
            if (depth == LANES)
                TILE(turn)(to, t->k, x, t->step, LANES, rows);
            else
                for (ptrdiff_t r = 0; r < rows; r++)
                    for (ptrdiff_t d = 0; d < depth; d++) to[r * t->k + d] = x[d * t->step + r];
        }
}

/* to[m][i] = x[i * step + m] for m < rows, i < k. */
static void TILE(transpose)(T *to, const T *x, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t step, int threads) {
    TILE(turned) t = {to, x, rows, k, step};
    ki_parallel(TILE(transpose_task), &t, (rows + TILE(TURN_ROWS) - 1) / TILE(TURN_ROWS), threads);
}
