/* The table of one instruction set. */
#include "table.h"

#include "simd/simd.h"

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
    .f32_product = KI_NAME(f32_product),
    .f64_product = KI_NAME(f64_product),
    .f32_siblings = KI_NAME(f32_siblings),
    .f64_siblings = KI_NAME(f64_siblings),
    .f32_pack = KI_NAME(f32_pack),
    .f64_pack = KI_NAME(f64_pack),
    .winograd = KI_NAME(ki_winograd),
    .unary = KI_NAME(ki_unary),
    .binary = KI_NAME(ki_binary),
    .max_pool = KI_NAME(ki_max_pool),
    .average_pool = KI_NAME(ki_average_pool),
    .depthwise = KI_NAME(ki_depthwise),
    .softmax = KI_NAME(ki_softmax),
    .batch_norm = KI_NAME(ki_batch_norm),
    .resize = KI_NAME(ki_resize),
    .int_matmul = KI_NAME(ki_int_matmul),
    .max_pool_grad = KI_NAME(ki_max_pool_grad),
    .average_pool_grad = KI_NAME(ki_average_pool_grad),
    .filter_grad = KI_NAME(ki_filter_grad),
    .depthwise_input_grad = KI_NAME(ki_depthwise_input_grad),
    .depthwise_filter_grad = KI_NAME(ki_depthwise_filter_grad),
    .turn = KI_NAME(ki_turn),
    .cross_entropy = KI_NAME(ki_cross_entropy),
    .reduce = KI_NAME(ki_reduce),
    .probe_flops = KI_NAME(f32_probe_flops),
    .probe_read = KI_NAME(f32_probe_read),
    .run_map = ki_run_map,
    .concat = ki_concat,
};
