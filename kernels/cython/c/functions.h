/* Functions of a float without branches, so that a loop over them becomes SIMD on every instruction set. Doubles use libm.
 *
 * Largest errors seen, in units in the last place (ULP), against double, with FMA and without (portable C):
 *   exp 1.01   log 0.87   log1p 1.5   expm1 1.6   sigmoid 2.5   tanh 2.4   softplus 1.8   erf 1.4   atan 2.0
 *   sin, cos 1.6 up to KI_TURN_LIMIT; beyond it elementwise.c takes libm's
 * erfc: relative error 9.2e-7. Results below the normal range are right to 1.2e-38 (sigmoid is 0 below e^-89), those of erfc to
 * 3e-45. exp and log: ranges reduced by ln 2 in two parts, the polynomials of Cephes' expf and logf; sin and cos: Cody and
 * Waite's reduction in three parts; erf and atan: own minimax polynomials (Lawson's iteration).
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

/* a * b + c, rounded once where the instruction set can. */
#ifdef __FMA__
#define KI_FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define KI_FMA(a, b, c) ((a) * (b) + (c))
#endif

/* Adding it to a number of less than 2^22 rounds that to an integer, which is in the low bits, plus KI_ROUND's argument. */
#define KI_ROUND(more) (12582912.0f + (more)) /* 1.5 * 2^23 */

/* The power of two whose exponent is in the low 8 bits, with a float's bias of 127. */
static inline float ki_power_of(float rounded) { return ki_float((int32_t)((uint32_t)ki_bits(rounded) << 23)); }

/* x - n * ln 2; n times the first part is exact. */
static inline float ki_less_ln2(float x, float n) { return KI_FMA(n, 2.12194440e-4f, KI_FMA(n, -0.693359375f, x)); }

/* e^r - 1 for |r| <= ln 2 / 2. */
static inline float ki_exp_part(float r) {
    float p = 1.9875691500e-4f;
    p = KI_FMA(p, r, 1.3981999507e-3f);
    p = KI_FMA(p, r, 8.3334519073e-3f);
    p = KI_FMA(p, r, 4.1665795894e-2f);
    p = KI_FMA(p, r, 1.6666665459e-1f);
    p = KI_FMA(p, r, 5.0000001201e-1f);
    return KI_FMA(p, r * r, r);
}

static inline float ki_exp_f32(float x) {
    float c = x > 89.0f ? 89.0f : x;
    c = c < -104.0f ? -104.0f : c; /* NaN passes both */
    float rounded = KI_FMA(c, 1.44269504f, KI_ROUND(254));
    float e = ki_exp_part(ki_less_ln2(c, rounded - KI_ROUND(254))) + 1.0f;
    /* 2^n in two factors: n may be below -126 or above 127. */
    uint32_t bits = (uint32_t)ki_bits(rounded), half = bits >> 1;
    return e * ki_float((int32_t)(half << 23)) * ki_float((int32_t)((bits - half) << 23));
}

/* The same bits for |x| <= KI_EXP_NORMAL, where the result is normal, in fewer steps: n is added to the exponent. */
#define KI_EXP_NORMAL 87.0f
static inline float ki_exp_normal_f32(float x) {
    float rounded = KI_FMA(x, 1.44269504f, KI_ROUND(512));
    float e = ki_exp_part(ki_less_ln2(x, rounded - KI_ROUND(512))) + 1.0f;
    return ki_float((int32_t)((uint32_t)ki_bits(e) + ((uint32_t)ki_bits(rounded) << 23)));
}

/* The same bits for x <= 0 and NaN, except that results below the normal range are 0. */
static inline float ki_exp_below_f32(float x) {
    float c = x < -88.0f ? -88.0f : x; /* there the power of two is 0 */
    float rounded = KI_FMA(c, 1.44269504f, KI_ROUND(127));
    return (ki_exp_part(ki_less_ln2(c, rounded - KI_ROUND(127))) + 1.0f) * ki_power_of(rounded);
}
static inline double ki_exp_below_f64(double x) { return exp(x); }

/* e^x - 1: 2^n (e^r - 1) + (2^n - 1), of half of 2^n, which is finite where the result is. */
static inline float ki_expm1_f32(float x) {
    float c = x > 89.0f ? 89.0f : x;
    c = c < -26.0f ? -26.0f : c; /* there it is -1; NaN passes */
    float rounded = KI_FMA(c, 1.44269504f, KI_ROUND(126));
    float half = ki_power_of(rounded);
    float y = KI_FMA(half, ki_exp_part(ki_less_ln2(c, rounded - KI_ROUND(126))), half - 0.5f);
    return copysignf(y + y, x); /* -0 stays */
}

/* e^x - 1 for x <= 0 (others count as 0). */
static inline float ki_expm1_below_f32(float x) {
    float c = x > 0.0f ? 0.0f : x;
    c = c < -26.0f ? -26.0f : c;
    float rounded = KI_FMA(c, 1.44269504f, KI_ROUND(127));
    float scale = ki_power_of(rounded);
    return KI_FMA(scale, ki_exp_part(ki_less_ln2(c, rounded - KI_ROUND(127))), scale - 1.0f);
}

/* log(1 + f) for 1 + f from sqrt(1/2) to sqrt(2). */
static inline float ki_log_part(float f, float exponent) {
    float z = f * f;
    float p = 7.0376836292e-2f;
    p = KI_FMA(p, f, -1.1514610310e-1f);
    p = KI_FMA(p, f, 1.1676998740e-1f);
    p = KI_FMA(p, f, -1.2420140846e-1f);
    p = KI_FMA(p, f, 1.4249322787e-1f);
    p = KI_FMA(p, f, -1.6668057665e-1f);
    p = KI_FMA(p, f, 2.0000714765e-1f);
    p = KI_FMA(p, f, -2.4999993993e-1f);
    p = KI_FMA(p, f, 3.3333331174e-1f);
    p = KI_FMA(f * p, z, -0.5f * z);
    return KI_FMA(exponent, 0.693359375f, f + KI_FMA(exponent, -2.12194440e-4f, p));
}

static inline float ki_log_f32(float x) {
    const int32_t root = 0x3f3504f3; /* the bits of sqrt(1/2) */
    float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x; /* subnormals */
    float shift = x < 1.17549435e-38f ? -23.0f : 0.0f;
    int32_t i = ki_bits(scaled) - root;
    float y = ki_log_part(ki_float((i & 0x007fffff) + root) - 1.0f, (float)(i >> 23) + shift);
    y = x < INFINITY ? y : x; /* inf and NaN */
    y = x == 0.0f ? -INFINITY : y;
    return x < 0.0f ? NAN : y;
}

/* The same bits for positive normal numbers. */
static inline float ki_log_normal_f32(float x) {
    int32_t i = ki_bits(x) - 0x3f3504f3;
    return ki_log_part(ki_float((i & 0x007fffff) + 0x3f3504f3) - 1.0f, (float)(i >> 23));
}

/* log(1 + x): the mantissa of 1 + x, less 1, is made of x itself, so that no digit of x gets lost. */
static inline float ki_log1p_f32(float x) {
    const int32_t root = 0x3f3504f3;
    float u = 1.0f + x;
    int32_t i = ki_bits(u) - root, n = i >> 23;
    float scale = ki_float(0x3f800000 - (int32_t)((uint32_t)n << 23)); /* 2^-n */
    float f = KI_FMA(x, scale, scale - 1.0f);
    f = n > 60 ? ki_float((i & 0x007fffff) + root) - 1.0f : f;
    float y = ki_log_part(f, (float)n);
    y = x < INFINITY ? y : x;
    y = u == 0.0f ? -INFINITY : y;
    y = x == 0.0f ? x : y;
    return x < -1.0f ? NAN : y;
}

/* (e^2|x| - 1) / (e^2|x| + 1); from 9.1 on it is 1. */
static inline float ki_tanh_f32(float x) {
    float a = fabsf(x);
    float c = a > 9.1f ? 9.1f : a; /* NaN passes */
    float rounded = KI_FMA(c, 2.88539008f, KI_ROUND(127)); /* 2 / ln 2 */
    float scale = ki_power_of(rounded);
    float less = KI_FMA(ki_exp_part(ki_less_ln2(c + c, rounded - KI_ROUND(127))), scale, scale - 1.0f);
    return copysignf(less / (less + 2.0f), x);
}

/* 1 / (1 + e^-x), of half of both; below -89 it is 0. */
static inline float ki_sigmoid_f32(float x) {
    float c = x > 87.0f ? -87.0f : -x; /* there it is 1; NaN passes */
    float rounded = KI_FMA(c, 1.44269504f, KI_ROUND(126));
    float half = ki_power_of(rounded);
    float sum = KI_FMA(ki_exp_part(ki_less_ln2(c, rounded - KI_ROUND(126))), half, half + 0.5f);
    return x < -89.0f ? 0.0f : 0.5f / sum;
}

/* log(1 + e^x) = max(x, 0) + log(1 + e), where e = e^-|x| is 1 at most. */
static inline float ki_softplus_f32(float x) {
    float e = ki_exp_f32(-fabsf(x));
    float exponent = e > 0.414213562f ? 1.0f : 0.0f;
    float f = e > 0.414213562f ? 0.5f * e - 0.5f : e;
    return (x > 0.0f ? x : 0.0f) + ki_log_part(f, exponent);
}

static inline float ki_elu_f32(float x) { return x < 0.0f ? ki_expm1_below_f32(x) : x; }
static inline float ki_selu_f32(float x) { return x < 0.0f ? 1.75809934f * ki_expm1_below_f32(x) : 1.05070099f * x; }

/* erf(x) for |x| <= 1: minimax polynomial of x^2. */
static inline float ki_erf_small_f32(float x) {
    float z = x * x;
    float p = 7.8537734e-05f;
    p = KI_FMA(p, z, -8.010171e-4f);
    p = KI_FMA(p, z, 5.1883254e-3f);
    p = KI_FMA(p, z, -2.6853811e-2f);
    p = KI_FMA(p, z, 1.12835854e-1f);
    p = KI_FMA(p, z, -3.7612626e-1f);
    p = KI_FMA(p, z, 1.2837917e-1f);
    return KI_FMA(p, x, x);
}

/* Beyond 1: 1 - e^p, where the minimax polynomial p of |x| is log(erfc(x)); from 4 on it is 1. */
static inline float ki_erf_f32(float x) {
    float a = fabsf(x);
    float c = a > 4.0f ? 4.0f : a; /* NaN passes */
    float p = 1.86379264e-4f;
    p = KI_FMA(p, c, -2.94765900e-3f);
    p = KI_FMA(p, c, 2.18380667e-2f);
    p = KI_FMA(p, c, -1.03106760e-1f);
    p = KI_FMA(p, c, -6.38144827e-1f);
    p = KI_FMA(p, c, -1.12708919f);
    p = KI_FMA(p, c, -3.41522174e-4f);
    float rounded = KI_FMA(p, 1.44269504f, KI_ROUND(127));
    float scale = ki_power_of(rounded);
    float large = (1.0f - scale) - ki_exp_part(ki_less_ln2(p, rounded - KI_ROUND(127))) * scale;
    return a < 1.0f ? ki_erf_small_f32(x) : copysignf(large, x);
}

/* 1 - erf(x), relative error 9.2e-7 down to the subnormals. Beyond 1 e^(-x^2) times a polynomial of 1 / x^2 (Cephes' erfcf);
 * the square is exact in two parts. */
static inline float ki_erfc_f32(float x) {
    float a = fabsf(x);
    float c = a > 10.5f ? 10.5f : a;
    float head = ki_float(ki_bits(c) & (int32_t)0xfffff000);
    float rest = (c - head) * (c + head);
    float e = ki_exp_f32(-(head * head)) *
              (1.0f - rest * (1.0f - rest * (0.5f - rest * (0.166666667f - rest * 4.16666667e-2f))));
    float q = 1.0f / c, y = q * q;
    float near = 2.326819970e-2f;
    near = KI_FMA(near, y, -1.387039389e-1f);
    near = KI_FMA(near, y, 3.687424675e-1f);
    near = KI_FMA(near, y, -5.824733027e-1f);
    near = KI_FMA(near, y, 6.210004622e-1f);
    near = KI_FMA(near, y, -4.944515323e-1f);
    near = KI_FMA(near, y, 3.404879938e-1f);
    near = KI_FMA(near, y, -2.741127028e-1f);
    near = KI_FMA(near, y, 5.638259427e-1f);
    float far = -1.047766400e+1f;
    far = KI_FMA(far, y, 1.297719955e+1f);
    far = KI_FMA(far, y, -7.495518718f);
    far = KI_FMA(far, y, 2.921019019f);
    far = KI_FMA(far, y, -1.015265279f);
    far = KI_FMA(far, y, 4.218463358e-1f);
    far = KI_FMA(far, y, -2.820767440e-1f);
    far = KI_FMA(far, y, 5.641895068e-1f);
    float tail = e * q * (c < 2.0f ? near : far);
    tail = x < 0.0f ? 2.0f - tail : tail;
    return a < 1.0f ? 1.0f - ki_erf_small_f32(x) : tail;
}

/* Up to here the quarter turns of an angle are counted exactly enough in float. */
#define KI_TURN_LIMIT 71476.0f

/* sin(x + quarters * pi / 2) for |x| <= KI_TURN_LIMIT: sin or cos of r = x - n * pi / 2, in three parts with FMA, else in double. */
static inline float ki_sin_of(float x, int32_t quarters) {
    float rounded = KI_FMA(x, 0.636619772f, KI_ROUND(0));
    float n = rounded - KI_ROUND(0);
    int32_t turn = ki_bits(rounded) + quarters;
#ifdef __FMA__
    float r = KI_FMA(n, -5.39030253e-15f, KI_FMA(n, -3.13916473e-7f, KI_FMA(n, -1.57079601f, x)));
#else
    float r = (float)(((double)x - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11);
#endif
    float z = r * r;
    float s = 0x1.7d3bbcp-19f; /* the polynomials are those of NumPy's float32 loops */
    s = KI_FMA(s, z, -0x1.a06bbap-13f);
    s = KI_FMA(s, z, 0x1.11119ap-7f);
    s = KI_FMA(s, z, -0x1.555556p-3f);
    s = KI_FMA(s * z, r, r);
    float c = 0x1.98e616p-16f;
    c = KI_FMA(c, z, -0x1.6c06dcp-10f);
    c = KI_FMA(c, z, 0x1.55553cp-5f);
    c = KI_FMA(c, z, -0.5f);
    c = KI_FMA(c, z, 1.0f);
    float y = turn & 1 ? c : s;
    return ki_float(ki_bits(y) ^ (int32_t)((uint32_t)(turn & 2) << 30));
}
static inline float ki_sin_f32(float x) { return x == 0.0f ? x : ki_sin_of(x, 0); }
static inline float ki_cos_f32(float x) { return ki_sin_of(x, 1); }

/* Up to 1 a minimax polynomial, beyond it pi / 2 - atan(1 / x). */
static inline float ki_atan_f32(float x) {
    float a = fabsf(x);
    float t = a > 1.0f ? -1.0f / a : a, z = t * t;
    float p = 2.9209172e-3f;
    p = KI_FMA(p, z, -1.6368773e-2f);
    p = KI_FMA(p, z, 4.321314e-2f);
    p = KI_FMA(p, z, -7.552314e-2f);
    p = KI_FMA(p, z, 1.0666047e-1f);
    p = KI_FMA(p, z, -1.4211065e-1f);
    p = KI_FMA(p, z, 1.9993773e-1f);
    p = KI_FMA(p, z, -3.3333153e-1f);
    float y = KI_FMA(p * z, t, t);
    return copysignf(a > 1.0f ? y - 4.37113883e-8f + 1.57079637f : y, x); /* pi / 2 in two parts; NaN: y */
}

static inline float ki_sqrt_f32(float x) { return sqrtf(x); }
static inline double ki_sqrt_f64(double x) { return sqrt(x); }
static inline double ki_exp_f64(double x) { return exp(x); }
static inline double ki_log_f64(double x) { return log(x); }
static inline double ki_tanh_f64(double x) { return tanh(x); }
static inline double ki_log1p_f64(double x) { return log1p(x); }
static inline double ki_expm1_f64(double x) { return expm1(x); }
static inline double ki_sin_f64(double x) { return sin(x); }
static inline double ki_cos_f64(double x) { return cos(x); }
static inline double ki_atan_f64(double x) { return atan(x); }
static inline double ki_softplus_f64(double x) { return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x))); }
static inline double ki_elu_f64(double x) { return x < 0.0 ? expm1(x) : x; }
static inline double ki_selu_f64(double x) { return x < 0.0 ? 1.7580993408473768 * expm1(x) : 1.0507009873554805 * x; }
static inline double ki_erf_f64(double x) { return erf(x); }
static inline double ki_erfc_f64(double x) { return erfc(x); }
static inline double ki_sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }

/* The function of x's type: KI_OF(ki_exp, x) is ki_exp_f32(x) or ki_exp_f64(x). */
#define KI_OF(function, x) _Generic((x), float: function##_f32, double: function##_f64)(x)

#endif
