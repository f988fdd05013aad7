/* Elementwise maps of quantised tensors on one instruction set, KI_BYTES elements at a time. Loads of a block come before its
 * store, so that y may be an input. */
#include "quantized.h"

#include <string.h>

#include "simd/bytes.h"
#include "table.h"

/* A loop over blocks: BLOCK(p, q, y) computes KI_BYTES elements at these addresses. The last ones, fewer than a block, are
 * computed in memory of their own. A step of 0 repeats its one element there, too. */
#define FOR_BLOCKS(A, B, Y, BLOCK)                                                                                     \
    const A *p = x0;                                                                                                   \
    const B *q = x1;                                                                                                   \
    Y *y = out;                                                                                                        \
    ptrdiff_t i = 0;                                                                                                   \
    for (; i + KI_BYTES <= n; i += KI_BYTES) BLOCK(p + i * s0, q + i * s1, y + i)                                      \
    if (i < n) {                                                                                                       \
        A a[KI_BYTES] = {0};                                                                                           \
        B b[KI_BYTES] = {0};                                                                                           \
        Y end[KI_BYTES];                                                                                               \
        memcpy(a, p + i * s0, s0 ? (size_t)(n - i) * sizeof(A) : sizeof(A));                                           \
        memcpy(b, q + i * s1, s1 ? (size_t)(n - i) * sizeof(B) : sizeof(B));                                           \
        BLOCK(a, b, end)                                                                                               \
        memcpy(y + i, end, (size_t)(n - i) * sizeof(Y));                                                               \
    }

#define RANGE const ki_bounds range = ki_bounds_of(s->y_zero, s->low, s->high, s->is_unsigned)
#define STORE(y) vb_store(y, vb_natural(vb_requantized(vb_quad(v, &range), &range)));

/* How f32_quantize scales: by an instruction's division, by the inverse scale, or by a division of multiplications. */
enum { DIVIDE, MULTIPLY, REFINE };

/* Whether vf32_quotient divides by the scale as a division does: all of the numbers that matter are far from the ends of the range,
 * and the inverse of a mantissa of ones is too inexact. */
static int refines(float scale) {
    int32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    return scale > 0x1p-60f && scale < 0x1p60f && (bits & 0x7fffff) != 0x7fffff;
}

KI_INLINE void f32_quantize_line(const void *x0, const void *x1, void *out, ptrdiff_t n, const ki_scales *s,
                                 const int how) {
    enum { s0 = 1, s1 = 0 };
    RANGE;
    const vf32 scale = vf32_set1(s->a_multiplier), inverse = vf32_set1(1 / s->a_multiplier);
    /* Beyond, results are bounds. */
    const vf32 most = vf32_set1(1024 * s->a_multiplier), least = vf32_set1(-1024 * s->a_multiplier);
#define QUANTIZE(p, q, y)                                                                                              \
    {                                                                                                                  \
        (void)(q);                                                                                                     \
        vf32 v[4];                                                                                                     \
        for (int k = 0; k < 4; k++) {                                                                                  \
            v[k] = vf32_load((p) + k * VF32_LANES);                                                                    \
            if (how == DIVIDE)                                                                                         \
                v[k] = vf32_div(v[k], scale);                                                                          \
            else if (how == MULTIPLY)                                                                                  \
                v[k] = vf32_mul(v[k], inverse);                                                                        \
            else                                                                                                       \
                v[k] = vf32_quotient(vf32_max(least, vf32_min(most, v[k])), scale, inverse);                           \
        }                                                                                                              \
        STORE(y)                                                                                                       \
    }
    FOR_BLOCKS(float, float, uint8_t, QUANTIZE)
}

static void KI_NAME(f32_quantize)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out, ptrdiff_t n,
                                  const void *scales) {
    const ki_scales *s = scales;
    (void)s0, (void)s1;
    if (!s->divide)
        f32_quantize_line(x0, x1, out, n, s, MULTIPLY);
    else if (refines(s->a_multiplier))
        f32_quantize_line(x0, x1, out, n, s, REFINE);
    else
        f32_quantize_line(x0, x1, out, n, s, DIVIDE);
}

#define UNARY(S, T)                                                                                                    \
    static void KI_NAME(S##_dequantize)(const void *x0, ptrdiff_t ignored, const void *x1, ptrdiff_t step, void *out,  \
                                        ptrdiff_t n, const void *scales) {                                             \
        enum { s0 = 1, s1 = 0 };                                                                                       \
        const ki_scales *s = scales;                                                                                   \
        (void)ignored, (void)step;                                                                                     \
        const vf32 zero = vf32_set1(s->a_zero), scale = vf32_set1(s->a_multiplier);                                    \
        FOR_BLOCKS(T, T, float, DEQUANTIZE_##S)                                                                        \
    }                                                                                                                  \
    static void KI_NAME(S##_requantize)(const void *x0, ptrdiff_t ignored, const void *x1, ptrdiff_t step, void *out,  \
                                        ptrdiff_t n, const void *scales) {                                             \
        enum { s0 = 1, s1 = 0 };                                                                                       \
        const ki_scales *s = scales;                                                                                   \
        (void)ignored, (void)step;                                                                                     \
        RANGE;                                                                                                         \
        const vf32 zero = vf32_set1(s->a_zero), scale = vf32_set1(s->a_multiplier);                                    \
        FOR_BLOCKS(T, T, uint8_t, REQUANTIZE_##S)                                                                      \
    }

#define STEPS(S, p, k, zero) vf32_sub(vb_floats_##S(p, k), zero)
#define DEQUANTIZE(S, p, q, y)                                                                                         \
    {                                                                                                                  \
        (void)(q);                                                                                                     \
        for (int k = 0; k < 4; k++) vf32_store((y) + k * VF32_LANES, vf32_mul(STEPS(S, p, k, zero), scale));           \
    }
#define REQUANTIZE(S, p, q, y)                                                                                         \
    {                                                                                                                  \
        (void)(q);                                                                                                     \
        vf32 v[4];                                                                                                     \
        for (int k = 0; k < 4; k++) v[k] = vf32_mul(STEPS(S, p, k, zero), scale);                                      \
        STORE(y)                                                                                                       \
    }
#define DEQUANTIZE_i8(p, q, y) DEQUANTIZE(i8, p, q, y)
#define DEQUANTIZE_u8(p, q, y) DEQUANTIZE(u8, p, q, y)
#define REQUANTIZE_i8(p, q, y) REQUANTIZE(i8, p, q, y)
#define REQUANTIZE_u8(p, q, y) REQUANTIZE(u8, p, q, y)

UNARY(i8, int8_t)
UNARY(u8, uint8_t)

/* Steps of an input: those of its block, or of its one element. */
#define OPERAND(S, p, k, step, one, zero) (step ? STEPS(S, p, k, zero) : one)
#define ONE(S, T, x, zero) vf32_set1((float)*(const T *)(x) - s->zero)
#define ADD(S, p, q, y)                                                                                                \
    {                                                                                                                  \
        vf32 v[4];                                                                                                     \
        for (int k = 0; k < 4; k++)                                                                                    \
            v[k] = vf32_add(vf32_mul(OPERAND(S, p, k, s0, a_one, a_zero), a_scale),                                    \
                            vf32_mul(OPERAND(S, q, k, s1, b_one, b_zero), b_scale));                                   \
        STORE(y)                                                                                                       \
    }
#define MUL(S, p, q, y)                                                                                                \
    {                                                                                                                  \
        vf32 v[4];                                                                                                     \
        for (int k = 0; k < 4; k++)                                                                                    \
            v[k] =                                                                                                     \
                vf32_mul(vf32_mul(OPERAND(S, p, k, s0, a_one, a_zero), OPERAND(S, q, k, s1, b_one, b_zero)), a_scale); \
        STORE(y)                                                                                                       \
    }
#define ADD_i8(p, q, y) ADD(i8, p, q, y)
#define ADD_u8(p, q, y) ADD(u8, p, q, y)
#define MUL_i8(p, q, y) MUL(i8, p, q, y)
#define MUL_u8(p, q, y) MUL(u8, p, q, y)

#define BINARY(S, T, name, NAME)                                                                                       \
    KI_INLINE void S##_quantized_##name##_line(const void *x0, const int s0, const void *x1, const int s1, void *out,  \
                                               ptrdiff_t n, const ki_scales *s) {                                      \
        RANGE;                                                                                                         \
        const vf32 a_zero = vf32_set1(s->a_zero), b_zero = vf32_set1(s->b_zero);                                       \
        const vf32 a_scale = vf32_set1(s->a_multiplier), b_scale = vf32_set1(s->b_multiplier);                         \
        const vf32 a_one = ONE(S, T, x0, a_zero), b_one = ONE(S, T, x1, b_zero);                                       \
        (void)b_scale;                                                                                                 \
        FOR_BLOCKS(T, T, uint8_t, NAME##_##S)                                                                          \
    }                                                                                                                  \
    static void KI_NAME(S##_quantized_##name)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,   \
                                              ptrdiff_t n, const void *scales) {                                       \
        if (s0 && s1)                                                                                                  \
            S##_quantized_##name##_line(x0, 1, x1, 1, out, n, scales);                                                 \
        else if (s0)                                                                                                   \
            S##_quantized_##name##_line(x0, 1, x1, 0, out, n, scales);                                                 \
        else if (s1)                                                                                                   \
            S##_quantized_##name##_line(x0, 0, x1, 1, out, n, scales);                                                 \
        else                                                                                                           \
            S##_quantized_##name##_line(x0, 0, x1, 0, out, n, scales);                                                 \
    }

BINARY(i8, int8_t, add, ADD)
BINARY(u8, uint8_t, add, ADD)
BINARY(i8, int8_t, mul, MUL)
BINARY(u8, uint8_t, mul, MUL)

#define BYTES_OF(name) {[KI_I8] = KI_NAME(i8_##name), [KI_U8] = KI_NAME(u8_##name)}
ki_quantized_map *const KI_NAME(ki_quantize)[KI_DTYPES] = {[KI_F32] = KI_NAME(f32_quantize)};
ki_quantized_map *const KI_NAME(ki_dequantize)[KI_DTYPES] = BYTES_OF(dequantize);
ki_quantized_map *const KI_NAME(ki_requantize)[KI_DTYPES] = BYTES_OF(requantize);
ki_quantized_map *const KI_NAME(ki_quantized_add)[KI_DTYPES] = BYTES_OF(quantized_add);
ki_quantized_map *const KI_NAME(ki_quantized_mul)[KI_DTYPES] = BYTES_OF(quantized_mul);
