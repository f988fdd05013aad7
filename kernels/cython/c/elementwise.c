/* Elementwise maps for all element types on one instruction set. The loops are plain C that the compiler turns into SIMD. An
 * output may be an input, element by element, but never overlaps it otherwise. */
#include "elementwise.h"

#include "functions.h"
#include "simd/simd.h"
#include "table.h"

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
    X(NUMBERS, relu, T, x < 0 ? 0 : x)                                                                                 \
    X(NUMBERS, relu6, T, x < 0 ? 0 : x > 6 ? 6 : x)                                                                    \
    X(FLOATS, sqrt, T, KI_OF(ki_sqrt, x))                                                                              \
    X(FLOATS, rsqrt, T, 1 / KI_OF(ki_sqrt, x))                                                                         \
    X(FLOATS, reciprocal, T, 1 / x)                                                                                    \
    X(FLOATS, exp, T, KI_OF(ki_exp, x))                                                                                \
    X(FLOATS, log, T, KI_OF(ki_log, x))                                                                                \
    X(FLOATS, sigmoid, T, KI_OF(ki_sigmoid, x))                                                                        \
    X(FLOATS, tanh, T, KI_OF(ki_tanh, x))                                                                              \
    X(FLOATS, elu, T, KI_OF(ki_elu, x))                                                                                \
    X(FLOATS, selu, T, KI_OF(ki_selu, x))                                                                              \
    X(FLOATS, softsign, T, x / (1 + ABS(x)))                                                                           \
    X(FLOATS, erf, T, KI_OF(ki_erf, x))                                                                                \
    X(FLOATS, erfc, T, KI_OF(ki_erfc, x))                                                                              \
    X(NUMBERS, cast_f32, float, x)

/* The same of two inputs: X(element types, name, expression of a and b). */
#define BINARY_MAPS(X)                                                                                                 \
    X(NUMBERS, add, (W)a + (W)b)                                                                                       \
    X(NUMBERS, sub, (W)a - (W)b)                                                                                       \
    X(NUMBERS, mul, (W)a *(W)b)                                                                                        \
    X(FLOATS, div, a / b)                                                                                              \
    X(NUMBERS, maximum, a > b || a != a ? a : b)                                                                       \
    X(NUMBERS, minimum, a < b || a != a ? a : b)                                                                       \
    X(NUMBERS, squared_difference, ((W)a - (W)b) * ((W)a - (W)b))                                                      \
    X(FLOATS, leaky_relu, a < 0 ? a * b : a)                                                                           \
    X(FLOATS, relu_grad, b > 0 ? a : 0)                                                                                \
    X(FLOATS, relu6_grad, b > 0 && b < 6 ? a : 0)

#define ABS(x) _Generic((x), float: fabsf((float)(x)), double: fabs((double)(x)), default: (x) < 0 ? (T)(-(W)(x)) : (x))
#define FLOOR(x) _Generic((x), float: floorf, double: floor)(x)
#define CEIL(x) _Generic((x), float: ceilf, double: ceil)(x)

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

#define BINARY_LOOP(S, TYPE, ARITHMETIC, LEAST, GREATEST, name, EXPRESSION)                                            \
    static void KI_NAME(S##_##name)(const void *x0, ptrdiff_t s0, const void *x1, ptrdiff_t s1, void *out,             \
                                    ptrdiff_t n) {                                                                     \
        typedef TYPE T;                                                                                                \
        typedef ARITHMETIC W;                                                                                          \
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

#pragma GCC diagnostic ignored "-Wtype-limits" /* x < 0 of unsigned types */
#pragma GCC diagnostic ignored "-Wunused-local-typedefs" /* an expression without W */
#define UNARY_LOOPS(TYPES, name, RESULT, EXPRESSION) KI_##TYPES(UNARY_LOOP, name, RESULT, EXPRESSION)
#define BINARY_LOOPS(TYPES, name, EXPRESSION) KI_##TYPES(BINARY_LOOP, name, EXPRESSION)
UNARY_MAPS(UNARY_LOOPS)
BINARY_MAPS(BINARY_LOOPS)

#define KIND(TYPES, name, ...) {#name, KI_ROW_##TYPES(name)},
const ki_map_kind KI_NAME(ki_maps)[] = {UNARY_MAPS(KIND) BINARY_MAPS(KIND){NULL, {NULL}}};
