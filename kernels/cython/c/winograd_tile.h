/* The matrix products of winograd.c in register tiles of MR tiles x NV vectors of output channels:
 *
 *     m[t][o] = sum over i < k of v[t][i] * u[i][o]        rows of m are NV vectors wide
 */

#define UNROLL _Pragma("GCC unroll 16")

#if defined(KI_ISA_AVX512)
enum { KI_PRODUCT_ACCUMULATORS = 27 };
#else
enum { KI_PRODUCT_ACCUMULATORS = 12 };
#endif

typedef void product_fn(const float *v, ptrdiff_t v_step, const float *u, float *m, ptrdiff_t k);

KI_INLINE void product(const int MR, const int NV, const float *restrict v, ptrdiff_t v_step, const float *restrict u,
                       float *restrict m, ptrdiff_t k) {
    enum { L = VF32_LANES };
    vf32 acc[KI_PRODUCT_ACCUMULATORS];
    const float *row[13];
    UNROLL for (int t = 0; t < MR; t++) row[t] = v + t * v_step;
    UNROLL for (int t = 0; t < MR; t++)
        UNROLL for (int o = 0; o < NV; o++) acc[t * NV + o] = vf32_zero();
    for (ptrdiff_t i = 0; i < k; i++, u += NV * L) {
        vf32 b[5];
        UNROLL for (int o = 0; o < NV; o++) {
            b[o] = vf32_load(u + o * L);
            __builtin_prefetch((const void *)((uintptr_t)u + (8 * NV + o) * sizeof(vf32)));
        }
        UNROLL for (int t = 0; t < MR; t++) {
            vf32 a = vf32_set1(row[t][i]);
            UNROLL for (int o = 0; o < NV; o++) acc[t * NV + o] = vf32_fma(a, b[o], acc[t * NV + o]);
        }
    }
    UNROLL for (int t = 0; t < MR; t++)
        UNROLL for (int o = 0; o < NV; o++) vf32_store(m + (t * NV + o) * L, acc[t * NV + o]);
}

#define DEFINE_PRODUCT(MR, NV)                                                                                         \
    static __attribute__((noinline)) void KI_CAT(KI_CAT(product_, MR), KI_CAT(x, NV))(                                 \
        const float *v, ptrdiff_t v_step, const float *u, float *m, ptrdiff_t k) {                                     \
        product(MR, NV, v, v_step, u, m, k);                                                                           \
    }
#define PRODUCT_ENTRY(MR, NV) [NV - 1][MR - 1] = KI_CAT(KI_CAT(product_, MR), KI_CAT(x, NV)),

#define ROWS_4(X, NV) X(1, NV) X(2, NV) X(3, NV) X(4, NV)
#define ROWS_6(X, NV) ROWS_4(X, NV) X(5, NV) X(6, NV)
#define ROWS_9(X, NV) ROWS_6(X, NV) X(7, NV) X(8, NV) X(9, NV)
#define ROWS_12(X, NV) ROWS_9(X, NV) X(10, NV) X(11, NV) X(12, NV)

#if defined(KI_ISA_AVX512)
#define ALL_PRODUCTS(X) ROWS_12(X, 1) ROWS_12(X, 2) ROWS_9(X, 3) ROWS_6(X, 4)
enum { PRODUCT_NV = 4 };
static const int product_rows[PRODUCT_NV] = {12, 12, 9, 6};
#else
#define ALL_PRODUCTS(X) ROWS_12(X, 1) ROWS_6(X, 2) ROWS_4(X, 3)
enum { PRODUCT_NV = 3 };
static const int product_rows[PRODUCT_NV] = {12, 6, 4};
#endif

ALL_PRODUCTS(DEFINE_PRODUCT)

static product_fn *const products[PRODUCT_NV][12] = {ALL_PRODUCTS(PRODUCT_ENTRY)};

#undef DEFINE_PRODUCT
#undef PRODUCT_ENTRY
#undef ALL_PRODUCTS
#undef ROWS_4
#undef ROWS_6
#undef ROWS_9
#undef ROWS_12
