/* The matrix products of winograd.c in register tiles of MR tiles x NV vectors of output channels:
 *
 *     m[t][o] = sum over i < k of v[t][i] * u[i][o]        rows of m are NV vectors wide
 */

#define UNROLL _Pragma("GCC unroll 16")

#if defined(KI_ISA_AVX512)
enum { KI_PRODUCT_ACCUMULATORS = 24 };
#else
enum { KI_PRODUCT_ACCUMULATORS = 12 };
#endif

/* ``ahead``: u that will be needed next, prefetched ``lines`` cache lines per STRIP inputs. */
typedef void product_fn(const float *v, ptrdiff_t v_step, const float *u, float *m, ptrdiff_t k, uintptr_t ahead,
                        ptrdiff_t lines);

/* Inputs per iteration of the inner loop: two are 3 to 9 % faster than one. With 27 accumulators instead of 24 they spill. */
enum { STRIP = 16, STEP = 2, PRODUCT_NV = 3 };

/* acc += v[..][i] * u */
KI_INLINE void product_step(const int MR, const int NV, const float *const *row, ptrdiff_t i, const float *u,
                            vf32 *acc) {
    enum { L = VF32_LANES };
    vf32 b[PRODUCT_NV];
    UNROLL for (int o = 0; o < NV; o++) {
        b[o] = vf32_load(u + o * L);
        __builtin_prefetch((const void *)((uintptr_t)u + (8 * NV + o) * sizeof(vf32)));
    }
    UNROLL for (int t = 0; t < MR; t++) {
        vf32 a = vf32_set1(row[t][i]);
        UNROLL for (int o = 0; o < NV; o++) acc[t * NV + o] = vf32_fma(a, b[o], acc[t * NV + o]);
    }
}

KI_INLINE void product(const int MR, const int NV, const float *restrict v, ptrdiff_t v_step, const float *restrict u,
                       float *restrict m, ptrdiff_t k, uintptr_t ahead, ptrdiff_t lines) {
    enum { L = VF32_LANES };
    vf32 acc[KI_PRODUCT_ACCUMULATORS];
    const float *row[12];
    UNROLL for (int t = 0; t < MR; t++) row[t] = v + t * v_step;
    UNROLL for (int t = 0; t < MR; t++) UNROLL for (int o = 0; o < NV; o++) acc[t * NV + o] = vf32_zero();
    for (ptrdiff_t i = 0; i < k;) {
        const ptrdiff_t stop = k - i < STRIP ? k : i + STRIP;
        for (ptrdiff_t l = 0; l < lines; l++, ahead += 64) __builtin_prefetch((const void *)ahead, 0, 2);
        for (; i + STEP <= stop; i += STEP, u += STEP * NV * L) UNROLL for (int s = 0; s < STEP; s++) {
                product_step(MR, NV, row, i + s, u + s * NV * L, acc);
                __asm__ volatile("" ::: "memory"); /* keeps the compiler from loading ahead, which spills */
            }
        for (; i < stop; i++, u += NV * L) product_step(MR, NV, row, i, u, acc);
    }
    UNROLL for (int t = 0; t < MR; t++) UNROLL for (int o = 0; o < NV; o++)
        vf32_store(m + (t * NV + o) * L, acc[t * NV + o]);
}

#define DEFINE_PRODUCT(MR, NV)                                                                                         \
    static __attribute__((noinline)) void KI_NAME(KI_TILE_NAME(f32_winograd_product, MR, NV))(                         \
        const float *v, ptrdiff_t v_step, const float *u, float *m, ptrdiff_t k, uintptr_t ahead, ptrdiff_t lines) {   \
        product(MR, NV, v, v_step, u, m, k, ahead, lines);                                                             \
    }
#define PRODUCT_ENTRY(MR, NV) [NV - 1][MR - 1] = KI_NAME(KI_TILE_NAME(f32_winograd_product, MR, NV)),

#define ROWS_4(X, NV) X(1, NV) X(2, NV) X(3, NV) X(4, NV)
#define ROWS_6(X, NV) ROWS_4(X, NV) X(5, NV) X(6, NV)
#define ROWS_8(X, NV) ROWS_6(X, NV) X(7, NV) X(8, NV)
#define ROWS_12(X, NV) ROWS_8(X, NV) X(9, NV) X(10, NV) X(11, NV) X(12, NV)

#if defined(KI_ISA_AVX512)
#define ALL_PRODUCTS(X) ROWS_12(X, 1) ROWS_12(X, 2) ROWS_8(X, 3)
static const int product_rows[PRODUCT_NV] = {12, 12, 8};
#else
#define ALL_PRODUCTS(X) ROWS_12(X, 1) ROWS_6(X, 2) ROWS_4(X, 3)
static const int product_rows[PRODUCT_NV] = {12, 6, 4};
#endif

ALL_PRODUCTS(DEFINE_PRODUCT)

static product_fn *const KI_NAME(f32_winograd_products)[PRODUCT_NV][12] = {ALL_PRODUCTS(PRODUCT_ENTRY)};

#undef DEFINE_PRODUCT
#undef PRODUCT_ENTRY
#undef ALL_PRODUCTS
#undef ROWS_4
#undef ROWS_6
#undef ROWS_8
#undef ROWS_12
