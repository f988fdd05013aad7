// Sum, mean, largest and smallest over axes. Compile-time: ELEMENT and ACCUMULATOR, the type of the running value
// (double for floats: at most one rounding of the result; integers wrap in their own type).
//
// Two ways to divide the work, depending on the dense axis:
//   *_rows     a block per result, its threads share the reduced elements (the dense axis is reduced)
//   *_columns  a thread per result (the dense axis is kept, neighbouring threads read neighbouring elements)
#include <reduction.cuh>

typedef ELEMENT T;
typedef ACCUMULATOR ACC;

struct Sum {
    static __device__ ACC start(T) { return ACC(0); }
    static __device__ ACC combine(ACC a, ACC b) { return a + b; }
    static __device__ T finish(ACC a, Index) { return static_cast<T>(a); }
};

struct Mean : Sum {
    static __device__ T finish(ACC a, Index count) { return static_cast<T>(a / static_cast<ACC>(count)); }
};

struct Max {
    static __device__ ACC start(T empty) { return empty; }
    static __device__ ACC combine(ACC a, ACC b) { return nan_max(a, b); }
    static __device__ T finish(ACC a, Index) { return static_cast<T>(a); }
};

struct Min : Max {
    static __device__ ACC combine(ACC a, ACC b) { return nan_min(a, b); }
};

template <typename Op>
DEVICE void reduce_rows(unsigned char* memory, const T* x, T* y, T empty, const Strided<1>& kept,
                        const Strided<1>& reduced) {
    for (Index out = blockIdx.x; out < kept.total; out += gridDim.x) {
        Index base[1], at[1];
        kept.offsets(out, base);
        ACC value = Op::start(empty);
        for (Index i = threadIdx.x; i < reduced.total; i += blockDim.x) {
            reduced.offsets(i, at);
            value = Op::combine(value, static_cast<ACC>(x[base[0] + at[0]]));
        }
        value = block_reduce(value, reinterpret_cast<ACC*>(memory), Op::combine);
        if (threadIdx.x == 0) y[out] = Op::finish(value, reduced.total);
    }
}

template <typename Op>
DEVICE void reduce_columns(const T* x, T* y, T empty, const Strided<1>& kept, const Strided<1>& reduced) {
    GRID_STRIDE (out, kept.total) {
        Index base[1], at[1];
        kept.offsets(out, base);
        ACC value = Op::start(empty);
        for (Index i = 0; i < reduced.total; ++i) {
            reduced.offsets(i, at);
            value = Op::combine(value, static_cast<ACC>(x[base[0] + at[0]]));
        }
        y[out] = Op::finish(value, reduced.total);
    }
}

#define REDUCTION(name, Op)                                                                                            \
    KERNEL void name##_rows(const T* x, T* y, const T empty, const Strided<1> IN_CONSTANT_MEMORY kept,                 \
                            const Strided<1> IN_CONSTANT_MEMORY reduced) {                                             \
        SHARED_MEMORY(memory);                                                                                         \
        reduce_rows<Op>(memory, x, y, empty, kept, reduced);                                                           \
    }                                                                                                                  \
    EXPORT(name##_rows)                                                                                                \
    KERNEL void name##_columns(const T* x, T* y, const T empty, const Strided<1> IN_CONSTANT_MEMORY kept,              \
                               const Strided<1> IN_CONSTANT_MEMORY reduced) {                                          \
        reduce_columns<Op>(x, y, empty, kept, reduced);                                                                \
    }                                                                                                                  \
    EXPORT(name##_columns)

REDUCTION(reduce_sum, Sum)
REDUCTION(reduce_max, Max)
REDUCTION(reduce_min, Min)
#ifdef FLOATING
REDUCTION(reduce_mean, Mean)
#endif
