/* The vector API on AVX2 + FMA: 8 floats or 4 doubles. simd.h says what each function means. */
#ifndef KI_SIMD_AVX2_H
#define KI_SIMD_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m256 vf32;
typedef __m256d vf64;
enum { VF32_LANES = 8, VF64_LANES = 4, KI_VECTOR_REGISTERS = 16 };

static inline vf32 vf32_zero(void) { return _mm256_setzero_ps(); }
static inline vf32 vf32_set1(float x) { return _mm256_set1_ps(x); }
static inline vf32 vf32_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf32_store(float *p, vf32 v) { _mm256_storeu_ps(p, v); }
static inline vf32 vf32_add(vf32 a, vf32 b) { return _mm256_add_ps(a, b); }
static inline vf32 vf32_sub(vf32 a, vf32 b) { return _mm256_sub_ps(a, b); }
static inline vf32 vf32_mul(vf32 a, vf32 b) { return _mm256_mul_ps(a, b); }
static inline vf32 vf32_div(vf32 a, vf32 b) { return _mm256_div_ps(a, b); }
static inline vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf32 vf32_max(vf32 a, vf32 b) { return _mm256_max_ps(a, b); }
static inline vf32 vf32_min(vf32 a, vf32 b) { return _mm256_min_ps(a, b); }

static inline vf32 vf32_nan_max(vf32 a, vf32 b) {
    return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

/* Masks are loads from a sliding window of ones and zeros. */
static const int32_t KI_MASK32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
static const int64_t KI_MASK64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

static inline __m256i ki_mask32(size_t n) {
    return _mm256_loadu_si256((const __m256i *)(KI_MASK32 + 8 - (n > 8 ? 8 : n)));
}
static inline __m256i ki_mask64(size_t n) {
    return _mm256_loadu_si256((const __m256i *)(KI_MASK64 + 4 - (n > 4 ? 4 : n)));
}
static inline vf32 vf32_load_n(const float *p, size_t n) { return _mm256_maskload_ps(p, ki_mask32(n)); }
static inline void vf32_store_n(float *p, vf32 v, size_t n) { _mm256_maskstore_ps(p, ki_mask32(n), v); }

static inline vf64 vf64_zero(void) { return _mm256_setzero_pd(); }
static inline vf64 vf64_set1(double x) { return _mm256_set1_pd(x); }
static inline vf64 vf64_load(const double *p) { return _mm256_loadu_pd(p); }
static inline void vf64_store(double *p, vf64 v) { _mm256_storeu_pd(p, v); }
static inline vf64 vf64_add(vf64 a, vf64 b) { return _mm256_add_pd(a, b); }
static inline vf64 vf64_sub(vf64 a, vf64 b) { return _mm256_sub_pd(a, b); }
static inline vf64 vf64_mul(vf64 a, vf64 b) { return _mm256_mul_pd(a, b); }
static inline vf64 vf64_div(vf64 a, vf64 b) { return _mm256_div_pd(a, b); }
static inline vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return _mm256_fmadd_pd(a, b, c); }
static inline vf64 vf64_max(vf64 a, vf64 b) { return _mm256_max_pd(a, b); }
static inline vf64 vf64_min(vf64 a, vf64 b) { return _mm256_min_pd(a, b); }
static inline vf64 vf64_nan_max(vf64 a, vf64 b) {
    return _mm256_blendv_pd(_mm256_max_pd(a, b), a, _mm256_cmp_pd(a, a, _CMP_UNORD_Q));
}
static inline vf64 vf64_load_n(const double *p, size_t n) { return _mm256_maskload_pd(p, ki_mask64(n)); }
static inline void vf64_store_n(double *p, vf64 v, size_t n) { _mm256_maskstore_pd(p, ki_mask64(n), v); }

#endif
