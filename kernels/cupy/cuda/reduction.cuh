// Reductions over the threads of a block.
#pragma once
#include <common.cuh>

template <typename T>
DEVICE T infinity() {
    return T(1) / T(bits_to_float(0)); // 1 / 0 without a constant that the compiler warns of
}

// combine() over all threads' values, given to all of them. scratch: one T per warp. The block has whole warps.
template <typename T, typename Combine>
DEVICE T block_reduce(T value, T* scratch, Combine combine) {
    for (int mask = 16; mask > 0; mask /= 2) value = combine(value, lane_xor(value, mask));
    const int warps = blockDim.x / 32;
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    block_barrier();
    value = scratch[0];
    for (int warp = 1; warp < warps; ++warp) value = combine(value, scratch[warp]);
    block_barrier(); // scratch may be used again
    return value;
}
