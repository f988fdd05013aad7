/* The rows of a thread's buffer: the inputs of each pixel of a group one tap after the other, as bfloat16 or uint8. */

#define NEAREST_EVEN 0x7fffu

/* Rounds to nearest even; a NaN stays one. Numbers below the normal range may become zeros. */
static inline uint16_t bfloat16_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = bits + NEAREST_EVEN + ((bits >> 16) & 1);
    return (uint16_t)(((bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : rounded) >> 16);
}

static inline void floats_to_row(uint16_t *restrict to, const float *restrict x, ptrdiff_t n) {
    ptrdiff_t i = 0;
#if defined(KI_DOT_AMX) || defined(KI_DOT_AVX512_BF16)
    for (; i + 32 <= n; i += 32) {
        __m512bh pair = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i));
        _mm512_storeu_si512(to + i, (__m512i)pair);
    }
    for (; i < n; i += 16) {
        __mmask16 mask = (__mmask16)(n - i >= 16 ? 0xffffu : (1u << (n - i)) - 1u);
        __m256bh one = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i));
        _mm256_mask_storeu_epi16(to + i, mask, (__m256i)one);
    }
#else
    for (; i < n; i++) to[i] = bfloat16_of(x[i]);
#endif
}

static inline void bytes_to_row(uint8_t *restrict to, const uint8_t *restrict x, ptrdiff_t n, uint8_t flip) {
    ptrdiff_t i = 0;
#if defined(KI_DOT_WIDE)
    const __m512i flips = _mm512_set1_epi8((char)flip);
    for (; i + 64 <= n; i += 64) _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(x + i), flips));
    if (i < n) {
        __mmask64 mask = (1ull << (n - i)) - 1;
        _mm512_mask_storeu_epi8(to + i, mask, _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, x + i), flips));
    }
#else
    for (; i < n; i++) to[i] = x[i] ^ flip;
#endif
}

/* ``n`` inputs from ``x`` on. */
static inline char *put(const ki_dot_args *args, char *to, const char *x, ptrdiff_t n) {
    if (args->from == KI_DOT_F32) {
        floats_to_row((uint16_t *)to, (const float *)x, n);
        return to + 2 * n;
    }
    bytes_to_row((uint8_t *)to, (const uint8_t *)x, n, args->from == KI_DOT_S8 ? 128 : 0);
    return to + n;
}

/* ``n`` inputs of pixels in the padding. */
static inline char *put_padding(const ki_dot_args *args, char *to, ptrdiff_t n) {
    const ptrdiff_t bytes = args->from == KI_DOT_F32 ? 2 * n : n;
    memset(to, args->x_zero, (size_t)bytes);
    return to + bytes;
}

/* One line of taps of a pixel whose first tap is at position ``x0`` of the line of x that begins at ``line``. */
static inline char *put_line(const ki_dot_args *args, char *to, const char *line, ptrdiff_t x0) {
    const ki_dot_axis *b = &args->axis[1];
    const ptrdiff_t size = args->x_pitch * (args->from == KI_DOT_F32 ? 4 : 1);
    if (b->dilation == 1 && args->x_pitch == args->cin) { /* taps that are neighbours in x are one run */
        const ptrdiff_t first = x0 < 0 ? (-x0 < b->taps ? -x0 : b->taps) : 0;
        ptrdiff_t end = b->in - x0 < b->taps ? b->in - x0 : b->taps;
        if (end < first) end = first;
        if (first > 0) to = put_padding(args, to, first * args->cin);
        if (end > first) to = put(args, to, line + (x0 + first) * size, (end - first) * args->cin);
        return end < b->taps ? put_padding(args, to, (b->taps - end) * args->cin) : to;
    }
    for (ptrdiff_t v = 0; v < b->taps; v++) {
        const ptrdiff_t x = x0 + v * b->dilation;
        to = x >= 0 && x < b->in ? put(args, to, line + x * size, args->cin) : put_padding(args, to, args->cin);
    }
    return to;
}

/* Fills the rows of the pixels [from, to), counted over the batch. */
static void fill_rows(const ki_dot_args *args, char *rows, ptrdiff_t from, ptrdiff_t to) {
    const ki_dot_axis *a = &args->axis[0], *b = &args->axis[1];
    const ptrdiff_t size = args->x_pitch * (args->from == KI_DOT_F32 ? 4 : 1), pitch = ki_dot_pitch(args->steps);
    const ptrdiff_t used = a->taps * b->taps * args->cin * (args->from == KI_DOT_F32 ? 2 : 1);
    const ptrdiff_t rest = args->steps * KI_DOT_STEP - used;
    ptrdiff_t column = from % b->out, line = from / b->out % a->out, image = from / b->out / a->out;
    for (ptrdiff_t p = from; p < to; p++, rows += pitch) {
        const ptrdiff_t y0 = line * a->stride - a->before, x0 = column * b->stride - b->before;
        const char *x = (const char *)args->x + image * a->in * b->in * size;
        char *at = rows;
        for (ptrdiff_t u = 0; u < a->taps; u++) {
            const ptrdiff_t y = y0 + u * a->dilation;
            if (y < 0 || y >= a->in)
                at = put_padding(args, at, b->taps * args->cin);
            else
                at = put_line(args, at, x + y * b->in * size, x0);
        }
        if (rest > 0) memset(at, 0, (size_t)rest);
        if (++column == b->out) {
            column = 0;
            if (++line == a->out) line = 0, image++;
        }
    }
}
