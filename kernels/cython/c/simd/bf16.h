/* bfloat16 in memory: the upper half of a float, as uint16_t. vbf16_load gives a vf32 of the numbers; vbf16_store rounds one to
 * the nearest, of two the even one, and keeps a NaN; the same bits on every instruction set (vcvtneps2bf16 would drop
 * subnormal numbers). _get and _put do one number. */
#ifndef KI_SIMD_BF16_H
#define KI_SIMD_BF16_H

#include <stdint.h>
#include <string.h>

#include "simd.h"

#define vf32_get(x) (x)
#define vf32_put(x) (x)
#define vf64_get(x) (x)
#define vf64_put(x) (x)

KI_INLINE float vbf16_get(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

KI_INLINE uint16_t vbf16_put(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

#if defined(KI_ISA_AVX512)
KI_INLINE vf32 vbf16_wide(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
KI_INLINE __m256i vbf16_narrow(vf32 v) {
    const __m512i bits = _mm512_castps_si512(v), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(sum, 16), nan, quiet));
}
KI_INLINE vf32 vbf16_load(const uint16_t *p) { return vbf16_wide(_mm256_loadu_si256((const __m256i *)p)); }
KI_INLINE void vbf16_store(uint16_t *p, vf32 v) { _mm256_storeu_si256((__m256i *)p, vbf16_narrow(v)); }
KI_INLINE vf32 vbf16_load_n(const uint16_t *p, size_t n) {
    return vbf16_wide(_mm256_maskz_loadu_epi16(ki_mask16(n), p));
}
KI_INLINE void vbf16_store_n(uint16_t *p, vf32 v, size_t n) {
    _mm256_mask_storeu_epi16(p, ki_mask16(n), vbf16_narrow(v));
}
#else
#if defined(KI_ISA_AVX2)
KI_INLINE vf32 vbf16_load(const uint16_t *p) {
    const __m128i halves = _mm_loadu_si128((const __m128i *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}
KI_INLINE void vbf16_store(uint16_t *p, vf32 v) {
    const __m256i bits = _mm256_castps_si256(v), upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i made = _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(made, made), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(packed));
}
#else
KI_INLINE vf32 vbf16_load(const uint16_t *p) {
    vf32 v;
    for (int i = 0; i < VF32_LANES; i++) v[i] = vbf16_get(p[i]);
    return v;
}
KI_INLINE void vbf16_store(uint16_t *p, vf32 v) {
    for (int i = 0; i < VF32_LANES; i++) p[i] = vbf16_put(v[i]);
}
#endif
KI_INLINE vf32 vbf16_load_n(const uint16_t *p, size_t n) {
    uint16_t halves[VF32_LANES] = {0};
    for (size_t i = 0; i < VF32_LANES && i < n; i++) halves[i] = p[i];
    return vbf16_load(halves);
}
KI_INLINE void vbf16_store_n(uint16_t *p, vf32 v, size_t n) {
    uint16_t halves[VF32_LANES];
    vbf16_store(halves, v);
    for (size_t i = 0; i < VF32_LANES && i < n; i++) p[i] = halves[i];
}
#endif

#endif
