/* The vector API on AVX-512 (F, DQ, BW, VL): 16 floats or 8 doubles. simd.h says what each function means. */
#ifndef KI_SIMD_AVX512_H
#define KI_SIMD_AVX512_H

#include <immintrin.h>
#include <stddef.h>

typedef __m512 vf32;
typedef __m512d vf64;
enum { VF32_LANES = 16, VF64_LANES = 8, KI_VECTOR_REGISTERS = 32 };

static inline vf32 vf32_zero(void) { return _mm512_setzero_ps(); }
static inline vf32 vf32_set1(float x) { return _mm512_set1_ps(x); }
static inline vf32 vf32_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf32_store(float *p, vf32 v) { _mm512_storeu_ps(p, v); }
static inline vf32 vf32_add(vf32 a, vf32 b) { return _mm512_add_ps(a, b); }
static inline vf32 vf32_sub(vf32 a, vf32 b) { return _mm512_sub_ps(a, b); }
static inline vf32 vf32_mul(vf32 a, vf32 b) { return _mm512_mul_ps(a, b); }
static inline vf32 vf32_div(vf32 a, vf32 b) { return _mm512_div_ps(a, b); }
static inline vf32 vf32_fma(vf32 a, vf32 b, vf32 c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf32 vf32_max(vf32 a, vf32 b) { return _mm512_max_ps(a, b); }
static inline vf32 vf32_min(vf32 a, vf32 b) { return _mm512_min_ps(a, b); }

static inline vf32 vf32_nan_max(vf32 a, vf32 b) {
    return _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}

static inline __mmask16 ki_mask16(size_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1u); }
static inline vf32 vf32_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(ki_mask16(n), p); }
static inline void vf32_store_n(float *p, vf32 v, size_t n) { _mm512_mask_storeu_ps(p, ki_mask16(n), v); }

static inline vf64 vf64_zero(void) { return _mm512_setzero_pd(); }
static inline vf64 vf64_set1(double x) { return _mm512_set1_pd(x); }
static inline vf64 vf64_load(const double *p) { return _mm512_loadu_pd(p); }
static inline void vf64_store(double *p, vf64 v) { _mm512_storeu_pd(p, v); }
static inline vf64 vf64_add(vf64 a, vf64 b) { return _mm512_add_pd(a, b); }
static inline vf64 vf64_sub(vf64 a, vf64 b) { return _mm512_sub_pd(a, b); }
static inline vf64 vf64_mul(vf64 a, vf64 b) { return _mm512_mul_pd(a, b); }
static inline vf64 vf64_div(vf64 a, vf64 b) { return _mm512_div_pd(a, b); }
static inline vf64 vf64_fma(vf64 a, vf64 b, vf64 c) { return _mm512_fmadd_pd(a, b, c); }
static inline vf64 vf64_max(vf64 a, vf64 b) { return _mm512_max_pd(a, b); }
static inline vf64 vf64_min(vf64 a, vf64 b) { return _mm512_min_pd(a, b); }

static inline vf64 vf64_nan_max(vf64 a, vf64 b) {
    return _mm512_mask_mov_pd(_mm512_max_pd(a, b), _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q), a);
}

static inline __mmask8 ki_mask8(size_t n) { return (__mmask8)(n >= 8 ? 0xffu : (1u << n) - 1u); }
static inline vf64 vf64_load_n(const double *p, size_t n) { return _mm512_maskz_loadu_pd(ki_mask8(n), p); }
static inline void vf64_store_n(double *p, vf64 v, size_t n) { _mm512_mask_storeu_pd(p, ki_mask8(n), v); }

#endif
