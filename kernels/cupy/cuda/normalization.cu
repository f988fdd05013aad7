// Per-channel kernels: bias_add, batch normalisation, local response normalisation. Compile-time: ELEMENT; FLOATING for floats.
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

// y[row, c] = x[row, c] * n ** -beta, n = bias + alpha * the squares of channels c - reach .. c + reach; reach < cols.
KERNEL void lrn(const T* x, T* y, Index reach, const T bias, const T alpha, const T beta, const Rows rows) {
    GRID_STRIDE (i, rows.total) {
        const Index row = quotient(i, rows.cols), c = i - row * rows.cols;
        const T* pixel = x + row * rows.x_pitch;
        const Index end = c + reach < rows.cols ? c + reach + 1 : rows.cols;
        T sum = T(0);
        for (Index j = c > reach ? c - reach : 0; j < end; ++j) sum += pixel[j] * pixel[j];
        const T n = bias + alpha * sum, root = sqrt(n);
        T power;
        if (beta == T(0.5))
            power = T(1) / root;
        else if (beta == T(0.75))
            power = T(1) / (root * sqrt(root));
        else if (beta == T(1))
            power = T(1) / n;
        else
            power = exp(-beta * log(n));
        y[row * rows.y_pitch + c] = pixel[c] * power;
    }
}
EXPORT(lrn)
#endif
