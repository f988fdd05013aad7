/* The instruction sets of narrow products; dot.c is compiled once for each, with -DKI_DOT_<NAME>. */
#ifndef KI_DOT_SETS_H
#define KI_DOT_SETS_H

#include "dot.h"

#if defined(KI_X86)
#define KI_DOT_SETS(X) X(amx) X(avx512_bf16) X(avx512_vnni) X(avx512) X(avx2_vnni) X(avx2) X(portable)
#else
#define KI_DOT_SETS(X) X(portable)
#endif

#define KI_DOT_DECLARE(set) extern const ki_dot_table ki_dot_table__##set;
KI_DOT_SETS(KI_DOT_DECLARE)
#undef KI_DOT_DECLARE

#endif
