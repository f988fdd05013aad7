// Elementwise kernels for one element type T. Compile-time: ELEMENT, and one of the group macros FLOATING, INTEGER, BOOLEAN.
#include <common.cuh>

typedef ELEMENT T;

#define UNARY(name, formula)                                                                                           \
    KERNEL void name(const T* input, T* output, const Rows rows) {                                                     \
        GRID_STRIDE (i, rows.total) {                                                                                  \
            const Index row = quotient(i, rows.cols), col = i - row * rows.cols;                                       \
            const T x = input[row * rows.x_pitch + col];                                                               \
            output[row * rows.y_pitch + col] = formula;                                                                \
        }                                                                                                              \
    }                                                                                                                  \
    EXPORT(name)

// RESULT is the output's element type.
#define BINARY(name, RESULT, formula)                                                                                  \
    KERNEL void name(const T* first, const T* second, RESULT* output, const Strided<3> geometry) {                     \
        GRID_STRIDE (i, geometry.total) {                                                                              \
            Index at[3];                                                                                               \
            geometry.offsets(i, at);                                                                                   \
            const T x0 = first[at[0]], x1 = second[at[1]];                                                             \
            output[at[2]] = formula;                                                                                   \
        }                                                                                                              \
    }                                                                                                                  \
    EXPORT(name)

KERNEL void select_(const bool* condition, const T* first, const T* second, T* output, const Strided<4> geometry) {
    GRID_STRIDE (i, geometry.total) {
        Index at[4];
        geometry.offsets(i, at);
        output[at[3]] = condition[at[0]] ? first[at[1]] : second[at[2]];
    }
}
EXPORT(select_)

BINARY(equal, bool, x0 == x1)
BINARY(not_equal, bool, x0 != x1)

#ifdef BOOLEAN
UNARY(logical_not, !x)
BINARY(logical_and, bool, x0 && x1)
BINARY(logical_or, bool, x0 || x1)
#else
UNARY(square, x * x)
UNARY(relu, activate(x, RELU))
UNARY(relu6, activate(x, RELU6))
BINARY(add_, T, x0 + x1)
BINARY(sub, T, x0 - x1)
BINARY(mul, T, x0 * x1)
BINARY(maximum, T, nan_max(x0, x1))
BINARY(minimum, T, nan_min(x0, x1))
BINARY(squared_difference, T, (x0 - x1) * (x0 - x1))
BINARY(less, bool, x0 < x1)
BINARY(less_equal, bool, x0 <= x1)
BINARY(greater, bool, x0 > x1)
BINARY(greater_equal, bool, x0 >= x1)
UNARY(sign, x != x ? x : T(T(0) < x) - T(x < T(0)))
#endif

#ifdef INTEGER
UNARY(neg, T(0) - x)
UNARY(abs_, x < T(0) ? T(T(0) - x) : x)
#endif

#ifdef FLOATING
KERNEL void leaky_relu(const T* input, T* output, const Rows rows, const T slope) {
    GRID_STRIDE (i, rows.total) {
        const Index row = quotient(i, rows.cols), col = i - row * rows.cols;
        const T x = input[row * rows.x_pitch + col];
        output[row * rows.y_pitch + col] = x < T(0) ? x * slope : x;
    }
}
EXPORT(leaky_relu)

DEVICE T sigmoid_of(T x) {
    const T e = exp(-fabs(x)); // at most 1: no overflow
    return x >= T(0) ? T(1) / (T(1) + e) : e / (T(1) + e);
}

UNARY(neg, -x)
UNARY(abs_, fabs(x))
UNARY(sqrt_, sqrt(x))
UNARY(rsqrt_, T(1) / sqrt(x))
UNARY(reciprocal, T(1) / x)
UNARY(exp_, exp(x))
UNARY(log_, log(x))
UNARY(log1p_, log1p(x))
UNARY(expm1_, expm1(x))
UNARY(erf_, erf(x))
UNARY(erfc_, erfc(x))
UNARY(elu, x < T(0) ? expm1(x) : x)
UNARY(selu, x < T(0) ? T(1.7580993408473768) * expm1(x) : T(1.0507009873554805) * x)
UNARY(softsign, x / (T(1) + fabs(x)))
UNARY(sin_, sin(x))
UNARY(cos_, cos(x))
UNARY(floor_, floor(x))
UNARY(ceil_, ceil(x))
UNARY(round_, rint(x))
UNARY(sigmoid, sigmoid_of(x))
UNARY(tanh_, tanh(x))
UNARY(softplus, (x > T(0) ? x : T(0)) + log1p(exp(-fabs(x))))
BINARY(div_, T, x0 / x1)
#endif
