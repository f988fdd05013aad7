/* Vectors of bytes in plain C: 16 bytes on any processor, which the compiler turns into what SIMD there is. bytes.h says what each
 * function means. */
#ifndef KI_SIMD_BYTES_PORTABLE_H
#define KI_SIMD_BYTES_PORTABLE_H

#define EACH for (int i = 0; i < KI_BYTES; i++)

typedef struct {
    uint8_t v[KI_BYTES];
} vbytes;
typedef struct {
    int16_t v[KI_BYTES];
} vpair;
typedef struct {
    uint32_t v[KI_BYTES]; /* unsigned, so that sums wrap */
} vquad;
typedef struct {
    float low, high;
    int zero;
} ki_bounds;

KI_INLINE ki_bounds ki_bounds_of(int zero, int low, int high, int is_unsigned) {
    (void)is_unsigned; /* a byte of either kind has the low bits */
    return (ki_bounds){(float)(low - zero), (float)(high - zero), zero};
}

KI_INLINE vbytes vb_load(const void *p) {
    vbytes v;
    memcpy(&v, p, sizeof v);
    return v;
}
KI_INLINE void vb_store(void *p, vbytes v) { memcpy(p, &v, sizeof v); }
KI_INLINE vbytes vb_load_n(const void *p, size_t n) {
    vbytes v = {{0}};
    memcpy(&v, p, n < KI_BYTES ? n : KI_BYTES);
    return v;
}
KI_INLINE void vb_store_n(void *p, vbytes v, size_t n) { memcpy(p, &v, n < KI_BYTES ? n : KI_BYTES); }
KI_INLINE vbytes vb_set1(int x) {
    vbytes v;
    memset(&v, x, sizeof v);
    return v;
}
KI_INLINE vbytes vb_xor(vbytes a, vbytes b) {
    EACH a.v[i] ^= b.v[i];
    return a;
}
KI_INLINE vbytes vb_max_i8(vbytes a, vbytes b) {
    EACH a.v[i] = (int8_t)a.v[i] > (int8_t)b.v[i] ? a.v[i] : b.v[i];
    return a;
}
KI_INLINE vbytes vb_max_u8(vbytes a, vbytes b) {
    EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
}
KI_INLINE vf32 vb_floats_i8(const void *p, int k) {
    const int8_t *x = (const int8_t *)p + k * VF32_LANES;
    return (vf32){x[0], x[1], x[2], x[3]};
}
KI_INLINE vf32 vb_floats_u8(const void *p, int k) {
    const uint8_t *x = (const uint8_t *)p + k * VF32_LANES;
    return (vf32){x[0], x[1], x[2], x[3]};
}
KI_INLINE vbytes vb_natural(vbytes v) { return v; }

KI_INLINE vpair vp_zero(void) { return (vpair){{0}}; }
KI_INLINE vpair vp_set1(int x) {
    vpair v;
    EACH v.v[i] = (int16_t)x;
    return v;
}
KI_INLINE vpair vp_add(vpair a, vpair b) {
    EACH a.v[i] = (int16_t)(a.v[i] + b.v[i]);
    return a;
}
KI_INLINE vpair vp_sub(vpair a, vpair b) {
    EACH a.v[i] = (int16_t)(a.v[i] - b.v[i]);
    return a;
}
KI_INLINE vpair vp_load(const int16_t *p) {
    vpair v;
    memcpy(&v, p, sizeof v);
    return v;
}
KI_INLINE void vp_store(int16_t *p, vpair v) { memcpy(p, &v, sizeof v); }
KI_INLINE vpair vb_pairs(vbytes a, vbytes b) {
    vpair v;
    EACH v.v[i] = (int16_t)(a.v[i] + b.v[i]);
    return v;
}
KI_INLINE vquad vp_widen(vpair a) {
    vquad v;
    EACH v.v[i] = (uint32_t)a.v[i];
    return v;
}
KI_INLINE vbytes vb_high(int high, int is_unsigned) { return vb_set1(is_unsigned ? high - 128 : high); }
KI_INLINE vbytes vp_scaled(vpair a, int factor, const ki_bounds *o, vbytes high) {
    vbytes v;
    const int low = (int)o->low, most = (int)o->high;
    (void)high; /* the range has it */
    EACH {
        int c = (a.v[i] * factor + (1 << 14)) >> 15;
        c = c < low ? low : c > most ? most : c;
        v.v[i] = (uint8_t)(c + o->zero);
    }
    return v;
}

KI_INLINE vquad vq_zero(void) { return (vquad){{0}}; }
KI_INLINE vquad vq_set1(int32_t x) {
    vquad v;
    EACH v.v[i] = (uint32_t)x;
    return v;
}
KI_INLINE vquad vq_add(vquad a, vquad b) {
    EACH a.v[i] += b.v[i];
    return a;
}
KI_INLINE vquad vq_sub(vquad a, vquad b) {
    EACH a.v[i] -= b.v[i];
    return a;
}
KI_INLINE vquad vq_load(const int32_t *p) {
    vquad v;
    memcpy(&v, p, sizeof v);
    return v;
}
KI_INLINE void vq_store(int32_t *p, vquad a) { memcpy(p, &a, sizeof a); }
KI_INLINE vf32 vq_float(vquad a, int q) {
    const uint32_t *x = a.v + q * VF32_LANES;
    return (vf32){(float)(int32_t)x[0], (float)(int32_t)x[1], (float)(int32_t)x[2], (float)(int32_t)x[3]};
}
KI_INLINE void vb_dot(vquad *sum, vbytes a, vbytes b, const int16_t *w) {
    EACH sum->v[i] += (uint32_t)(a.v[i] * w[2 * i] + b.v[i] * w[2 * i + 1]);
}
KI_INLINE void vb_weights(int16_t *w, vbytes a, vbytes b) {
    EACH {
        w[2 * i] = (int8_t)a.v[i];
        w[2 * i + 1] = (int8_t)b.v[i];
    }
}

KI_INLINE vquad vb_quad(const vf32 *v, const ki_bounds *o) {
    vquad c;
    EACH {
        float x = v[i / VF32_LANES][i % VF32_LANES];
        x = x > o->low ? x : o->low; /* NaN, too */
        x = x < o->high ? x : o->high;
        c.v[i] = (uint32_t)(int32_t)ki_nearest(x);
    }
    return c;
}
KI_INLINE vbytes vb_requantized(vquad c, const ki_bounds *o) {
    vbytes v;
    EACH v.v[i] = (uint8_t)(c.v[i] + (uint32_t)o->zero);
    return v;
}

/* v rounded to nearest; halves up where v >= from, else down. Beyond 2^22 v is whole or its rounding does not matter. */
KI_INLINE vf32 vf32_rounded(vf32 v, vf32 from) {
    for (int i = 0; i < VF32_LANES; i++) {
        const float x = v[i], whole = ki_nearest(x), rest = x - whole;
        if (!(x < 4194304.0f && x > -4194304.0f)) continue;
        v[i] = rest == 0.5f && x >= from[i] ? whole + 1 : rest == -0.5f && !(x >= from[i]) ? whole - 1 : whole;
    }
    return v;
}
KI_INLINE vf32 vf32_quotient(vf32 x, vf32 divisor, vf32 reciprocal) {
    (void)reciprocal; /* its fma rounds twice */
    return vf32_div(x, divisor);
}

#undef EACH

#endif
