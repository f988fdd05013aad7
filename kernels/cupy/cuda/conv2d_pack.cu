// Before and after the implicit-GEMM kernels: packing of the weights, and the sum over the splits of K.
#include <implicit_gemm.cuh>

// w row-major [k][n]. Element (row, column) of the padded matrix, zero outside.
DEVICE float weight(const float* w, int k, int n, int row, int column) {
    return row < k && column < n ? w[static_cast<Index>(row) * n + column] : 0.0f;
}

// For conv2d_fp32: [k_padded][n_padded].
KERNEL void pack_fp32(const float* w, float* packed, int k, int n, int k_padded, int n_padded) {
    GRID_STRIDE (i, static_cast<Index>(k_padded) * n_padded) {
        packed[i] = weight(w, k, n, static_cast<int>(i / n_padded), static_cast<int>(i % n_padded));
    }
}
EXPORT(pack_fp32)

// For conv2d_tf32: [n_padded][k_padded], rounded.
KERNEL void pack_tf32(const float* w, unsigned* packed, int k, int n, int k_padded, int n_padded) {
    GRID_STRIDE (i, static_cast<Index>(k_padded) * n_padded) {
        packed[i] = round_tf32(weight(w, k, n, static_cast<int>(i % k_padded), static_cast<int>(i / k_padded)));
    }
}
EXPORT(pack_tf32)

// Which k of a slice of 16 is stored at `slot`: 0, 4, 1, 5, 2, 6, 3, 7, then the same + 8 (see conv2d_mma.cu).
DEVICE int k_of_slot(int slot) {
    return (slot & 8) + ((slot >> 1) & 3) + (slot & 1) * 4;
}

// For conv2d_bf16: [n_padded][k_padded], rounded, in the order of k_of_slot. One thread writes two neighbours.
KERNEL void pack_bf16_slots(const float* w, unsigned* packed, int k, int n, int k_padded, int n_padded) {
    const int pairs = k_padded / 2;
    GRID_STRIDE (i, static_cast<Index>(pairs) * n_padded) {
        const int column = static_cast<int>(i / pairs), slot = static_cast<int>(i % pairs) * 2;
        const int slice = slot & ~15;
        packed[i] = pack_bf16(weight(w, k, n, slice + k_of_slot(slot & 15), column),
                              weight(w, k, n, slice + k_of_slot((slot + 1) & 15), column));
    }
}
EXPORT(pack_bf16_slots)

// y = activation(bias + sum over splits of partial[split][m][n]), always in the same order.
KERNEL void sum_splits(const float* partial, const float* bias, float* y, int splits, int m, int n, int y_pitch,
                       int activation) {
    const Index plane = static_cast<Index>(m) * n;
    GRID_STRIDE (i, plane) {
        const Index row = quotient(i, n);
        const int column = static_cast<int>(i - row * n);
        float sum = partial[i];
        for (int split = 1; split < splits; ++split) sum += partial[split * plane + i];
        if (bias) sum += bias[column];
        y[row * y_pitch + column] = activate(sum, activation);
    }
}
EXPORT(sum_splits)
