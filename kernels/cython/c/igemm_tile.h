/* The register tiles of the implicit GEMM: MR pixels x NV vectors of output channels, for one element type.
 *
 * Included with T, V (vector type), VOP(name), LANES, TILE(name) defined. Everything is unrolled, so that the inner loop is
 * NV loads, MR broadcasts and MR * NV FMAs with all accumulators and all MR pixel pointers in registers.
 */

/* What the tiles of one call share. ``valid``: channels to write; less than NV * LANES only in the last panel.
 * ``ahead``: memory that will be needed soon, prefetched ``lines`` cache lines at a time while the tile computes. */
typedef struct {
    const T *bias;
    T lo, hi;
    ptrdiff_t valid;
    int accumulate; /* start from what y holds instead of the bias */
    ki_ahead ahead[2];
} TILE(epilogue);

/* pixels: [runs][MR] pointers; out: MR pointers. */
typedef void TILE(tile_fn)(const T *const *pixels, const ki_run *runs, ptrdiff_t count, const T *panel, T *const *out,
                           const TILE(epilogue) * e);

KI_INLINE V TILE(load_valid)(const T *p, ptrdiff_t valid) {
    return valid >= LANES ? VOP(load)(p) : VOP(load_n)(p, valid > 0 ? (size_t)valid : 0);
}

#define UNROLL _Pragma("GCC unroll 16")

KI_INLINE void TILE(tile)(const int MR, const int NV, const T *const *restrict pixels, const ki_run *restrict runs,
                          ptrdiff_t count, const T *restrict panel, T *const *restrict out,
                          const TILE(epilogue) * restrict e) {
    V acc[KI_TILE_ACCUMULATORS];
    if (e->accumulate) {
        UNROLL for (int m = 0; m < MR; m++)
            UNROLL for (int v = 0; v < NV; v++) acc[m * NV + v] =
                TILE(load_valid)(out[m] + v * LANES, e->valid - v * LANES);
    } else {
        UNROLL for (int v = 0; v < NV; v++) {
            V b = e->bias ? TILE(load_valid)(e->bias + v * LANES, e->valid - v * LANES) : VOP(zero)();
            UNROLL for (int m = 0; m < MR; m++) acc[m * NV + v] = b;
        }
    }
    ki_ahead ahead[2] = {e->ahead[0], e->ahead[1]};
    for (ptrdiff_t r = 0; r < count; r++, pixels += MR) {
        const T *restrict w = panel + runs[r].row * NV * LANES;
        const T *p[KI_MAX_MR];
        UNROLL for (int m = 0; m < MR; m++) p[m] = pixels[m];
        for (ptrdiff_t i = 0; i < runs[r].length;) {
            const ptrdiff_t rest = runs[r].length - i, stop = i + (rest < KI_STRIP ? rest : KI_STRIP);
            for (int a = 0; a < 2; a++)
                for (ptrdiff_t l = 0; l < ahead[a].lines; l++, ahead[a].address += 64)
                    __builtin_prefetch((const void *)ahead[a].address, 0, 2);
            for (; i < stop; i++, w += NV * LANES) {
                V b[KI_MAX_NV];
                UNROLL for (int v = 0; v < NV; v++) {
                    b[v] = VOP(load)(w + v * LANES);
                    __builtin_prefetch((const void *)((uintptr_t)w + KI_WEIGHTS_AHEAD * NV * sizeof(V) + v * sizeof(V)));
                }
                UNROLL for (int m = 0; m < MR; m++) {
                    V a = VOP(set1)(p[m][i]);
                    UNROLL for (int v = 0; v < NV; v++) acc[m * NV + v] = VOP(fma)(a, b[v], acc[m * NV + v]);
                }
            }
        }
    }
    V lo = VOP(set1)(e->lo), hi = VOP(set1)(e->hi);
    UNROLL for (int m = 0; m < MR; m++)
        UNROLL for (int v = 0; v < NV; v++) acc[m * NV + v] = VOP(min)(hi, VOP(max)(lo, acc[m * NV + v]));
    if (e->valid >= NV * LANES) {
        UNROLL for (int m = 0; m < MR; m++)
            UNROLL for (int v = 0; v < NV; v++) VOP(store)(out[m] + v * LANES, acc[m * NV + v]);
    } else {
        UNROLL for (int m = 0; m < MR; m++)
            UNROLL for (int v = 0; v < NV; v++) if (e->valid > v * LANES)
                VOP(store_n)(out[m] + v * LANES, acc[m * NV + v], (size_t)(e->valid - v * LANES));
    }
}

#define DEFINE_TILE(MR, NV)                                                                                            \
    static __attribute__((noinline)) void TILE(KI_TILE_NAME(gemm, MR, NV))(                                            \
        const T *const *pixels, const ki_run *runs, ptrdiff_t count, const T *panel, T *const *out,                    \
        const TILE(epilogue) * e) {                                                                                    \
        TILE(tile)(MR, NV, pixels, runs, count, panel, out, e);                                                        \
    }
#define TILE_ENTRY(MR, NV) [NV - 1][MR - 1] = TILE(KI_TILE_NAME(gemm, MR, NV)),

/* All tiles that fit: MR * NV + NV + 1 <= registers, and no more pixel pointers than integer registers hold: with 12, GCC
 * keeps one in a vector register and moves it in every iteration, on a port that the FMAs need (4 % of 1x1 on 35x35). */
#define TILES_1(X, NV) X(1, NV)
#define TILES_2(X, NV) TILES_1(X, NV) X(2, NV)
#define TILES_3(X, NV) TILES_2(X, NV) X(3, NV)
#define TILES_4(X, NV) TILES_3(X, NV) X(4, NV)
#define TILES_5(X, NV) TILES_4(X, NV) X(5, NV)
#define TILES_6(X, NV) TILES_5(X, NV) X(6, NV)
#define TILES_9(X, NV) TILES_6(X, NV) X(7, NV) X(8, NV) X(9, NV)
#define TILES_10(X, NV) TILES_9(X, NV) X(10, NV)

#if defined(KI_ISA_AVX512)
#define ALL_TILES(X) TILES_10(X, 1) TILES_10(X, 2) TILES_9(X, 3) TILES_6(X, 4) TILES_5(X, 5)
#else
#define ALL_TILES(X) TILES_10(X, 1) TILES_6(X, 2) TILES_4(X, 3)
#endif

ALL_TILES(DEFINE_TILE)

static TILE(tile_fn) *const TILE(tiles)[KI_MAX_NV][KI_MAX_MR] = {ALL_TILES(TILE_ENTRY)};

#undef DEFINE_TILE
#undef TILE_ENTRY
#undef ALL_TILES
#undef TILES_1
#undef TILES_2
#undef TILES_3
#undef TILES_4
#undef TILES_5
#undef TILES_6
#undef TILES_9
#undef TILES_10
#undef UNROLL
