/* Elementwise maps for all element types on one instruction set. The loops are plain C that the compiler turns into SIMD. An
 * output may be an input, element by element, but never overlaps it otherwise. */
#include "elementwise.h"

#include "functions.h"
#include "simd/simd.h"
#include "table.h"

enum { GUARDED = 2048 }; /* elements of a block of GUARDED_MAPS */

/* The maps, all that the C side knows of one: X(element types, name, element type of y, expression of x). In expressions
 * T is the element type, W the type of arithmetic (dtypes.h), and KI_OF(ki_exp, x) is ki_exp_f32 or ki_exp_f64 of x.
 * Comparisons are false for NaN, so it passes relu, maximum and minimum. */
#define UNARY_MAPS(X)                                                                                                  \
    X(NUMBERS, neg, T, -(W)x)                                                                                          \
    X(NUMBERS, abs, T, ABS(x))                                                                                         \
    X(NUMBERS, sign, T, x > 0 ? 1 : x < 0 ? (T)(-1) : x == x ? 0 : x)                                                  \
    X(NUMBERS, square, T, (W)x *(W)x)                                                                                  \
    X(FLOATS, floor, T, FLOOR(x))                                                                                      \
    X(FLOATS, ceil, T, CEIL(x))                                                                                        \
    X(FLOATS, round, T, RINT(x))                                                                                       \
    X(FLOATS, is_nan, uint8_t, x != x)                                                                                 \
    X(FLOATS, is_inf, uint8_t, ABS(x) == INFINITY)                                                                     \
    X(FLOATS, is_finite, uint8_t, ABS(x) < INFINITY)                                                                   \
    X(INTEGERS, invert, T, ~(W)x)                                                                                      \
    X(NUMBERS, relu, T, x < 0 ? 0 : x)                                                                                 \
    X(NUMBERS, relu6, T, x < 0 ? 0 : x > 6 ? 6 : x)                                                                    \
    X(FLOATS, sqrt, T, KI_OF(ki_sqrt, x))                                                                              \
    X(FLOATS, rsqrt, T, 1 / KI_OF(ki_sqrt, x))                                                                         \
    X(FLOATS, reciprocal, T, 1 / x)                                                                                    \
    X(SINGLE, log1p, T, KI_OF(ki_log1p, x))                                                                            \
    X(SINGLE, expm1, T, KI_OF(ki_expm1, x))                                                                            \
    X(SINGLE, atan, T, KI_OF(ki_atan, x))                                                                              \
    X(SINGLE, softplus, T, KI_OF(ki_softplus, x))                                                                      \
    X(FLOATS, sigmoid, T, KI_OF(ki_sigmoid, x))                                                                        \
    X(FLOATS, tanh, T, KI_OF(ki_tanh, x))                                                                              \
    X(FLOATS, elu, T, KI_OF(ki_elu, x))                                                                                \
    X(FLOATS, selu, T, KI_OF(ki_selu, x))                                                                              \
    X(FLOATS, softsign, T, x / (1 + ABS(x)))                                                                           \
    X(FLOATS, erf, T, KI_OF(ki_erf, x))                                                                                \
    X(FLOATS, erfc, T, KI_OF(ki_erfc, x))                                                                              \
    X(FLOATS, swish, T, x *KI_OF(ki_sigmoid, x))                                                                       \
    X(FLOATS, hard_sigmoid, T, HARD_SIGMOID(x))                                                                        \
    X(FLOATS, hard_swish, T, x *HARD_SIGMOID(x))                                                                       \
    X(NUMBERS, cast_f32, float, x)

/* swish, hard_sigmoid, hard_swish: for chains (chain.h), with the bits of the ops one after the other. */
#define HARD_SIGMOID(x) ((x + 3 < 0 ? 0 : x + 3 > 6 ? 6 : x + 3) * (T)(1.0 / 6))

/* The same of two inputs: X(element types, name, element type of y, expression of a and b). */
#define BINARY_MAPS(X)                                                                                                 \
    X(NUMBERS, add, T, (W)a + (W)b)                                                                                    \
    X(NUMBERS, sub, T, (W)a - (W)b)                                                                                    \
    X(NUMBERS, mul, T, (W)a *(W)b)                                                                                     \
    X(FLOATS, div, T, a / b)                                                                                           \
    X(NUMBERS, maximum, T, a > b || a != a ? a : b)                                                                    \
    X(NUMBERS, minimum, T, a < b || a != a ? a : b)                                                                    \
    X(NUMBERS, squared_difference, T, ((W)a - (W)b) * ((W)a - (W)b))                                                   \
    X(NUMBERS, equal, uint8_t, a == b)                                                                                 \
    X(NUMBERS, not_equal, uint8_t, a != b)                                                                             \
    X(NUMBERS, less, uint8_t, a < b)                                                                                   \
    X(NUMBERS, less_equal, uint8_t, a <= b)                                                                            \
    X(NUMBERS, greater, uint8_t, a > b)                                                                                \
    X(NUMBERS, greater_equal, uint8_t, a >= b)                                                                         \
    X(INTEGERS, bitwise_and, T, (W)a &(W)b)                                                                            \
    X(INTEGERS, bitwise_or, T, (W)a | (W)b)                                                                            \
    X(INTEGERS, bitwise_xor, T, (W)a ^ (W)b)                                                                           \
    X(INTEGERS, left_shift, T, (W)a << BITS(b))                                                                        \
    X(INTEGERS, right_shift, T, a >> BITS(b))                                                                          \
    X(FLOATS, floordiv, T, FLOOR(a / b))                                                                               \
    X(FLOATS, div_no_nan, T, b == 0 ? 0 : a / b)                                                                       \
    X(FLOATS, mul_no_nan, T, b == 0 ? 0 : a * b)                                                                       \
    X(FLOATS, xdivy, T, a == 0 ? 0 : a / b)                                                                            \
    X(SINGLE, xlogy, T, a == 0 ? 0 : a * ki_log_f32(b))                                                                \
    X(SINGLE, xlog1py, T, a == 0 ? 0 : a * ki_log1p_f32(b))                                                            \
    X(FLOATS, leaky_relu, T, a < 0 ? a * b : a)                                                                        \
    X(FLOATS, relu_grad, T, b > 0 ? a : 0)                                                                             \
    X(FLOATS, relu6_grad, T, b > 0 && b < 6 ? a : 0)

/* Maps of floats whose formula holds for most operands only: X(rows, name, a number below 0 where it does not hold, formula,
 * what is right everywhere). */
#define GUARDED_MAPS(X)                                                                                                \
    X(FLOATS, exp, BEYOND(a, KI_EXP_NORMAL), ki_exp_normal_f32(a), ki_exp_f32(a))                                      \
    X(FLOATS, log, NOT_NORMAL(a), ki_log_normal_f32(a), ki_log_f32(a))                                                 \
    X(SINGLE, sin, BEYOND(a, KI_TURN_LIMIT), ki_sin_f32(a), sinf(a))                                                   \
    X(SINGLE, cos, BEYOND(a, KI_TURN_LIMIT), ki_cos_f32(a), cosf(a))                                                   \
    X(SINGLE, floormod, -!DIVIDES(a, b), floored(remainder_of(a, b), b), floored(fmodf(a, b), b))                      \
    X(SINGLE, truncmod, -!DIVIDES(a, b), remainder_of(a, b), fmodf(a, b))

/* Below 0 if |x| is above the limit or NaN; if x is not a positive normal number. In bits: no comparison. */
#define BEYOND(x, limit) (ki_bits(limit) - (ki_bits(x) & INT32_MAX))
#define NOT_NORMAL(x)                                                                                                  \
    ((int32_t)((uint32_t)ki_bits(x) - 0x00800000u) | (int32_t)(0x7f7fffffu - (uint32_t)ki_bits(x)) | ki_bits(x))

#define ABS(x) _Generic((x), float: fabsf((float)(x)), double: fabs((double)(x)), default: (x) < 0 ? (T)(-(W)(x)) : (x))
#define FLOOR(x) _Generic((x), float: floorf, double: floor)(x)
#define CEIL(x) _Generic((x), float: ceilf, double: ceil)(x)
#define RINT(x) _Generic((x), float: rintf, double: rint)(x)
/* How far is shifted: not below 0, and a bit less than the type has at most. */
#define BITS(x) ((x) < 0 ? 0 : (x) > (T)(8 * sizeof(T) - 1) ? 8 * sizeof(T) - 1 : (size_t)(x))

/* Whether the quotient is so small, and no operand infinite, that the remainder is exact: see remainder_of. */
#define DIVIDES(a, b) (fabsf((a) / (b)) < 4194304.0f && fabsf(b) < INFINITY)

/* The remainder of a / b with the sign of a: quotient times b has 46 bits, the difference fewer. A quotient that was rounded
 * up to an integer is one too large. */
static inline float remainder_of(float a, float b) {
    const double quotient = truncf(a / b), rest = (double)a - quotient * (double)b;
    const double magnitude = a < 0 ? -rest : rest;
    return copysignf((float)(magnitude < 0 ? magnitude + fabs((double)b) : magnitude), a);
}
/* The same with the sign of b. */
static inline float floored(float rest, float b) { return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest; }

#define UNARY_LOOP(S, TYPE, ARITHMETIC, LEAST, GREATEST, name, RESULT, EXPRESSION)                                     \
    static void KI_NAME(S##_##name)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,             \
                                    ptrdiff_t n) {                                                                     \
        typedef TYPE T;                                                                                                \
        typedef ARITHMETIC W;                                                                                          \
        (void)s0, (void)x1, (void)s1;                                                                                  \
        const T *p = x0;                                                                                               \
        RESULT *y = out;                                                                                               \
        IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                      \
            const T x = p[i];                                                                                          \
            y[i] = (RESULT)(EXPRESSION);                                                                               \
        }                                                                                                              \
    }

#define BINARY_LOOP(S, TYPE, ARITHMETIC, LEAST, GREATEST, name, RESULT, EXPRESSION)                                    \
    static void KI_NAME(S##_##name)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,             \
                                    ptrdiff_t n) {                                                                     \
        typedef TYPE T;                                                                                                \
        typedef ARITHMETIC W;                                                                                          \
        const T *p = x0, *q = x1;                                                                                      \
        RESULT *y = out;                                                                                               \
        if (s0 && s1) {                                                                                                \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const T a = p[i], b = q[i];                                                                            \
                y[i] = (RESULT)(EXPRESSION);                                                                           \
            }                                                                                                          \
        } else if (s0) {                                                                                               \
            const T b = *q;                                                                                            \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const T a = p[i];                                                                                      \
                y[i] = (RESULT)(EXPRESSION);                                                                           \
            }                                                                                                          \
        } else {                                                                                                       \
            const T a = *p;                                                                                            \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const T b = q[s1 * i];                                                                                 \
                y[i] = (RESULT)(EXPRESSION);                                                                           \
            }                                                                                                          \
        }                                                                                                              \
    }

/* Blocks in which the formula holds for all operands, which nearly all are, become SIMD. The same bits either way. */
#define GUARDED_LOOP(ROWS, name, FAILS, FORMULA, EVERYWHERE)                                                           \
    static void KI_NAME(f32_##name)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,             \
                                    ptrdiff_t n) {                                                                     \
        for (ptrdiff_t from = 0; from < n; from += GUARDED) {                                                          \
            const ptrdiff_t count = n - from < GUARDED ? n - from : GUARDED;                                           \
            const float *p = (const float *)x0 + s0 * from, *q = (const float *)x1 + s1 * from;                        \
            float *y = (float *)out + from;                                                                            \
            int32_t below = s0 && s1 ? 0 : -1;                                                                         \
            for (ptrdiff_t i = 0, end = below ? 0 : count; i < end; i++) {                                             \
                const float a = p[i], b = q[i];                                                                        \
                (void)b, below |= FAILS;                                                                               \
            }                                                                                                          \
            if (below >= 0) {                                                                                          \
                IVDEP for (ptrdiff_t i = 0; i < count; i++) {                                                          \
                    const float a = p[i], b = q[i];                                                                    \
                    (void)b, y[i] = FORMULA;                                                                           \
                }                                                                                                      \
            } else {                                                                                                   \
                for (ptrdiff_t i = 0; i < count; i++) {                                                                \
                    const float a = p[s0 * i], b = q[s1 * i];                                                          \
                    (void)b, y[i] = FAILS < 0 ? EVERYWHERE : FORMULA;                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }

#pragma GCC diagnostic ignored "-Wtype-limits" /* x < 0 of unsigned types */
#pragma GCC diagnostic ignored "-Wunused-local-typedefs" /* an expression without W */
#define UNARY_LOOPS(TYPES, name, RESULT, EXPRESSION) KI_##TYPES(UNARY_LOOP, name, RESULT, EXPRESSION)
#define BINARY_LOOPS(TYPES, name, RESULT, EXPRESSION) KI_##TYPES(BINARY_LOOP, name, RESULT, EXPRESSION)
UNARY_MAPS(UNARY_LOOPS)
BINARY_MAPS(BINARY_LOOPS)
GUARDED_MAPS(GUARDED_LOOP)
KI_DOUBLE(UNARY_LOOP, exp, T, exp(x))
KI_DOUBLE(UNARY_LOOP, log, T, log(x))

#define GUARDED_KIND(ROWS, name, ...) {#name, KI_ROW_##ROWS(name)},
#define KIND(TYPES, name, ...) {#name, KI_ROW_##TYPES(name)},
const ki_map_kind KI_NAME(ki_maps)[] = {UNARY_MAPS(KIND) BINARY_MAPS(KIND) GUARDED_MAPS(GUARDED_KIND){NULL, {NULL}}};
