/* The table of one instruction set. */
#include "table.h"

#include "simd/simd.h"

/* An op's row, after a comma. */
#define ROW(type, name, isa) , .name = KI_NAME(ki_##name)

const ki_table KI_NAME(ki_table) = {
    .isa = KI_ISA_NAME,
    .f32_lanes = VF32_LANES,
    .f64_lanes = VF64_LANES,
#if defined(KI_ISA_AVX512)
    .tile_mr = {10, 10, 9, 6, 5},
    .outer_mr = {12, 12, 9},
#else
    .tile_mr = {10, 6, 4},
    .outer_mr = {12, 6, 4},
#endif
    .maps = KI_NAME(ki_maps),
    .winograd = KI_NAME(ki_winograd),
    .winograd_pack = KI_NAME(f32_winograd_pack),
    .pixels = KI_NAME(u8_pixels),
    .bf16_windows = KI_NAME(ki_bf16_windows),
    .bf16_maps = KI_NAME(ki_bf16_maps),
    .bf16_mean = KI_NAME(bf16_mean),
    .channels_last = KI_NAME(f32_channels_last),
    .transpose = KI_NAME(u8_transpose),
    .probe_flops = KI_NAME(f32_probe_flops),
    .probe_read = KI_NAME(f32_probe_read),
    .run_map = ki_run_map,
    .run_chain = ki_run_chain,
    .concat = ki_concat,
    .top_k = ki_top_k,
    .cumulative = ki_cumulative KI_ROWS(ROW, ),
};
