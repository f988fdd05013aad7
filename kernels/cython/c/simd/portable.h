/* The vector API in GCC/Clang vector extensions, 16 bytes: 4 floats or 2 doubles on any processor.
 * simd.h says what each function means. */
#ifndef KI_SIMD_PORTABLE_H
#define KI_SIMD_PORTABLE_H

#include <stddef.h>
#include <string.h>

typedef float vf32 __attribute__((vector_size(16)));
typedef double vf64 __attribute__((vector_size(16)));
enum { VF32_LANES = 4, VF64_LANES = 2, KI_VECTOR_REGISTERS = 16 };

#define KI_PORTABLE(V, T, LANES)                                                                                       \
    static inline V V##_set1(T x) {                                                                                    \
        V v;                                                                                                           \
        for (int i = 0; i < (LANES); i++) v[i] = x;                                                                    \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline V V##_zero(void) { return V##_set1(0); }                                                             \
    static inline V V##_load(const T *p) {                                                                             \
        V v;                                                                                                           \
        memcpy(&v, p, sizeof v);                                                                                       \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline void V##_store(T *p, V v) { memcpy(p, &v, sizeof v); }                                               \
    static inline V V##_add(V a, V b) { return a + b; }                                                                \
    static inline V V##_sub(V a, V b) { return a - b; }                                                                \
    static inline V V##_mul(V a, V b) { return a * b; }                                                                \
    static inline V V##_div(V a, V b) { return a / b; }                                                                \
    static inline V V##_fma(V a, V b, V c) { return a * b + c; }                                                       \
    static inline V V##_max(V a, V b) {                                                                                \
        V v;                                                                                                           \
        for (int i = 0; i < (LANES); i++) v[i] = a[i] > b[i] ? a[i] : b[i];                                            \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline V V##_min(V a, V b) {                                                                                \
        V v;                                                                                                           \
        for (int i = 0; i < (LANES); i++) v[i] = a[i] < b[i] ? a[i] : b[i];                                            \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline V V##_nan_max(V a, V b) {                                                                            \
        V v;                                                                                                           \
        for (int i = 0; i < (LANES); i++) v[i] = a[i] > b[i] || a[i] != a[i] ? a[i] : b[i];                            \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline V V##_load_n(const T *p, size_t n) {                                                                 \
        V v = V##_zero();                                                                                              \
        for (size_t i = 0; i < (LANES) && i < n; i++) v[i] = p[i];                                                     \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline void V##_store_n(T *p, V v, size_t n) {                                                              \
        for (size_t i = 0; i < (LANES) && i < n; i++) p[i] = v[i];                                                     \
    }

KI_PORTABLE(vf32, float, VF32_LANES)
KI_PORTABLE(vf64, double, VF64_LANES)

#undef KI_PORTABLE

#endif
