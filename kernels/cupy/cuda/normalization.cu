// Per-channel kernels: bias_add, batch normalisation. Compile-time: ELEMENT; FLOATING for floats.
#include <common.cuh>

typedef ELEMENT T;

// y[row, c] = x[row, c] + b[c]
KERNEL void bias_add(const T* x, const T* bias, T* y, const Rows rows) {
    GRID_STRIDE (i, rows.total) {
        const Index row = quotient(i, rows.cols), c = i - row * rows.cols;
        y[row * rows.y_pitch + c] = x[row * rows.x_pitch + c] + bias[c];
    }
}
EXPORT(bias_add)

#ifdef FLOATING
// y[row, c] = (x[row, c] - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + offset[c]; scale may be null.
KERNEL void batch_norm(const T* x, const T* mean, const T* variance, const T* offset, const T* scale, T* y,
                       const T epsilon, const Rows rows) {
    GRID_STRIDE (i, rows.total) {
        const Index row = quotient(i, rows.cols), c = i - row * rows.cols;
        T factor = T(1) / sqrt(variance[c] + epsilon);
        if (scale) factor *= scale[c];
        y[row * rows.y_pitch + c] = (x[row * rows.x_pitch + c] - mean[c]) * factor + offset[c];
    }
}
EXPORT(batch_norm)
#endif
