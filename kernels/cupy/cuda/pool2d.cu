// Max and average pooling on NHWC, one thread per result. Compile-time: ELEMENT, and AVERAGE for floats.
#include <common.cuh>

typedef ELEMENT T;

// Mirrors pool2d.PoolShape. count_h, count_w: end of the cells that count in the divisor (the padded extent).
struct PoolShape {
    int h, w, c, oh, ow;
    int window_h, window_w, stride_h, stride_w, pad_top, pad_left;
    int x_pitch, y_pitch;
    int count_pad, count_h, count_w, activation;
    Index total;
};

struct Window {
    int top, left, first_h, last_h, first_w, last_w; // cells inside the input: [first, last)
    Index image, output;
    int channel;

    __device__ __forceinline__ Window(const PoolShape& s, Index i) {
        const Index pixel = quotient(i, s.c), picture = quotient(pixel, s.oh * s.ow);
        channel = static_cast<int>(i - pixel * s.c);
        output = pixel * s.y_pitch + channel;
        image = picture * s.h;
        const int place = static_cast<int>(pixel - picture * (s.oh * s.ow));
        top = place / s.ow * s.stride_h - s.pad_top;
        left = place % s.ow * s.stride_w - s.pad_left;
        first_h = top > 0 ? top : 0;
        first_w = left > 0 ? left : 0;
        last_h = top + s.window_h < s.h ? top + s.window_h : s.h;
        last_w = left + s.window_w < s.w ? left + s.window_w : s.w;
    }

    __device__ __forceinline__ Index at(const PoolShape& s, int row, int column) const {
        return ((image + row) * s.w + column) * s.x_pitch + channel;
    }
};

KERNEL void max_pool2d(const T* x, T* y, const T lowest, const PoolShape s) {
    GRID_STRIDE (i, s.total) {
        const Window window(s, i);
        T best = lowest;
        for (int row = window.first_h; row < window.last_h; ++row)
            for (int column = window.first_w; column < window.last_w; ++column)
                best = nan_max(x[window.at(s, row, column)], best);
        y[window.output] = best;
    }
}
EXPORT(max_pool2d)

#ifdef AVERAGE
KERNEL void avg_pool2d(const T* x, T* y, const T* bias, const PoolShape s) {
    GRID_STRIDE (i, s.total) {
        const Window window(s, i);
        T sum = T(0);
        for (int row = window.first_h; row < window.last_h; ++row)
            for (int column = window.first_w; column < window.last_w; ++column) sum += x[window.at(s, row, column)];
        int high = window.last_h - window.first_h, wide = window.last_w - window.first_w;
        if (s.count_pad) {
            high = min(window.top + s.window_h, s.count_h) - window.top;
            wide = min(window.left + s.window_w, s.count_w) - window.left;
        }
        T mean = sum / (static_cast<T>(high) * static_cast<T>(wide));
        if (bias) mean += bias[window.channel];
        y[window.output] = activate(mean, s.activation);
    }
}
EXPORT(avg_pool2d)
#endif
