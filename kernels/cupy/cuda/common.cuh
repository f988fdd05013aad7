// Index arithmetic and activations that all kernels share.
#pragma once
#include <ptx.cuh>

typedef long long Index;

// Every thread takes elements i, i + all threads, ... of `total`.
#define GRID_STRIDE(i, total)                                                                                          \
    for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < static_cast<Index>(total);           \
         i += static_cast<Index>(gridDim.x) * blockDim.x)

// a / b for 0 <= a < 2^31: no array has more elements, and a 64-bit division takes several times as long.
DEVICE Index quotient(Index a, Index b) {
    return static_cast<unsigned>(a) / static_cast<unsigned>(b);
}

constexpr int MAX_RANK = 8;

// Offsets of ARRAYS arrays at one index of a common (broadcast) shape. Mirrors launch.strided_type().
template <int ARRAYS>
struct Strided {
    Index total;
    int rank;
    int shape[MAX_RANK];
    Index stride[ARRAYS][MAX_RANK]; // in elements; 0 where an array is broadcast

    __device__ void offsets(Index index, Index (&offset)[ARRAYS]) const {
        for (int a = 0; a < ARRAYS; ++a) offset[a] = 0;
        unsigned rest = static_cast<unsigned>(index); // total < 2^31
        for (int axis = rank - 1; axis >= 0; --axis) {
            const unsigned size = static_cast<unsigned>(shape[axis]);
            const unsigned next = axis ? rest / size : 0;
            const unsigned at = rest - next * size;
            for (int a = 0; a < ARRAYS; ++a) offset[a] += at * stride[a][axis];
            rest = next;
        }
    }
};

// Rows of `cols` dense elements, each row x_pitch (y_pitch) elements after the last. Mirrors launch.Rows.
struct Rows {
    Index total;
    Index cols;
    Index x_pitch;
    Index y_pitch;
};

enum Activation { NONE = 0, RELU = 1, RELU6 = 2 };

// Comparisons are written so that a NaN passes.
template <typename T>
DEVICE T activate(T x, int activation) {
    if (activation != NONE && x < T(0)) x = T(0);
    if (activation == RELU6 && x > T(6)) x = T(6);
    return x;
}

template <typename T>
DEVICE T nan_max(T a, T b) {
    return (a > b || a != a) ? a : b;
}

template <typename T>
DEVICE T nan_min(T a, T b) {
    return (a < b || a != a) ? a : b;
}
