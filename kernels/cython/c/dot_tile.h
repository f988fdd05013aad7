/* Sums of one block: up to 32 pixels (rows of the buffer) by one or two vectors of 16 channels, for one instruction set.
 *
 *     sums[m * 32 + v * 16 + lane] = sum over runs, steps, groups of a[m][run][step][group] . w[run][step][v][group][lane]
 *
 * ``ahead``: memory to prefetch into the L2 cache meanwhile, ``lines`` cache lines per step.
 */

typedef struct {
    const char *a;
    ptrdiff_t pitch;
    const char *w;
    ptrdiff_t runs, steps; /* runs of steps, each of pixels that lie elsewhere */
    const ptrdiff_t *offsets; /* of the runs, in bytes from a */
    int rows, vectors;
    int32_t *sums; /* float where the product is of bfloat16 */
    int more; /* adds to the sums, which else begin with zeros */
    const char *ahead;
    ptrdiff_t lines;
} block_args;

#define UNROLL _Pragma("GCC unroll 16")

static inline const char *fetch(const char *ahead, ptrdiff_t lines) {
    for (ptrdiff_t l = 0; l < lines; l++, ahead += 64) __builtin_prefetch(ahead, 0, 2);
    return ahead;
}

/* The loops over the steps: of all rows of pixels from ``from`` on, 64 bytes at a time. */
#define STEPS(from, vectors)                                                                                           \
    for (ptrdiff_t r = 0; r < b->runs; r++)                                                                            \
        for (const char *a = (from) + b->offsets[r], *end = a + b->steps * 64; a < end; a += 64, w += vectors * 1024)

#if defined(KI_DOT_AMX)

/* GCC does not know that tile instructions read memory, nor how much of the configuration; the barriers say so. */
#define BARRIER __asm__ volatile("" ::: "memory")

/* Tiles 0 .. 3 are sums, 4 and 5 pixels, 6 and 7 weights; all of 16 rows of 64 bytes. */
static void begin_tiles(void) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int t = 0; t < 8; t++) config.bytes[t] = 64, config.rows[t] = 16;
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
}

static void end_tiles(void) { _tile_release(); }

#define SUMS_BEGIN(tile, at)                                                                                           \
    do {                                                                                                               \
        if (b->more)                                                                                                   \
            _tile_loadd(tile, b->sums + at, 128);                                                                      \
        else                                                                                                           \
            _tile_zero(tile);                                                                                          \
    } while (0)

#define AMX_BLOCK(name, DOT)                                                                                           \
    static __attribute__((noinline)) void NAMED(name##_2x2, SET)(const block_args *b) {                                \
        const char *w = b->w, *ahead = b->ahead;                                                                       \
        BARRIER;                                                                                                       \
        SUMS_BEGIN(0, 0);                                                                                              \
        SUMS_BEGIN(1, 16);                                                                                             \
        SUMS_BEGIN(2, 512);                                                                                            \
        SUMS_BEGIN(3, 528);                                                                                            \
        STEPS(b->a, 2) {                                                                                               \
            _tile_loadd(4, a, b->pitch);                                                                               \
            _tile_loadd(6, w, 64);                                                                                     \
            _tile_loadd(7, w + 1024, 64);                                                                              \
            _tile_loadd(5, a + 16 * b->pitch, b->pitch);                                                               \
            ahead = fetch(ahead, b->lines);                                                                            \
            DOT(0, 4, 6);                                                                                              \
            DOT(1, 4, 7);                                                                                              \
            DOT(2, 5, 6);                                                                                              \
            DOT(3, 5, 7);                                                                                              \
        }                                                                                                              \
        _tile_stored(0, b->sums, 128);                                                                                 \
        _tile_stored(1, b->sums + 16, 128);                                                                            \
        _tile_stored(2, b->sums + 512, 128);                                                                           \
        _tile_stored(3, b->sums + 528, 128);                                                                           \
    }                                                                                                                  \
    static __attribute__((noinline)) void NAMED(name##_1x2, SET)(const block_args *b) {                                \
        const char *w = b->w, *ahead = b->ahead;                                                                       \
        BARRIER;                                                                                                       \
        SUMS_BEGIN(0, 0);                                                                                              \
        SUMS_BEGIN(1, 16);                                                                                             \
        STEPS(b->a, 2) {                                                                                               \
            _tile_loadd(4, a, b->pitch);                                                                               \
            _tile_loadd(6, w, 64);                                                                                     \
            _tile_loadd(7, w + 1024, 64);                                                                              \
            ahead = fetch(ahead, b->lines);                                                                            \
            DOT(0, 4, 6);                                                                                              \
            DOT(1, 4, 7);                                                                                              \
        }                                                                                                              \
        _tile_stored(0, b->sums, 128);                                                                                 \
        _tile_stored(1, b->sums + 16, 128);                                                                            \
    }                                                                                                                  \
    static __attribute__((noinline)) void NAMED(name##_2x1, SET)(const block_args *b) {                                \
        const char *w = b->w, *ahead = b->ahead;                                                                       \
        BARRIER;                                                                                                       \
        SUMS_BEGIN(0, 0);                                                                                              \
        SUMS_BEGIN(2, 512);                                                                                            \
        STEPS(b->a, 1) {                                                                                               \
            _tile_loadd(4, a, b->pitch);                                                                               \
            _tile_loadd(6, w, 64);                                                                                     \
            _tile_loadd(5, a + 16 * b->pitch, b->pitch);                                                               \
            ahead = fetch(ahead, b->lines);                                                                            \
            DOT(0, 4, 6);                                                                                              \
            DOT(2, 5, 6);                                                                                              \
        }                                                                                                              \
        _tile_stored(0, b->sums, 128);                                                                                 \
        _tile_stored(2, b->sums + 512, 128);                                                                           \
    }                                                                                                                  \
    static void name(const block_args *b) {                                                                            \
        if (b->vectors == 1)                                                                                           \
            NAMED(name##_2x1, SET)(b); /* rows beyond the last pixel are computed, and not used */                     \
        else if (b->rows > 16)                                                                                         \
            NAMED(name##_2x2, SET)(b);                                                                                 \
        else                                                                                                           \
            NAMED(name##_1x2, SET)(b);                                                                                 \
    }

AMX_BLOCK(bf16_block, _tile_dpbf16ps)
AMX_BLOCK(byte_block, _tile_dpbusd)

#else

static void begin_tiles(void) {}
static void end_tiles(void) {}

#if defined(KI_DOT_WIDE)
enum { LANES = 16, MOST_ROWS = 8 };
typedef __m512i W;
typedef __m512 F;
static inline W load(const char *p) { return _mm512_loadu_si512(p); }
static inline W spread(const char *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}
static inline void store(int32_t *p, W v) { _mm512_storeu_si512(p, v); }
static inline W zeros(void) { return _mm512_setzero_si512(); }
#define F_OF(v) _mm512_castsi512_ps(v)
#define W_OF(v) _mm512_castps_si512(v)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define SHIFT(v) _mm512_slli_epi32(v, 16)
#define HIGH(v) _mm512_and_si512(v, _mm512_set1_epi32((int32_t)0xffff0000))
#define EVEN_SIGNED(v) _mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8)
#define ODD_SIGNED(v) _mm512_srai_epi16(v, 8)
#define EVEN_UNSIGNED(v) _mm512_and_si512(v, _mm512_set1_epi16(255))
#define ODD_UNSIGNED(v) _mm512_srli_epi16(v, 8)
#define MADD(a, b) _mm512_madd_epi16(a, b)
#define ADD(a, b) _mm512_add_epi32(a, b)
#if defined(KI_DOT_AVX512_VNNI) || defined(KI_DOT_AVX512_BF16)
#define BYTE_DOT(acc, a, b) _mm512_dpbusd_epi32(acc, a, b)
#endif
#if defined(KI_DOT_AVX512_BF16)
#define BF16_DOT(acc, a, b) W_OF(_mm512_dpbf16_ps(F_OF(acc), (__m512bh)(a), (__m512bh)(b)))
#endif
#elif defined(KI_DOT_AVX2) || defined(KI_DOT_AVX2_VNNI)
enum { LANES = 8, MOST_ROWS = 2 };
typedef __m256i W;
typedef __m256 F;
static inline W load(const char *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline W spread(const char *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}
static inline void store(int32_t *p, W v) { _mm256_storeu_si256((__m256i *)p, v); }
static inline W zeros(void) { return _mm256_setzero_si256(); }
#define F_OF(v) _mm256_castsi256_ps(v)
#define W_OF(v) _mm256_castps_si256(v)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define SHIFT(v) _mm256_slli_epi32(v, 16)
#define HIGH(v) _mm256_and_si256(v, _mm256_set1_epi32((int32_t)0xffff0000))
#define EVEN_SIGNED(v) _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8)
#define ODD_SIGNED(v) _mm256_srai_epi16(v, 8)
#define EVEN_UNSIGNED(v) _mm256_and_si256(v, _mm256_set1_epi16(255))
#define ODD_UNSIGNED(v) _mm256_srli_epi16(v, 8)
#define MADD(a, b) _mm256_madd_epi16(a, b)
#define ADD(a, b) _mm256_add_epi32(a, b)
#if defined(KI_DOT_AVX2_VNNI)
#define BYTE_DOT(acc, a, b) _mm256_dpbusd_avx_epi32(acc, a, b)
#endif
#else /* portable: GCC/Clang vector extensions */
enum { LANES = 4, MOST_ROWS = 2 };
typedef int32_t W __attribute__((vector_size(16)));
typedef uint32_t U __attribute__((vector_size(16)));
typedef float F __attribute__((vector_size(16)));
static inline W load(const char *p) {
    W v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline W spread(const char *p) {
    int32_t x;
    memcpy(&x, p, sizeof x);
    return (W){x, x, x, x};
}
static inline void store(int32_t *p, W v) { memcpy(p, &v, sizeof v); }
static inline W zeros(void) { return (W){0}; }
#define F_OF(v) ((F)(v))
#define W_OF(v) ((W)(v))
#define FMA(a, b, c) ((a) * (b) + (c))
#define SHIFT(v) ((W)((U)(v) << 16))
#define HIGH(v) ((v) & (int32_t)0xffff0000)
/* Byte e of every lane, as int32. */
#define SIGNED_BYTE(v, e) ((W)((U)(v) << (24 - 8 * (e))) >> 24)
#define UNSIGNED_BYTE(v, e) ((W)(((U)(v) >> (8 * (e))) & 255))
static inline W portable_dot(W acc, W a, W b) {
    U sum = (U)acc;
    UNROLL for (int e = 0; e < 4; e++) sum += (U)(UNSIGNED_BYTE(a, e) * SIGNED_BYTE(b, e));
    return (W)sum;
}
#define BYTE_DOT(acc, a, b) portable_dot(acc, a, b)
#endif

enum { PARTS = KI_DOT_LANES / LANES };

/* Without instructions for pairs: a bfloat16 is the upper half of a float. The even element is added first. */
#if !defined(BF16_DOT)
#define BF16_DOT(acc, a, b) bf16_dot(acc, a, b)
static inline W bf16_dot(W acc, W a, W b) {
    F sum = FMA(F_OF(SHIFT(a)), F_OF(SHIFT(b)), F_OF(acc));
    return W_OF(FMA(F_OF(HIGH(a)), F_OF(HIGH(b)), sum));
}
#endif

/* Without VNNI: bytes widened to 16 bits, whose sums of two products are exact (vpmaddubsw would saturate). */
#if !defined(BYTE_DOT)
#define BYTE_DOT(acc, a, b) byte_dot(acc, a, b)
static inline W byte_dot(W acc, W a, W b) {
    W even = MADD(EVEN_UNSIGNED(a), EVEN_SIGNED(b)), odd = MADD(ODD_UNSIGNED(a), ODD_SIGNED(b));
    return ADD(acc, ADD(even, odd));
}
#endif

#define VECTOR_TILE(name, DOT)                                                                                         \
    KI_DOT_INLINE void name(const int MR, const int NV, const block_args *b, const char *first, int32_t *sums) {       \
        W acc[MOST_ROWS * 2 * PARTS];                                                                                  \
        const char *w = b->w;                                                                                          \
        UNROLL for (int m = 0; m < MR; m++) UNROLL for (int i = 0; i < NV * PARTS; i++) acc[m * NV * PARTS + i] =      \
            b->more ? load((const char *)(sums + m * KI_DOT_PANEL + i * LANES)) : zeros();                             \
        STEPS(first, NV)                                                                                               \
        for (int g = 0; g < 64; g += 4) {                                                                              \
            W x[MOST_ROWS];                                                                                            \
            UNROLL for (int m = 0; m < MR; m++) x[m] = spread(a + m * b->pitch + g);                                   \
            UNROLL for (int v = 0; v < NV; v++) UNROLL for (int p = 0; p < PARTS; p++) {                               \
                W y = load(w + v * 1024 + g * 16 + p * LANES * 4);                                                     \
                UNROLL for (int m = 0; m < MR; m++) {                                                                  \
                    W *one = &acc[(m * NV + v) * PARTS + p];                                                           \
                    *one = DOT(*one, x[m], y);                                                                         \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int m = 0; m < MR; m++) UNROLL for (int i = 0; i < NV * PARTS; i++)                                \
            store(sums + m * KI_DOT_PANEL + i * LANES, acc[m * NV * PARTS + i]);                                       \
    }

VECTOR_TILE(bf16_tile, BF16_DOT)
VECTOR_TILE(byte_tile, BYTE_DOT)

/* Rows by the tallest tiles, then by shorter ones. */
#define VECTOR_ROWS(tile, MR)                                                                                          \
    for (; MOST_ROWS >= MR && row + MR <= b->rows; row += MR) {                                                        \
        const char *a = b->a + row * b->pitch;                                                                         \
        if (b->vectors == 2)                                                                                           \
            tile(MOST_ROWS < MR ? MOST_ROWS : MR, 2, b, a, b->sums + row * KI_DOT_PANEL);                              \
        else                                                                                                           \
            tile(MOST_ROWS < MR ? MOST_ROWS : MR, 1, b, a, b->sums + row * KI_DOT_PANEL);                              \
    }
#define VECTOR_BLOCK(name, tile)                                                                                       \
    static void name(const block_args *b) {                                                                            \
        ptrdiff_t row = 0;                                                                                             \
        fetch(b->ahead, b->lines * b->steps * b->runs);                                                                \
        VECTOR_ROWS(tile, 8)                                                                                           \
        VECTOR_ROWS(tile, 4)                                                                                           \
        VECTOR_ROWS(tile, 2)                                                                                           \
        VECTOR_ROWS(tile, 1)                                                                                           \
    }

VECTOR_BLOCK(bf16_block, bf16_tile)
VECTOR_BLOCK(byte_block, byte_tile)

#endif
