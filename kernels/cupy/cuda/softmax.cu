// Softmax and its logarithm along one axis: one block per line. Compile-time: ELEMENT (a float type).
#include <reduction.cuh>

typedef ELEMENT T;

// Lines of `size` elements, `inner` apart; line l starts at (l / inner) * size * inner + l % inner.
DEVICE void softmax_lines(unsigned char* memory, const T* x, T* y, Index lines, int size, Index inner, bool logarithm) {
    T* scratch = reinterpret_cast<T*>(memory);
    for (Index line = blockIdx.x; line < lines; line += gridDim.x) {
        const Index start = line / inner * size * inner + line % inner;
        T best = -infinity<T>();
        for (int i = threadIdx.x; i < size; i += blockDim.x) best = nan_max(best, x[start + i * inner]);
        best = block_reduce(best, scratch, [](T a, T b) { return nan_max(a, b); });
        T sum = T(0);
        for (int i = threadIdx.x; i < size; i += blockDim.x) sum += exp(x[start + i * inner] - best);
        sum = block_reduce(sum, scratch, [](T a, T b) { return a + b; });
        const T log_sum = log(sum);
        // Each thread reads an element just before it writes it: y may be x.
        for (int i = threadIdx.x; i < size; i += blockDim.x) {
            const Index at = start + i * inner;
            const T shifted = x[at] - best;
            y[at] = logarithm ? shifted - log_sum : exp(shifted) / sum;
        }
    }
}

KERNEL void softmax(const T* x, T* y, Index lines, int size, Index inner) {
    SHARED_MEMORY(memory);
    softmax_lines(memory, x, y, lines, size, inner, false);
}
EXPORT(softmax)

KERNEL void log_softmax(const T* x, T* y, Index lines, int size, Index inner) {
    SHARED_MEMORY(memory);
    softmax_lines(memory, x, y, lines, size, inner, true);
}
EXPORT(log_softmax)
