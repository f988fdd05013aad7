/* The one table of C kernels: filled once per instruction set (table.c), chosen once per process (cpu.c). */
#ifndef KI_TABLE_H
#define KI_TABLE_H

#include "igemm.h"

typedef struct {
    const char *isa;
    int f32_lanes, f64_lanes;
    /* Most pixels of a tile for 1 .. KI_MAX_NV vectors; 0: no such tile. */
    int tile_mr[KI_MAX_NV];
    ki_product *f32_product, *f64_product;
    ki_pack *f32_pack, *f64_pack;
} ki_table;

#define KI_DECLARE(isa)                                                                                                \
    extern const ki_table ki_table__##isa;                                                                             \
    ki_product f32_product__##isa, f64_product__##isa;                                                                       \
    ki_pack f32_pack__##isa, f64_pack__##isa;

KI_DECLARE(portable)
KI_DECLARE(avx2)
KI_DECLARE(avx512)

#undef KI_DECLARE

#endif
