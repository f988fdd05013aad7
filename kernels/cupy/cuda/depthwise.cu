// Depthwise convolution on NHWC, one thread per result; neighbouring threads are neighbouring channels.
// Compile-time: ELEMENT. Weights in their own order (height, width, channel, multiplier).
#include <common.cuh>

typedef ELEMENT T;

// Mirrors depthwise.DepthwiseShape.
struct DepthwiseShape {
    int h, w, multiplier, kh, kw, oh, ow, cout;
    int stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;
    int x_pitch, y_pitch, activation;
    Index total;
};

KERNEL void depthwise_conv2d(const T* x, const T* weights, const T* bias, T* y, const DepthwiseShape s) {
    GRID_STRIDE (i, s.total) {
        const Index pixel = quotient(i, s.cout), picture = quotient(pixel, s.oh * s.ow), image = picture * s.h;
        const int channel = static_cast<int>(i - pixel * s.cout);
        const int place = static_cast<int>(pixel - picture * (s.oh * s.ow));
        const int top = place / s.ow * s.stride_h - s.pad_top, left = place % s.ow * s.stride_w - s.pad_left;
        T sum = T(0);
        for (int u = 0; u < s.kh; ++u) {
            const int row = top + u * s.dilation_h;
            const bool row_inside = row >= 0 && row < s.h;
            for (int v = 0; v < s.kw; ++v) {
                const int column = left + v * s.dilation_w;
                // Padding is a zero that is multiplied: a weight that is not finite makes NaN of it.
                const T value = row_inside && column >= 0 && column < s.w
                                    ? x[((image + row) * s.w + column) * s.x_pitch + channel / s.multiplier]
                                    : T(0);
                sum += value * weights[(u * s.kw + v) * s.cout + channel];
            }
        }
        if (bias) sum += bias[channel];
        y[pixel * s.y_pitch + channel] = activate(sum, s.activation);
    }
}
EXPORT(depthwise_conv2d)
