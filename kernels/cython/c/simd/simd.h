/* One small vector API, one header per instruction set; a source is compiled once for each with -DKI_ISA_<NAME>.
 *
 * vf32 / vf64 are vectors of VF32_LANES floats / VF64_LANES doubles:
 *   zero, set1(x), load(p), store(p, v)      p needs only the element's alignment
 *   load_n(p, n), store_n(p, v, n)           the first min(n, lanes) elements; the others are read as 0 / left alone
 *   add, sub, mul, div                       lane by lane
 *   fma(a, b, c)                             a * b + c; rounded once except in portable C
 *   max(a, b), min(a, b)                     b if either is NaN: max(limit, x) keeps a NaN in x
 *   nan_max(a, b)                            NaN if either is
 * KI_VECTOR_REGISTERS: how many of them the processor has.
 */
#ifndef KI_SIMD_H
#define KI_SIMD_H

#define KI_CAT_(a, b) a##b
#define KI_CAT(a, b) KI_CAT_(a, b)

#if defined(KI_ISA_AVX512)
#include "avx512.h"
#define KI_ISA_NAME "avx512"
#define KI_NAME(name) KI_CAT(name, __avx512)
#elif defined(KI_ISA_AVX2)
#include "avx2.h"
#define KI_ISA_NAME "avx2"
#define KI_NAME(name) KI_CAT(name, __avx2)
#elif defined(KI_ISA_PORTABLE)
#include "portable.h"
#define KI_ISA_NAME "portable"
#define KI_NAME(name) KI_CAT(name, __portable)
#else
#error "define one of KI_ISA_PORTABLE, KI_ISA_AVX2, KI_ISA_AVX512"
#endif

/* The name of a register tile of MR rows by NV vectors: op_6x4v. */
#define KI_TILE_NAME(op, MR, NV) KI_CAT(KI_CAT(op##_, MR), KI_CAT(x, KI_CAT(NV, v)))

#define KI_INLINE static inline __attribute__((always_inline))

/* Before a loop whose arrays overlap element by element or not at all. */
#define IVDEP _Pragma("GCC ivdep")

#endif
