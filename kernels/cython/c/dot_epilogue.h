/* From the sums of a block to elements of y: bias, multiplier, limits, zero point. */

/* Of ``valid`` channels from ``first`` on, for ``rows`` pixels, each ``stride`` pixels of y after the other. ``fixed``: what is
 * added to sums of bytes per channel. */
typedef struct {
    const ki_dot_args *args;
    const ki_dot_out *out;
    const int32_t *sums, *fixed;
    ptrdiff_t first, valid, pixel, rows, stride;
} finish_args;

/* Half to even for |x| < 2^22: what the limits of bytes leave. */
static inline float nearest(float x) {
    const float big = 12582912.0f;
    return (x + big) - big;
}

#if defined(KI_DOT_WIDE)

static inline __m256i bfloat16s_of(__m512 x) {
#if defined(KI_DOT_AMX) || defined(KI_DOT_AVX512_BF16)
    return (__m256i)_mm512_cvtneps_pbh(x);
#else
    const __m512i bits = _mm512_castps_si512(x),
                  odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(NEAREST_EVEN)));
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}

#if defined(KI_DOT_AMX) || defined(KI_DOT_AVX512_BF16)
/* All channels of a panel to bfloat16. */
static void finish_panel(const finish_args *f) {
    const ki_dot_out *out = f->out;
    const __m512 lo = _mm512_set1_ps(out->lo), hi = _mm512_set1_ps(out->hi);
    const float *bias = out->bias ? (const float *)out->bias + f->first : NULL, *sums = (const float *)f->sums;
    const __m512 b0 = bias ? _mm512_loadu_ps(bias) : _mm512_setzero_ps();
    const __m512 b1 = bias ? _mm512_loadu_ps(bias + 16) : _mm512_setzero_ps();
    uint16_t *y = (uint16_t *)out->y + f->pixel * out->pitch + f->first;
    for (ptrdiff_t m = 0; m < f->rows; m++, sums += KI_DOT_PANEL, y += f->stride * out->pitch) {
        const __m512 x0 = _mm512_max_ps(lo, _mm512_add_ps(_mm512_loadu_ps(sums), b0));
        const __m512 x1 = _mm512_max_ps(lo, _mm512_add_ps(_mm512_loadu_ps(sums + 16), b1));
        _mm512_storeu_si512(y, (__m512i)_mm512_cvtne2ps_pbh(_mm512_min_ps(hi, x1), _mm512_min_ps(hi, x0)));
    }
}
#endif

static void finish_floats(const finish_args *f) {
    const ki_dot_out *out = f->out;
#if defined(KI_DOT_AMX) || defined(KI_DOT_AVX512_BF16)
    if (f->valid == KI_DOT_PANEL && f->args->to == KI_DOT_TO_BF16) {
        finish_panel(f);
        return;
    }
#endif
    const __m512 lo = _mm512_set1_ps(out->lo), hi = _mm512_set1_ps(out->hi);
    for (ptrdiff_t v = 0; v < f->valid; v += 16) {
        const __mmask16 mask = lanes_of(f->valid - v);
        const float *bias = out->bias;
        const __m512 b = bias ? _mm512_maskz_loadu_ps(mask, bias + f->first + v) : _mm512_setzero_ps();
        const ptrdiff_t at = f->pixel * out->pitch + f->first + v, step = f->stride * out->pitch;
        for (ptrdiff_t m = 0; m < f->rows; m++) {
            __m512 x = _mm512_add_ps(_mm512_loadu_ps((const float *)f->sums + m * KI_DOT_PANEL + v), b);
            x = _mm512_min_ps(hi, _mm512_max_ps(lo, x));
            if (f->args->to == KI_DOT_TO_BF16)
                _mm256_mask_storeu_epi16((uint16_t *)out->y + at + m * step, mask, bfloat16s_of(x));
            else
                _mm512_mask_storeu_ps((float *)out->y + at + m * step, mask, x);
        }
    }
}

static void finish_bytes(const finish_args *f) {
    const ki_dot_out *out = f->out;
    const __m512 lo = _mm512_set1_ps(out->lo), hi = _mm512_set1_ps(out->hi);
    const __m512i zero = _mm512_set1_epi32(out->zero);
    const ki_dot_to to = f->args->to;
    for (ptrdiff_t v = 0; v < f->valid; v += 16) {
        const __mmask16 mask = lanes_of(f->valid - v);
        const int32_t *bias = out->bias;
        __m512i b = _mm512_loadu_si512(f->fixed + f->first + v);
        if (bias) b = _mm512_add_epi32(b, _mm512_maskz_loadu_epi32(mask, bias + f->first + v));
        const __m512 factor = _mm512_maskz_loadu_ps(mask, out->multiplier + f->first + v);
        const ptrdiff_t size = to == KI_DOT_TO_F32 || to == KI_DOT_TO_I32 ? 4 : 1, step = f->stride * out->pitch * size;
        char *y = (char *)out->y + (f->pixel * out->pitch + f->first + v) * size;
        for (ptrdiff_t m = 0; m < f->rows; m++, y += step) {
            const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(f->sums + m * KI_DOT_PANEL + v), b);
            if (to == KI_DOT_TO_I32) {
                _mm512_mask_storeu_epi32(y, mask, sum);
                continue;
            }
            const __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), factor);
            if (to == KI_DOT_TO_F32) {
                _mm512_mask_storeu_ps(y, mask, x);
                continue;
            }
            const __m512 limited = _mm512_min_ps(hi, _mm512_max_ps(x, lo)); /* NaN becomes lo */
            const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(limited), zero);
            _mm512_mask_cvtepi32_storeu_epi8(y, mask, whole); /* the low bytes, of either type */
        }
    }
}

#else

static void finish_floats(const finish_args *f) {
    const ki_dot_out *out = f->out;
    const float *bias = out->bias ? (const float *)out->bias + f->first : NULL, lo = out->lo, hi = out->hi;
    for (ptrdiff_t m = 0; m < f->rows; m++) {
        const float *restrict sums = (const float *)f->sums + m * KI_DOT_PANEL;
        const ptrdiff_t at = (f->pixel + m * f->stride) * out->pitch + f->first;
        for (ptrdiff_t o = 0; o < f->valid; o++) {
            float x = sums[o] + (bias ? bias[o] : 0.0f);
            x = lo > x ? lo : x; /* a NaN stays */
            x = hi < x ? hi : x;
            if (f->args->to == KI_DOT_TO_BF16)
                ((uint16_t *)out->y)[at + o] = bfloat16_of(x);
            else
                ((float *)out->y)[at + o] = x;
        }
    }
}

static void finish_bytes(const finish_args *f) {
    const ki_dot_out *out = f->out;
    const int32_t *bias = out->bias ? (const int32_t *)out->bias + f->first : NULL;
    const int32_t *fixed = f->fixed + f->first;
    const float *factor = out->multiplier + f->first;
    for (ptrdiff_t m = 0; m < f->rows; m++) {
        const int32_t *sums = f->sums + m * KI_DOT_PANEL;
        const ptrdiff_t at = (f->pixel + m * f->stride) * out->pitch + f->first;
        for (ptrdiff_t o = 0; o < f->valid; o++) {
            const int32_t sum = (int32_t)((uint32_t)sums[o] + (uint32_t)fixed[o] + (uint32_t)(bias ? bias[o] : 0));
            if (f->args->to == KI_DOT_TO_I32) {
                ((int32_t *)out->y)[at + o] = sum;
                continue;
            }
            float x = (float)sum * factor[o];
            if (f->args->to == KI_DOT_TO_F32) {
                ((float *)out->y)[at + o] = x;
                continue;
            }
            x = x > out->lo ? x : out->lo; /* NaN becomes lo */
            x = out->hi < x ? out->hi : x;
            ((uint8_t *)out->y)[at + o] = (uint8_t)((int32_t)nearest(x) + out->zero);
        }
    }
}

#endif
