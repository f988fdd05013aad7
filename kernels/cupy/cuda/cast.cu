// Conversion of the element type, as the contract states it. Compile-time: FROM, TO.
#include <common.cuh>

// A float to a 32-bit or 64-bit integer as x86 converts: NaN and what is out of range become the lowest number. The GPU's own
// instructions saturate and make 0 of NaN.
template <typename F>
DEVICE int to_int32(F x) {
    return x > F(-2147483649.0) && x < F(2147483648.0) ? static_cast<int>(x) : -2147483647 - 1;
}

template <typename F>
DEVICE long long to_int64(F x) {
    return x >= F(-9223372036854775808.0) && x < F(9223372036854775808.0) ? static_cast<long long>(x)
                                                                          : -9223372036854775807LL - 1;
}

template <typename F>
DEVICE unsigned long long to_uint64(F x) {
    if (x >= F(9223372036854775808.0) && x < F(18446744073709551616.0)) return static_cast<unsigned long long>(x);
    return static_cast<unsigned long long>(to_int64(x));
}

DEVICE TO convert(FROM x) {
    constexpr bool is_float = static_cast<FROM>(0.5) == 0.5;
    constexpr bool is_int = static_cast<TO>(0.5) == 0;
    constexpr bool is_signed = static_cast<TO>(-1) < static_cast<TO>(0);
    if constexpr (!is_float || !is_int) {
        return static_cast<TO>(x);
    } else if constexpr (sizeof(TO) == 8 && !is_signed) {
        return static_cast<TO>(to_uint64(x));
    } else if constexpr (sizeof(TO) == 8 || (sizeof(TO) == 4 && !is_signed)) {
        return static_cast<TO>(to_int64(x));
    } else {
        return static_cast<TO>(to_int32(x));
    }
}

KERNEL void cast(const FROM* x, TO* y, const Rows rows) {
    GRID_STRIDE (i, rows.total) {
        const Index row = quotient(i, rows.cols), col = i - row * rows.cols;
        y[row * rows.y_pitch + col] = convert(x[row * rows.x_pitch + col]);
    }
}
EXPORT(cast)
