// Matrix product with any strides, batches that broadcast, optional bias and activation. Compile-time: ELEMENT.
//
// 64 x 64 tiles, 256 threads, 4 x 4 results per thread. Convolutions and matrix products with plain right-hand sides go
// through the implicit-GEMM kernels; this one takes the others: transposed, batched, other element types.
#include <common.cuh>

typedef ELEMENT T;

// Mirrors matmul.MatMulShape. Strides in elements.
struct MatMulShape {
    int m, n, k, activation;
    Index a_row, a_column, b_row, b_column, y_row, y_column;
    Strided<3> batch;
};

constexpr int TILE = 64, DEPTH = 16, SIDE = 16, EACH = TILE / SIDE;

KERNEL void LAUNCH_BOUNDS(256, 2) matmul(const T* a, const T* b, const T* bias, T* y, const MatMulShape s) {
    SHARED_MEMORY(memory);
    T(*a_tile)[TILE + 1] = reinterpret_cast<T(*)[TILE + 1]>(memory); // [DEPTH]; + 1: stores along k hit different banks
    T(*b_tile)[TILE + 1] = a_tile + DEPTH;
    const int thread = threadIdx.x, tx = thread % SIDE, ty = thread / SIDE;
    const int columns = (s.n + TILE - 1) / TILE;
    const int m0 = static_cast<int>(blockIdx.x) / columns * TILE, n0 = static_cast<int>(blockIdx.x) % columns * TILE;
    for (Index item = blockIdx.z; item < s.batch.total; item += gridDim.z) {
        Index at[3];
        s.batch.offsets(item, at);
        T sum[EACH][EACH] = {};
        for (int k0 = 0; k0 < s.k; k0 += DEPTH) {
            UNROLL
            for (int i = 0; i < TILE * DEPTH / 256; ++i) {
                const int row = (thread + i * 256) / DEPTH, k = (thread + i * 256) % DEPTH;
                const bool inside = m0 + row < s.m && k0 + k < s.k;
                a_tile[k][row] = inside ? a[at[0] + (m0 + row) * s.a_row + (k0 + k) * s.a_column] : T(0);
            }
            UNROLL
            for (int i = 0; i < TILE * DEPTH / 256; ++i) {
                const int k = (thread + i * 256) / TILE, column = (thread + i * 256) % TILE;
                const bool inside = n0 + column < s.n && k0 + k < s.k;
                b_tile[k][column] = inside ? b[at[1] + (k0 + k) * s.b_row + (n0 + column) * s.b_column] : T(0);
            }
            block_barrier();
            UNROLL
            for (int k = 0; k < DEPTH; ++k) {
                T left[EACH], right[EACH];
                UNROLL
                for (int i = 0; i < EACH; ++i) left[i] = a_tile[k][ty + i * SIDE], right[i] = b_tile[k][tx + i * SIDE];
                UNROLL
                for (int i = 0; i < EACH; ++i) {
                    UNROLL
                    for (int j = 0; j < EACH; ++j) sum[i][j] += left[i] * right[j];
                }
            }
            block_barrier();
        }
        UNROLL
        for (int i = 0; i < EACH; ++i) {
            UNROLL
            for (int j = 0; j < EACH; ++j) {
                const int row = m0 + ty + i * SIDE, column = n0 + tx + j * SIDE;
                if (row < s.m && column < s.n)
                    y[at[2] + row * s.y_row + column * s.y_column] =
                        activate(static_cast<T>(sum[i][j] + (bias ? bias[column] : T(0))), s.activation);
            }
        }
    }
}
EXPORT(matmul)
