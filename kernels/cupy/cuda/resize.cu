// Bilinear resizing on NHWC, one thread per result. Compile-time: ELEMENT of the input; the result is float32.
#include <common.cuh>

typedef ELEMENT T;

// Mirrors resize.ResizeShape. mode: 0 legacy, 1 align_corners, 2 half_pixel_centers.
struct ResizeShape {
    int h, w, c, oh, ow, mode;
    int x_pitch, y_pitch;
    Index total;
};

struct Between {
    int low, high;
    float weight;

    // Each multiplication and addition rounded, as in the contract's float32 rule: an FMA would give other weights.
    __device__ __forceinline__ Between(int i, int in, int out, int mode) {
        float source;
        if (mode == 1)
            source = out > 1 ? multiply(static_cast<float>(i), static_cast<float>(in - 1) / static_cast<float>(out - 1))
                             : 0.0f;
        else if (mode == 2)
            source =
                add(multiply(static_cast<float>(i) + 0.5f, static_cast<float>(in) / static_cast<float>(out)), -0.5f);
        else
            source = multiply(static_cast<float>(i), static_cast<float>(in) / static_cast<float>(out));
        const float floored = floorf(source);
        low = max(min(static_cast<int>(floored), in - 1), 0);
        // A cell of weight 0 is not read: high is low then.
        high = max(min(static_cast<int>(ceilf(source)), in - 1), 0);
        weight = source - floored;
    }
};

KERNEL void resize_bilinear(const T* x, float* y, const ResizeShape s) {
    GRID_STRIDE (i, s.total) {
        const Index pixel = quotient(i, s.c), line = quotient(pixel, s.ow), picture = quotient(line, s.oh);
        const int c = static_cast<int>(i - pixel * s.c), column = static_cast<int>(pixel - line * s.ow);
        const int row = static_cast<int>(line - picture * s.oh);
        const Index image = picture * s.h;
        const Between v(row, s.h, s.oh, s.mode), h(column, s.w, s.ow, s.mode);
        const Index upper = (image + v.low) * s.w, lower = (image + v.high) * s.w;
        const float a = static_cast<float>(x[(upper + h.low) * s.x_pitch + c]);
        const float b = static_cast<float>(x[(upper + h.high) * s.x_pitch + c]);
        const float d = static_cast<float>(x[(lower + h.low) * s.x_pitch + c]);
        const float e = static_cast<float>(x[(lower + h.high) * s.x_pitch + c]);
        const float top = a + (b - a) * h.weight, bottom = d + (e - d) * h.weight;
        y[pixel * s.y_pitch + c] = top + (bottom - top) * v.weight;
    }
}
EXPORT(resize_bilinear)
