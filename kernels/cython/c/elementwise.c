/* Elementwise maps for all element types on one instruction set. The loops are plain C that the compiler turns into SIMD;
 * ivdep: an output may be an input, element by element, but never overlaps it otherwise. */
#include "elementwise.h"

#include "functions.h"
#include "simd/simd.h"
#include "table.h"

#define UNARY_FROM(op, S, T, TO, EXPRESSION)                                                                           \
    static void KI_NAME(S##_##op)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,               \
                                  ptrdiff_t n) {                                                                       \
        (void)s0, (void)x1, (void)s1;                                                                                  \
        const T *p = x0;                                                                                               \
        TO *y = out;                                                                                                   \
        IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                      \
            const T x = p[i];                                                                                          \
            y[i] = (TO)(EXPRESSION);                                                                                   \
        }                                                                                                              \
    }
#define UNARY(op, S, T, EXPRESSION) UNARY_FROM(op, S, T, T, EXPRESSION)

#define BINARY(op, S, T, EXPRESSION)                                                                                   \
    static void KI_NAME(S##_##op)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,               \
                                  ptrdiff_t n) {                                                                       \
        const T *p = x0, *q = x1;                                                                                      \
        T *y = out;                                                                                                    \
        if (s0 && s1) {                                                                                                \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const T a = p[i], b = q[i];                                                                            \
                y[i] = (T)(EXPRESSION);                                                                                \
            }                                                                                                          \
        } else if (s0) {                                                                                               \
            const T b = *q;                                                                                            \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const T a = p[i];                                                                                      \
                y[i] = (T)(EXPRESSION);                                                                                \
            }                                                                                                          \
        } else {                                                                                                       \
            const T a = *p;                                                                                            \
            IVDEP for (ptrdiff_t i = 0; i < n; i++) {                                                                  \
                const T b = q[s1 * i];                                                                                 \
                y[i] = (T)(EXPRESSION);                                                                                \
            }                                                                                                          \
        }                                                                                                              \
    }

/* W: the type of arithmetic. Comparisons are false for NaN, so it passes relu, maximum and minimum. */
#define ANY(S, T, W, LEAST, GREATEST)                                                                                  \
    UNARY(neg, S, T, -(W)x)                                                                                            \
    UNARY(square, S, T, (W)x *(W)x)                                                                                    \
    UNARY(relu, S, T, x < 0 ? 0 : x)                                                                                   \
    UNARY(relu6, S, T, x < 0 ? 0 : x > 6 ? 6 : x)                                                                      \
    UNARY_FROM(cast_f32, S, T, float, x)                                                                               \
    BINARY(add, S, T, (W)a + (W)b)                                                                                     \
    BINARY(sub, S, T, (W)a - (W)b)                                                                                     \
    BINARY(mul, S, T, (W)a *(W)b)                                                                                      \
    BINARY(maximum, S, T, a > b || a != a ? a : b)                                                                     \
    BINARY(minimum, S, T, a < b || a != a ? a : b)                                                                     \
    BINARY(squared_difference, S, T, ((W)a - (W)b) * ((W)a - (W)b))
#define FLOATING(S, T, W, LEAST, GREATEST)                                                                             \
    UNARY(sqrt, S, T, sizeof(T) == 4 ? (T)sqrtf((float)x) : (T)sqrt((double)x))                                        \
    UNARY(rsqrt, S, T, 1 / (sizeof(T) == 4 ? (T)sqrtf((float)x) : (T)sqrt((double)x)))                                 \
    UNARY(reciprocal, S, T, 1 / x)                                                                                     \
    UNARY(exp, S, T, ki_exp_##S(x))                                                                                    \
    UNARY(log, S, T, ki_log_##S(x))                                                                                    \
    UNARY(sigmoid, S, T, ki_sigmoid_##S(x))                                                                            \
    UNARY(tanh, S, T, ki_tanh_##S(x))                                                                                  \
    BINARY(div, S, T, a / b)                                                                                           \
    BINARY(relu_grad, S, T, b > 0 ? a : 0)                                                                             \
    BINARY(relu6_grad, S, T, b > 0 && b < 6 ? a : 0)
#define ABS_FLOAT(S, T, W, LEAST, GREATEST) UNARY(abs, S, T, sizeof(T) == 4 ? (T)fabsf((float)x) : (T)fabs((double)x))
#define ABS_SIGNED(S, T, W, LEAST, GREATEST) UNARY(abs, S, T, x < 0 ? (T)(-(W)x) : x)
#define ABS_UNSIGNED(S, T, W, LEAST, GREATEST) UNARY(abs, S, T, x)

#pragma GCC diagnostic ignored "-Wtype-limits" /* x < 0 of unsigned types */
KI_NUMBERS(ANY)
KI_FLOATS(FLOATING)
KI_FLOATS(ABS_FLOAT)
KI_SIGNED(ABS_SIGNED)
KI_UNSIGNED(ABS_UNSIGNED)

ki_map *const KI_NAME(ki_unary)[KI_UNARY_OPS][KI_DTYPES] = {
    [KI_NEG] = KI_ROW_NUMBERS(neg),
    [KI_ABS] = KI_ROW_NUMBERS(abs),
    [KI_SQUARE] = KI_ROW_NUMBERS(square),
    [KI_RELU] = KI_ROW_NUMBERS(relu),
    [KI_RELU6] = KI_ROW_NUMBERS(relu6),
    [KI_SQRT] = KI_ROW_FLOATS(sqrt),
    [KI_RSQRT] = KI_ROW_FLOATS(rsqrt),
    [KI_RECIPROCAL] = KI_ROW_FLOATS(reciprocal),
    [KI_EXP] = KI_ROW_FLOATS(exp),
    [KI_LOG] = KI_ROW_FLOATS(log),
    [KI_SIGMOID] = KI_ROW_FLOATS(sigmoid),
    [KI_TANH] = KI_ROW_FLOATS(tanh),
    [KI_CAST_F32] = KI_ROW_NUMBERS(cast_f32),
};

ki_map *const KI_NAME(ki_binary)[KI_BINARY_OPS][KI_DTYPES] = {
    [KI_ADD] = KI_ROW_NUMBERS(add),
    [KI_SUB] = KI_ROW_NUMBERS(sub),
    [KI_MUL] = KI_ROW_NUMBERS(mul),
    [KI_DIV] = KI_ROW_FLOATS(div),
    [KI_MAXIMUM] = KI_ROW_NUMBERS(maximum),
    [KI_MINIMUM] = KI_ROW_NUMBERS(minimum),
    [KI_SQUARED_DIFFERENCE] = KI_ROW_NUMBERS(squared_difference),
    [KI_RELU_GRAD] = KI_ROW_FLOATS(relu_grad),
    [KI_RELU6_GRAD] = KI_ROW_FLOATS(relu6_grad),
};
