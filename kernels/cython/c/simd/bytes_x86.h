/* Vectors of bytes on AVX2 and AVX-512 (BW): the same instructions, 256 and 512 bits wide. bytes.h says what each function means. */
#ifndef KI_SIMD_BYTES_X86_H
#define KI_SIMD_BYTES_X86_H

#if !defined(KI_ISA_AVX512)
typedef __m256i vbytes;
#define VI(name) _mm256_##name
#define VI_ZERO _mm256_setzero_si256()
#define VI_BITS(name) _mm256_##name##_si256
#else
typedef __m512i vbytes;
#define VI(name) _mm512_##name
#define VI_ZERO _mm512_setzero_si512()
#define VI_BITS(name) _mm512_##name##_si512
#endif

typedef struct {
    vbytes v[2];
} vpair;
typedef struct {
    vbytes v[4];
} vquad;

/* Where a result of integers goes; ki_bounds_of makes it. */
typedef struct {
    vf32 high;
    vbytes zero, low, flip;
} ki_bounds;

/* Results are packed as signed bytes: unsigned ones lie 128 lower until the last step, which flips the top bit. */
KI_INLINE ki_bounds ki_bounds_of(int zero, int low, int high, int is_unsigned) {
    const int shift = is_unsigned ? 128 : 0;
    return (ki_bounds){vf32_set1((float)(high - zero)), VI(set1_epi16)((short)(zero - shift)),
                       VI(set1_epi8)((char)(low - shift)), VI(set1_epi8)((char)shift)};
}

KI_INLINE vbytes vb_load(const void *p) { return VI_BITS(loadu)((const vbytes *)p); }
KI_INLINE void vb_store(void *p, vbytes v) { VI_BITS(storeu)((vbytes *)p, v); }
KI_INLINE vbytes vb_set1(int x) { return VI(set1_epi8)((char)x); }
KI_INLINE vbytes vb_xor(vbytes a, vbytes b) { return VI_BITS(xor)(a, b); }
KI_INLINE vbytes vb_max_i8(vbytes a, vbytes b) { return VI(max_epi8)(a, b); }
KI_INLINE vbytes vb_max_u8(vbytes a, vbytes b) { return VI(max_epu8)(a, b); }

#if !defined(KI_ISA_AVX512)
/* The first n <= 8 bytes, in pieces that overlap. */
KI_INLINE uint64_t ki_load_8(const uint8_t *p, size_t n) {
    uint64_t whole;
    uint32_t first, last;
    uint16_t two, end;
    if (n >= 8) {
        memcpy(&whole, p, 8);
        return whole;
    }
    if (n >= 4) {
        memcpy(&first, p, 4);
        memcpy(&last, p + n - 4, 4);
        return first | (uint64_t)last << 8 * (n - 4);
    }
    if (n >= 2) {
        memcpy(&two, p, 2);
        memcpy(&end, p + n - 2, 2);
        return two | (uint64_t)end << 8 * (n - 2);
    }
    return n ? *p : 0;
}

KI_INLINE void ki_store_8(uint8_t *p, uint64_t v, size_t n) {
    if (n >= 8) {
        memcpy(p, &v, 8);
        return;
    }
    for (size_t size = 4; size; size /= 2)
        if (n & size) {
            memcpy(p, &v, size);
            p += size;
            v >>= 8 * size;
        }
}

KI_INLINE vbytes vb_load_n(const void *from, size_t n) {
    const uint8_t *p = from;
    uint64_t part[4];
    for (size_t k = 0; k < 4; k++) part[k] = n > 8 * k ? ki_load_8(p + 8 * k, n - 8 * k) : 0;
    return _mm256_set_epi64x((long long)part[3], (long long)part[2], (long long)part[1], (long long)part[0]);
}
KI_INLINE void vb_store_n(void *to, vbytes v, size_t n) {
    uint8_t *p = to;
    uint64_t part[4];
    vb_store(part, v);
    for (size_t k = 0; k < 4; k++)
        if (n > 8 * k) ki_store_8(p + 8 * k, part[k], n - 8 * k);
}

#define KI_FLOATS_OF_BYTES(name, widen)                                                                                \
    KI_INLINE vf32 name(const void *p, int k) {                                                                        \
        return _mm256_cvtepi32_ps(widen(_mm_loadl_epi64((const __m128i *)((const char *)p + k * VF32_LANES))));        \
    }
KI_FLOATS_OF_BYTES(vb_floats_i8, _mm256_cvtepi8_epi32)
KI_FLOATS_OF_BYTES(vb_floats_u8, _mm256_cvtepu8_epi32)

KI_INLINE vbytes vb_natural(vbytes v) {
    return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
#else
KI_INLINE __mmask64 ki_mask_bytes(size_t n) { return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1; }
KI_INLINE vbytes vb_load_n(const void *p, size_t n) { return _mm512_maskz_loadu_epi8(ki_mask_bytes(n), p); }
KI_INLINE void vb_store_n(void *p, vbytes v, size_t n) { _mm512_mask_storeu_epi8(p, ki_mask_bytes(n), v); }

#define KI_FLOATS_OF_BYTES(name, widen)                                                                                \
    KI_INLINE vf32 name(const void *p, int k) {                                                                        \
        return _mm512_cvtepi32_ps(widen(_mm_loadu_si128((const __m128i *)((const char *)p + k * VF32_LANES))));        \
    }
KI_FLOATS_OF_BYTES(vb_floats_i8, _mm512_cvtepi8_epi32)
KI_FLOATS_OF_BYTES(vb_floats_u8, _mm512_cvtepu8_epi32)

KI_INLINE vbytes vb_natural(vbytes v) {
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
}
#endif

KI_INLINE vpair vp_zero(void) { return (vpair){{VI_ZERO, VI_ZERO}}; }
KI_INLINE vpair vp_set1(int x) { return (vpair){{VI(set1_epi16)((short)x), VI(set1_epi16)((short)x)}}; }
KI_INLINE vpair vp_add(vpair a, vpair b) {
    return (vpair){{VI(add_epi16)(a.v[0], b.v[0]), VI(add_epi16)(a.v[1], b.v[1])}};
}
KI_INLINE vpair vp_sub(vpair a, vpair b) {
    return (vpair){{VI(sub_epi16)(a.v[0], b.v[0]), VI(sub_epi16)(a.v[1], b.v[1])}};
}
KI_INLINE vpair vp_load(const int16_t *p) { return (vpair){{vb_load(p), vb_load(p + 2 * VF32_LANES)}}; }
KI_INLINE void vp_store(int16_t *p, vpair v) {
    vb_store(p, v.v[0]);
    vb_store(p + 2 * VF32_LANES, v.v[1]);
}

KI_INLINE vpair vb_pairs(vbytes a, vbytes b) {
    const vbytes one = VI(set1_epi8)(1);
    return (vpair){{VI(maddubs_epi16)(VI(unpacklo_epi8)(a, b), one), VI(maddubs_epi16)(VI(unpackhi_epi8)(a, b), one)}};
}

/* Words from 0 to 2^15 - 1. */
KI_INLINE vquad vp_widen(vpair a) {
    const vbytes zero = VI_ZERO;
    return (vquad){{VI(unpacklo_epi16)(a.v[0], zero), VI(unpackhi_epi16)(a.v[0], zero),
                    VI(unpacklo_epi16)(a.v[1], zero), VI(unpackhi_epi16)(a.v[1], zero)}};
}

/* round(a * factor / 2^15) + zero, bounded. */
KI_INLINE vbytes vp_scaled(vpair a, int factor, const ki_bounds *o, vbytes high) {
    const vbytes f = VI(set1_epi16)((short)factor);
    const vbytes lower = VI(add_epi16)(VI(mulhrs_epi16)(a.v[0], f), o->zero);
    const vbytes upper = VI(add_epi16)(VI(mulhrs_epi16)(a.v[1], f), o->zero);
    return VI_BITS(xor)(VI(min_epi8)(VI(max_epi8)(VI(packs_epi16)(lower, upper), o->low), high), o->flip);
}
KI_INLINE vbytes vb_high(int high, int is_unsigned) { return vb_set1(is_unsigned ? high - 128 : high); }

KI_INLINE vquad vq_zero(void) { return (vquad){{VI_ZERO, VI_ZERO, VI_ZERO, VI_ZERO}}; }
KI_INLINE vquad vq_set1(int32_t x) {
    const vbytes v = VI(set1_epi32)(x);
    return (vquad){{v, v, v, v}};
}
KI_INLINE vquad vq_add(vquad a, vquad b) {
    for (int q = 0; q < 4; q++) a.v[q] = VI(add_epi32)(a.v[q], b.v[q]);
    return a;
}
KI_INLINE vquad vq_sub(vquad a, vquad b) {
    for (int q = 0; q < 4; q++) a.v[q] = VI(sub_epi32)(a.v[q], b.v[q]);
    return a;
}
KI_INLINE vquad vq_load(const int32_t *p) {
    return (vquad){{vb_load(p), vb_load(p + VF32_LANES), vb_load(p + 2 * VF32_LANES), vb_load(p + 3 * VF32_LANES)}};
}
KI_INLINE void vq_store(int32_t *p, vquad a) {
    for (int q = 0; q < 4; q++) vb_store(p + q * VF32_LANES, a.v[q]);
}
KI_INLINE vf32 vq_float(vquad a, int q) { return VI(cvtepi32_ps)(a.v[q]); }

KI_INLINE void vb_dot(vquad *sum, vbytes a, vbytes b, const int16_t *w) {
    const vbytes zero = VI_ZERO, lower = VI(unpacklo_epi8)(a, b), upper = VI(unpackhi_epi8)(a, b);
    const vbytes x[4] = {VI(unpacklo_epi8)(lower, zero), VI(unpackhi_epi8)(lower, zero), VI(unpacklo_epi8)(upper, zero),
                         VI(unpackhi_epi8)(upper, zero)};
    for (int q = 0; q < 4; q++)
        sum->v[q] = VI(add_epi32)(sum->v[q], VI(madd_epi16)(x[q], vb_load(w + q * 2 * VF32_LANES)));
}
/* Signed bytes. */
KI_INLINE void vb_weights(int16_t *w, vbytes a, vbytes b) {
    const vbytes zero = VI_ZERO, lower = VI(unpacklo_epi8)(a, b), upper = VI(unpackhi_epi8)(a, b);
    const vbytes x[4] = {VI(unpacklo_epi8)(zero, lower), VI(unpackhi_epi8)(zero, lower), VI(unpacklo_epi8)(zero, upper),
                         VI(unpackhi_epi8)(zero, upper)};
    for (int q = 0; q < 4; q++) vb_store(w + q * 2 * VF32_LANES, VI(srai_epi16)(x[q], 8));
}

KI_INLINE vquad vb_quad(const vf32 *v, const ki_bounds *o) {
    vquad c;
    for (int q = 0; q < 4; q++) c.v[q] = VI(cvtps_epi32)(vf32_min(o->high, v[q]));
    return c;
}
KI_INLINE vbytes vb_requantized(vquad c, const ki_bounds *o) {
    const vbytes lower = VI(adds_epi16)(VI(packs_epi32)(c.v[0], c.v[1]), o->zero);
    const vbytes upper = VI(adds_epi16)(VI(packs_epi32)(c.v[2], c.v[3]), o->zero);
    return VI_BITS(xor)(VI(max_epi8)(VI(packs_epi16)(lower, upper), o->low), o->flip);
}

/* v rounded to nearest; halves up where v >= from, else down. */
KI_INLINE vf32 vf32_rounded(vf32 v, vf32 from) {
#if !defined(KI_ISA_AVX512)
    const vf32 whole = _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), rest = vf32_sub(v, whole);
    const vf32 is_up = _mm256_cmp_ps(v, from, _CMP_GE_OQ), one = vf32_set1(1);
    const vf32 up = _mm256_and_ps(_mm256_cmp_ps(rest, vf32_set1(0.5f), _CMP_EQ_OQ), is_up);
    const vf32 down = _mm256_andnot_ps(is_up, _mm256_cmp_ps(rest, vf32_set1(-0.5f), _CMP_EQ_OQ));
    return vf32_sub(vf32_add(whole, _mm256_and_ps(up, one)), _mm256_and_ps(down, one));
#else
    const vf32 whole = _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
               rest = vf32_sub(v, whole);
    const __mmask16 is_up = _mm512_cmp_ps_mask(v, from, _CMP_GE_OQ);
    const __mmask16 up = _mm512_mask_cmp_ps_mask(is_up, rest, vf32_set1(0.5f), _CMP_EQ_OQ);
    const __mmask16 down = _mm512_mask_cmp_ps_mask((__mmask16)~is_up, rest, vf32_set1(-0.5f), _CMP_EQ_OQ);
    return _mm512_mask_sub_ps(_mm512_mask_add_ps(whole, up, whole, vf32_set1(1)), down, whole, vf32_set1(1));
#endif
}

/* x / divisor for ``reciprocal`` = 1 / divisor and a finite x: correctly rounded, since the remainders are exact, unless it is tiny. */
KI_INLINE vf32 vf32_quotient(vf32 x, vf32 divisor, vf32 reciprocal) {
    const vf32 negative = vf32_sub(vf32_zero(), divisor);
    vf32 q = vf32_mul(x, reciprocal);
    q = vf32_fma(vf32_fma(negative, q, x), reciprocal, q);
    return vf32_fma(vf32_fma(negative, q, x), reciprocal, q);
}

#endif
