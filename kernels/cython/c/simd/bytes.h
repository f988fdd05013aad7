/* Vectors of bytes for quantised kernels, one version per instruction set; simd.h includes the vectors of floats.
 *
 * vbytes is a vector of KI_BYTES = 4 * VF32_LANES bytes; vquad is its elements in 32 bits, vpair in 16 bits. Their parts hold them in
 * the order of unpacking: vector q of a vquad has bytes 16 * l + 4 * q .. + 3 in its 128-bit lane l, so that neither unpacking nor
 * packing crosses lanes. KI_PLACE(i) is the place of byte i in an array that a vquad was stored to.
 *   vb_load(p), vb_store(p, v), vb_load_n(p, n), vb_store_n(p, v, n)    as vf32's; the bytes beyond n are read as 0
 *   vb_xor, vb_max_i8, vb_max_u8                                        byte by byte
 *   vb_floats_i8(p, k), vb_floats_u8(p, k)        bytes k * VF32_LANES .. of p as floats (their natural order)
 *   vb_pairs(a, b)           a + b of unsigned bytes;  vp_add, vp_sub, vp_widen (of words that are not negative)
 *   vp_scaled(a, f, &o, high)   clamp(round(a * f / 2^15) + zero, low, high) as bytes in their natural order
 *   vb_dot(&sum, a, b, w)    sum[i] += a[i] * w[i][0] + b[i] * w[i][1] for unsigned bytes and words w, which vb_weights makes
 *   vb_quad(v, &high)        floats as integers: to nearest, halves to the even one, at most ``high``; NaN is the least one
 *   vb_requantized(c, &o)    clamp(c + zero, low, high) of integers in that order; vb_natural puts bytes in their natural order
 */
#ifndef KI_SIMD_BYTES_H
#define KI_SIMD_BYTES_H

#include <stdint.h>
#include <string.h>

#include "simd.h"

enum { KI_BYTES = 4 * VF32_LANES };

/* Byte i of 16 l + 4 q + j lies in vector q, lane l, element j. */
#define KI_PLACE(i) ((i) / 4 % 4 * VF32_LANES + (i) / 16 * 4 + (i) % 4)

/* x rounded to nearest, halves to the even one, for |x| <= 2^22: adding 1.5 * 2^23 does it. */
KI_INLINE float ki_nearest(float x) { return (x + 12582912.0f) - 12582912.0f; }

#if defined(KI_ISA_PORTABLE)
#include "bytes_portable.h"
#else
#include "bytes_x86.h"
#endif

KI_INLINE vbytes vb_load_part(const void *p, ptrdiff_t valid) {
    return valid < KI_BYTES ? vb_load_n(p, (size_t)valid) : vb_load(p);
}
KI_INLINE void vb_store_part(void *p, vbytes v, ptrdiff_t valid) {
    if (valid < KI_BYTES)
        vb_store_n(p, v, (size_t)valid);
    else
        vb_store(p, v);
}

#endif
