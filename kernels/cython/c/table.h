/* The one table of C kernels: filled once per instruction set (table.c), chosen once per process (cpu.c).
 *
 * A function is named after its element type, op and instruction set, and a part of a kernel after what it is part of:
 * f32_softmax__avx512, f32_softmax_line__avx512, f32_gemm_6x4v__avx512 (a tile of 6 pixels x 4 vectors). KI_NAME
 * (simd/simd.h) adds the instruction set. So it is known in profiles and in the reports of sanitizers, static functions
 * included. An op's kernels for all element types are ki_softmax__avx512; what has no instruction set is compiled once
 * for all (ki_concat). */
#ifndef KI_TABLE_H
#define KI_TABLE_H

#include "backward.h"
#include "batch_statistics.h"
#include "bfloat16.h"
#include "chain.h"
#include "concat.h"
#include "cross_entropy.h"
#include "cumulative.h"
#include "dtypes.h"
#include "elementwise.h"
#include "igemm.h"
#include "int_matmul.h"
#include "lrn.h"
#include "normalization.h"
#include "order.h"
#include "pixels.h"
#include "philox.h"
#include "probe.h"
#include "quantized.h"
#include "reduce.h"
#include "resize.h"
#include "softmax.h"
#include "transpose.h"
#include "windows.h"
#include "winograd.h"

/* The ops' kernels: X(type of the functions, name, isa). A row is ki_<name>__<isa>[KI_DTYPES], which the op's source defines;
 * NULL: not for this element type. */
#define KI_ROWS(X, isa)                                                                                                \
    X(ki_product, product, isa)                                                                                        \
    X(ki_siblings, siblings, isa)                                                                                      \
    X(ki_pack, pack, isa)                                                                                              \
    X(ki_window, max_pool, isa)                                                                                        \
    X(ki_window, average_pool, isa)                                                                                    \
    X(ki_window, depthwise, isa)                                                                                       \
    X(ki_batch_norm, batch_norm, isa)                                                                                  \
    X(ki_batch_statistics, batch_statistics, isa)                                                                      \
    X(ki_lrn, lrn, isa)                                                                                                \
    X(ki_softmax, softmax, isa)                                                                                        \
    X(ki_reduce, reduce_sum, isa)                                                                                      \
    X(ki_reduce, reduce_mean, isa)                                                                                     \
    X(ki_reduce, reduce_max, isa)                                                                                      \
    X(ki_reduce, reduce_min, isa)                                                                                      \
    X(ki_reduce, reduce_prod, isa)                                                                                     \
    X(ki_philox, philox_bits, isa)                                                                                     \
    X(ki_philox, philox_uniform, isa)                                                                                  \
    X(ki_philox, philox_normal, isa)                                                                                   \
    X(ki_resize, resize, isa)                                                                                          \
    X(ki_int_matmul, int_matmul, isa)                                                                                  \
    X(ki_backward, max_pool_grad, isa)                                                                                 \
    X(ki_backward, average_pool_grad, isa)                                                                             \
    X(ki_backward, filter_grad, isa)                                                                                   \
    X(ki_backward, depthwise_input_grad, isa)                                                                          \
    X(ki_backward, depthwise_filter_grad, isa)                                                                         \
    X(ki_rotate, rotate, isa)                                                                                          \
    X(ki_cross_entropy, cross_entropy, isa)                                                                            \
    X(ki_quantized_map, quantize, isa)                                                                                 \
    X(ki_quantized_map, dequantize, isa)                                                                               \
    X(ki_quantized_map, requantize, isa)                                                                               \
    X(ki_quantized_map, quantized_add, isa)                                                                            \
    X(ki_quantized_map, quantized_mul, isa)                                                                            \
    X(ki_quantized_window, quantized_average_pool, isa)                                                                \
    X(ki_quantized_window, quantized_depthwise, isa)

#define KI_FIELD(type, name, isa) type *const *name;
typedef struct {
    const char *isa;
    int f32_lanes, f64_lanes;
    /* Most pixels of a tile of ``product`` for 1 .. KI_MAX_NV vectors; 0: no such tile. */
    int tile_mr[KI_MAX_NV];
    /* Most rows of a tile of ``filter_grad`` for 1 .. KI_OUTER_NV vectors. */
    int outer_mr[KI_OUTER_NV];
    KI_ROWS(KI_FIELD, )
    const ki_map_kind *maps; /* the last one has no name */
    const ki_winograd_kind *winograd; /* KI_WINOGRAD_KINDS */
    ki_winograd_pack *winograd_pack;
    ki_pixels *pixels;
    ki_window *const *bf16_windows; /* KI_BF16_WINDOWS */
    const ki_bf16_map *bf16_maps;   /* the last one has no name */
    ki_bf16_mean *bf16_mean;
    ki_channels_last *channels_last;
    ki_transpose *transpose;
    ki_probe_flops *probe_flops;
    ki_probe_read *probe_read;
    /* The same in every table. */
    void (*run_map)(const ki_map_args *);
    void (*run_chain)(const ki_chain_args *);
    void (*concat)(const ki_concat_args *);
    void (*top_k)(const ki_top_k_args *);
    void (*cumulative)(const ki_cumulative_args *);
} ki_table;
#undef KI_FIELD

#define KI_DECLARE_ROW(type, name, isa) extern type *const ki_##name##__##isa[KI_DTYPES];
#define KI_DECLARE(isa)                                                                                                \
    extern const ki_table ki_table__##isa;                                                                             \
    KI_ROWS(KI_DECLARE_ROW, isa)                                                                                       \
    extern const ki_map_kind ki_maps__##isa[];                                                                         \
    extern const ki_winograd_kind ki_winograd__##isa[KI_WINOGRAD_KINDS];                                               \
    ki_winograd_pack f32_winograd_pack__##isa;                                                                         \
    ki_pixels u8_pixels__##isa;                                                                                        \
    extern ki_window *const ki_bf16_windows__##isa[KI_BF16_WINDOWS];                                                   \
    extern const ki_bf16_map ki_bf16_maps__##isa[];                                                                    \
    ki_bf16_mean bf16_mean__##isa;                                                                                     \
    ki_channels_last f32_channels_last__##isa;                                                                         \
    ki_transpose u8_transpose__##isa;                                                                                  \
    ki_probe_flops f32_probe_flops__##isa;                                                                             \
    ki_probe_read f32_probe_read__##isa;

KI_DECLARE(portable)
KI_DECLARE(avx2)
KI_DECLARE(avx512)

#undef KI_DECLARE
#undef KI_DECLARE_ROW

#endif
