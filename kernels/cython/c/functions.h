/* exp, log, tanh and sigmoid of a float without branches, so that a loop over them becomes SIMD on every instruction set.
 *
 * Relative errors over all floats, against double: exp 1.2e-7 (ranges reduced by ln 2 in two parts, polynomial of degree 6),
 * log 1.2e-7 (Cephes' logf polynomial), tanh 2.2e-7 (Cephes' below 0.625, else by exp), sigmoid 1.8e-7. Doubles use libm.
 */
#ifndef KI_FUNCTIONS_H
#define KI_FUNCTIONS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline int32_t ki_bits(float x) {
    int32_t i;
    memcpy(&i, &x, sizeof i);
    return i;
}
static inline float ki_float(int32_t i) {
    float x;
    memcpy(&x, &i, sizeof x);
    return x;
}

static inline float ki_exp_f32(float x) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    float c = x > 89.0f ? 89.0f : x;
    c = c < -104.0f ? -104.0f : c; /* NaN passes both */
    float rounded = c * 1.44269504f + magic;
    float n = rounded - magic;
    float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float e = p * (r * r) + r + 1.0f;
    int32_t i = ki_bits(rounded) - ki_bits(magic);
    i = c == c ? i : 0;
    int32_t half = i >> 1; /* 2^i in two factors: i may be below -126 or above 127 */
    return e * ki_float((half + 127) << 23) * ki_float((i - half + 127) << 23);
}

static inline float ki_log_f32(float x) {
    float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x; /* subnormals */
    float shift = x < 1.17549435e-38f ? -23.0f : 0.0f;
    int32_t i = ki_bits(scaled);
    float e = (float)((i >> 23) - 126) + shift;
    float m = ki_float((i & 0x007fffff) | 0x3f000000); /* in [0.5, 1) */
    float small = m < 0.707106781f ? 1.0f : 0.0f;
    e = e - small;
    m = m + m * small - 1.0f;
    float z = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    float y = m * z * p + e * -2.12194440e-4f - 0.5f * z;
    y = (m + y) + e * 0.693359375f;
    y = x < INFINITY ? y : x; /* inf and NaN */
    y = x == 0.0f ? -INFINITY : y;
    return x < 0.0f ? NAN : y;
}

static inline float ki_tanh_f32(float x) {
    float a = fabsf(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float low = p * z * x + x;
    float high = 1.0f - 2.0f / (ki_exp_f32(a + a) + 1.0f);
    return copysignf(a < 0.625f ? low : high, x); /* NaN: high; low of -0 would be +0 */
}

static inline float ki_sigmoid_f32(float x) { return 1.0f / (1.0f + ki_exp_f32(-x)); }

static inline float ki_sqrt_f32(float x) { return sqrtf(x); }
static inline double ki_sqrt_f64(double x) { return sqrt(x); }
static inline double ki_exp_f64(double x) { return exp(x); }
static inline double ki_log_f64(double x) { return log(x); }
static inline double ki_tanh_f64(double x) { return tanh(x); }
static inline double ki_sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }

/* The function of x's type: KI_OF(ki_exp, x) is ki_exp_f32(x) or ki_exp_f64(x). */
#define KI_OF(function, x) _Generic((x), float: function##_f32, double: function##_f64)(x)

#endif
