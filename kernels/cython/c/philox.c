/* Random numbers on one instruction set: blocks of groups side by side, so that the rounds become SIMD. */
#define _GNU_SOURCE
#include "philox.h"

#include <math.h>
#include <string.h>

#include "functions.h"
#include "simd/simd.h"
#include "table.h"

enum { GROUPS = 64, NUMBERS = 4 * GROUPS };

/* The numbers of GROUPS groups from ``first`` on, in the groups' order; what is beyond ``groups`` is of no use. */
static void KI_NAME(u32_philox_block)(const ki_philox_args *a, ptrdiff_t first, ptrdiff_t groups, uint32_t *to) {
    uint32_t c0[GROUPS], c1[GROUPS], c2[GROUPS], c3[GROUPS];
    for (int i = 0; i < GROUPS; i++) {
        const ptrdiff_t at = first + i < groups ? first + i : groups - 1;
        const uint64_t low = a->low + (a->offsets ? a->offsets[at] : (uint64_t)at);
        const uint64_t high = a->high + (low < a->low);
        c0[i] = (uint32_t)low, c1[i] = (uint32_t)(low >> 32);
        c2[i] = (uint32_t)high, c3[i] = (uint32_t)(high >> 32);
    }
    uint32_t k0 = (uint32_t)a->key, k1 = (uint32_t)(a->key >> 32);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        IVDEP for (int i = 0; i < GROUPS; i++) {
            const uint64_t p = (uint64_t)c0[i] * 0xD2511F53u, q = (uint64_t)c2[i] * 0xCD9E8D57u;
            c0[i] = (uint32_t)(q >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)q;
            c2[i] = (uint32_t)(p >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)p;
        }
    }
    for (int i = 0; i < GROUPS; i++) {
        to[4 * i] = c0[i], to[4 * i + 1] = c1[i], to[4 * i + 2] = c2[i], to[4 * i + 3] = c3[i];
    }
}

/* From 0 up to, not including, 1: the bits are the mantissa of a number from 1 to 2. */
KI_INLINE float KI_NAME(f32_philox_unit)(uint32_t bits) {
    return ki_float((int32_t)((bits & 0x7fffffu) | 0x3f800000u)) - 1.0f;
}

static void KI_NAME(f32_philox_units)(const uint32_t *bits, float *y) {
    for (int i = 0; i < NUMBERS; i++) y[i] = KI_NAME(f32_philox_unit)(bits[i]);
}

/* Box and Muller: two normal numbers of two uniform ones. With libm's float functions these are TensorFlow's bits. */
static void KI_NAME(f32_philox_normals)(const uint32_t *bits, float *y) {
    for (int i = 0; i < NUMBERS; i += 2) {
        const float u = KI_NAME(f32_philox_unit)(bits[i]);
        const float angle = (float)(2 * M_PI * (double)KI_NAME(f32_philox_unit)(bits[i + 1]));
        const float radius = sqrtf(-2.0f * logf(u < 1e-7f ? 1e-7f : u));
        float sine, cosine;
#if defined(__GLIBC__)
        sincosf(angle, &sine, &cosine);
#else
        sine = sinf(angle), cosine = cosf(angle);
#endif
        y[i] = sine * radius, y[i + 1] = cosine * radius;
    }
}

#define PHILOX(name, T, MAKE)                                                                                          \
    static void KI_NAME(name)(const ki_philox_args *a) {                                                               \
        const ptrdiff_t groups = (a->count + 3) / 4;                                                                   \
        _Alignas(64) uint32_t bits[NUMBERS];                                                                           \
        _Alignas(64) T last[NUMBERS];                                                                                  \
        for (ptrdiff_t g = 0; g < groups; g += GROUPS) {                                                               \
            const ptrdiff_t left = a->count - 4 * g;                                                                   \
            T *y = (T *)a->y + 4 * g, *to = left < NUMBERS ? last : y;                                                 \
            KI_NAME(u32_philox_block)(a, g, groups, bits);                                                             \
            MAKE(bits, to);                                                                                            \
            if (to == last) memcpy(y, last, (size_t)left * sizeof(T));                                                 \
        }                                                                                                              \
    }

#define COPY(bits, to) memcpy(to, bits, sizeof bits)
PHILOX(u32_philox_bits, uint32_t, COPY)
PHILOX(f32_philox_uniform, float, KI_NAME(f32_philox_units))
PHILOX(f32_philox_normal, float, KI_NAME(f32_philox_normals))

ki_philox *const KI_NAME(ki_philox_bits)[KI_DTYPES] = {[KI_U32] = KI_NAME(u32_philox_bits)};
ki_philox *const KI_NAME(ki_philox_uniform)[KI_DTYPES] = {[KI_F32] = KI_NAME(f32_philox_uniform)};
ki_philox *const KI_NAME(ki_philox_normal)[KI_DTYPES] = {[KI_F32] = KI_NAME(f32_philox_normal)};
