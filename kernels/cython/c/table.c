/* The table of one instruction set. */
#include "table.h"

#include "simd/simd.h"

const ki_table KI_NAME(ki_table) = {
    .isa = KI_ISA_NAME,
    .f32_lanes = VF32_LANES,
    .f64_lanes = VF64_LANES,
#if defined(KI_ISA_AVX512)
    .tile_mr = {13, 12, 9, 6, 5},
#else
    .tile_mr = {12, 6, 4},
#endif
    .f32_product = KI_NAME(f32_product),
    .f64_product = KI_NAME(f64_product),
    .f32_pack = KI_NAME(f32_pack),
    .f64_pack = KI_NAME(f64_pack),
};
