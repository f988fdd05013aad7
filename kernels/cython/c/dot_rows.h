/* The rows of a thread's buffer: the inputs of each pixel of a group one tap after the other, as bfloat16 or uint8. */

#define NEAREST_EVEN 0x7fffu

/* Rounds to nearest even; a NaN stays one. Numbers below the normal range may become zeros. */
static inline uint16_t bfloat16_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = bits + NEAREST_EVEN + ((bits >> 16) & 1);
    return (uint16_t)(((bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : rounded) >> 16);
}

#if defined(KI_DOT_WIDE)
static inline __mmask16 lanes_of(ptrdiff_t n) { return (__mmask16)(n >= 16 ? 0xffffu : n > 0 ? (1u << n) - 1u : 0); }
#endif

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

/* The end of a row: a call of memset for each would take longer. */
static inline void put_zeros(char *to, ptrdiff_t n) {
#if defined(KI_DOT_WIDE)
    for (; n >= 64; n -= 64, to += 64) _mm512_storeu_si512(to, _mm512_setzero_si512());
    if (n > 0) _mm512_mask_storeu_epi8(to, (1ull << n) - 1, _mm512_setzero_si512());
#else
    memset(to, 0, (size_t)n);
#endif
}

static inline ptrdiff_t element_bytes(const ki_dot_args *args) {
    return args->from == KI_DOT_F32 ? 4 : args->from == KI_DOT_BF16 ? 2 : 1;
}

/* Bytes between the three parts of a row that is split. */
static inline ptrdiff_t part_bytes(const ki_dot_args *args) {
    return args->axis[0].taps * args->axis[1].taps * args->cin * 2;
}

/* Floats as [high, low, high], each part ``part`` numbers after the other: a float is nearly the sum of two bfloat16. */
static inline void floats_to_parts(uint16_t *restrict to, ptrdiff_t part, const float *restrict x, ptrdiff_t n) {
#if defined(KI_DOT_AMX) || defined(KI_DOT_AVX512_BF16)
    for (ptrdiff_t i = 0; i < n; i += 16) {
        const __mmask16 lanes = lanes_of(n - i);
        const __m512 all = _mm512_maskz_loadu_ps(lanes, x + i);
        const __m256i high = (__m256i)_mm512_cvtneps_pbh(all);
        const __m512 wide = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
        const __m512 low = _mm512_sub_ps(all, wide);
        const __mmask16 known = _mm512_cmp_ps_mask(_mm512_sub_ps(low, low), low, _CMP_ORD_Q); /* finite */
        const __m256i rest = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_mov_ps(known, low));
        _mm256_mask_storeu_epi16(to + i, lanes, high);
        _mm256_mask_storeu_epi16(to + part + i, lanes, rest);
        _mm256_mask_storeu_epi16(to + 2 * part + i, lanes, high);
    }
#else
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint16_t half = bfloat16_of(x[i]);
        const uint32_t bits = (uint32_t)half << 16;
        float high;
        memcpy(&high, &bits, sizeof high);
        to[i] = to[2 * part + i] = half;
        to[part + i] =
            (bits & 0x7f800000u) == 0x7f800000u ? 0 : bfloat16_of(x[i] - high); /* none of infinity and NaN */
    }
#endif
}

/* ``n`` inputs from ``x`` on. */
static inline char *put(const ki_dot_args *args, char *to, const char *x, ptrdiff_t n) {
    if (args->split) {
        floats_to_parts((uint16_t *)to, part_bytes(args) / 2, (const float *)x, n);
        return to + 2 * n;
    }
    if (args->from == KI_DOT_F32) {
        floats_to_row((uint16_t *)to, (const float *)x, n);
        return to + 2 * n;
    }
    const ptrdiff_t bytes = args->from == KI_DOT_BF16 ? 2 * n : n;
    bytes_to_row((uint8_t *)to, (const uint8_t *)x, bytes, args->from == KI_DOT_S8 ? 128 : 0);
    return to + bytes;
}

/* ``n`` inputs of pixels in the padding. */
static inline char *put_padding(const ki_dot_args *args, char *to, ptrdiff_t n) {
    const ptrdiff_t bytes = ki_dot_is_bytes(args->from) ? n : 2 * n;
    memset(to, args->x_zero, (size_t)bytes);
    if (args->split)
        for (int part = 1; part < 3; part++) memset(to + part * part_bytes(args), 0, (size_t)bytes);
    return to + bytes;
}

/* One line of taps of a pixel whose first tap is at position ``x0`` of the line of x that begins at ``line``. */
static inline void put_line(const ki_dot_args *args, char *to, const char *line, ptrdiff_t x0) {
    const ki_dot_axis *b = &args->axis[1];
    const ptrdiff_t size = args->x_pitch * element_bytes(args);
    for (ptrdiff_t v = 0; v < b->taps; v++) {
        const ptrdiff_t x = x0 + v * b->dilation;
        to = x >= 0 && x < b->in ? put(args, to, line + x * size, args->cin) : put_padding(args, to, args->cin);
    }
}

/* The same ``n`` inputs of ``pixels`` pixels that lie ``step`` bytes apart, into rows ``pitch`` bytes apart. */
static inline void put_runs(const ki_dot_args *args, char *to, ptrdiff_t pitch, const char *x, ptrdiff_t step,
                            ptrdiff_t n, ptrdiff_t pixels) {
#if defined(KI_DOT_WIDE)
    const ptrdiff_t bytes = args->from == KI_DOT_F32 ? 0 : args->from == KI_DOT_BF16 ? 2 * n : n;
    const __m512i flips = _mm512_set1_epi8(args->from == KI_DOT_S8 ? (char)128 : 0);
    const __mmask64 mask = bytes % 64 ? (1ull << bytes % 64) - 1 : 0;
    if (bytes > 0 && bytes <= 64 * 4) { /* short runs, without the loop over a run */
        for (ptrdiff_t p = 0; p < pixels; p++, to += pitch, x += step) {
            ptrdiff_t i = 0;
            for (; i + 64 <= bytes; i += 64)
                _mm512_storeu_si512(to + i, _mm512_xor_si512(_mm512_loadu_si512(x + i), flips));
            if (mask)
                _mm512_mask_storeu_epi8(to + i, mask, _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, x + i), flips));
        }
        return;
    }
#endif
    for (ptrdiff_t p = 0; p < pixels; p++, to += pitch, x += step) put(args, to, x, n);
}

/* The taps of one line of the filter for the pixels [c0, c1) of a line of y; ``line``: the line of x, or NULL for padding. */
static void fill_line(const ki_dot_args *args, char *rows, ptrdiff_t pitch, const char *line, ptrdiff_t c0,
                      ptrdiff_t c1) {
    const ki_dot_axis *b = &args->axis[1];
    const ptrdiff_t size = args->x_pitch * element_bytes(args), reach = (b->taps - 1) * b->dilation;
    const ptrdiff_t tap = args->cin * (ki_dot_is_bytes(args->from) ? 1 : 2);
    if (line == NULL) {
        for (ptrdiff_t c = c0; c < c1; c++, rows += pitch) put_padding(args, rows, b->taps * args->cin);
        return;
    }
    /* Pixels whose taps are all inside. */
    ptrdiff_t first = (b->before + b->stride - 1) / b->stride;
    ptrdiff_t end = b->in - reach + b->before > 0 ? (b->in - 1 - reach + b->before) / b->stride + 1 : 0;
    if (first < c0) first = c0;
    if (end > c1) end = c1;
    if (first >= end) first = end = c1;
    for (ptrdiff_t c = c0; c < first; c++) put_line(args, rows + (c - c0) * pitch, line, c * b->stride - b->before);
    for (ptrdiff_t c = end; c < c1; c++) put_line(args, rows + (c - c0) * pitch, line, c * b->stride - b->before);
    const char *x = line + (first * b->stride - b->before) * size;
    rows += (first - c0) * pitch;
    if (end <= first)
        ;
    else if (b->dilation == 1 && args->x_pitch == args->cin) /* taps that are neighbours in x are one run */
        put_runs(args, rows, pitch, x, b->stride * size, b->taps * args->cin, end - first);
    else
        for (ptrdiff_t v = 0; v < b->taps; v++)
            put_runs(args, rows + v * tap, pitch, x + v * b->dilation * size, b->stride * size, args->cin, end - first);
}

/* Fills the rows of the pixels [from, to), counted over the batch. */
static void fill_rows(const ki_dot_args *args, char *rows, ptrdiff_t from, ptrdiff_t to) {
    const ki_dot_axis *a = &args->axis[0], *b = &args->axis[1];
    const ptrdiff_t size = args->x_pitch * element_bytes(args), pitch = ki_dot_pitch(args->steps);
    const ptrdiff_t taps = b->taps * args->cin * (ki_dot_is_bytes(args->from) ? 1 : 2);
    const ptrdiff_t used = a->taps * taps * (args->split ? 3 : 1);
    const ptrdiff_t rest = args->steps * KI_DOT_STEP - used;
    while (from < to) {
        const ptrdiff_t column = from % b->out, line = from / b->out % a->out, image = from / b->out / a->out;
        const ptrdiff_t pixels = b->out - column < to - from ? b->out - column : to - from;
        const char *x = (const char *)args->x + image * a->in * b->in * size;
        for (ptrdiff_t u = 0; u < a->taps; u++) {
            const ptrdiff_t y = line * a->stride - a->before + u * a->dilation;
            const char *here = y >= 0 && y < a->in ? x + y * b->in * size : NULL;
            fill_line(args, rows + u * taps, pitch, here, column, column + pixels);
        }
        if (rest > 0)
            for (ptrdiff_t p = 0; p < pixels; p++) put_zeros(rows + p * pitch + used, rest);
        rows += pixels * pitch;
        from += pixels;
    }
}
