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
#include "concat.h"
#include "cross_entropy.h"
#include "dtypes.h"
#include "elementwise.h"
#include "igemm.h"
#include "int_matmul.h"
#include "normalization.h"
#include "probe.h"
#include "reduce.h"
#include "resize.h"
#include "softmax.h"
#include "windows.h"
#include "winograd.h"

/* NULL in a row of element types: no such kernel. */
typedef struct {
    const char *isa;
    int f32_lanes, f64_lanes;
    /* Most pixels of a tile for 1 .. KI_MAX_NV vectors; 0: no such tile. */
    int tile_mr[KI_MAX_NV];
    ki_product *f32_product, *f64_product;
    ki_siblings *f32_siblings, *f64_siblings;
    ki_pack *f32_pack, *f64_pack;
    const ki_winograd_kind *winograd; /* KI_WINOGRAD_KINDS */
    ki_map *const (*unary)[KI_DTYPES];  /* [ki_unary_op] */
    ki_map *const (*binary)[KI_DTYPES]; /* [ki_binary_op] */
    ki_window *const *max_pool, *const *average_pool, *const *depthwise;
    ki_softmax *const *softmax;
    ki_batch_norm *const *batch_norm;
    ki_resize *const *resize;
    ki_int_matmul *const *int_matmul;
    /* Most rows of a tile of ``filter_grad`` for 1 .. KI_OUTER_NV vectors. */
    int outer_mr[KI_OUTER_NV];
    ki_backward *const *max_pool_grad, *const *average_pool_grad, *const *filter_grad;
    ki_backward *const *depthwise_input_grad, *const *depthwise_filter_grad;
    ki_turn *const *turn;
    ki_cross_entropy *const *cross_entropy;
    ki_reduce *const (*reduce)[KI_DTYPES]; /* [ki_reduce_op] */
    ki_probe_flops *probe_flops;
    ki_probe_read *probe_read;
    /* The same in every table. */
    void (*run_map)(const ki_map_args *);
    void (*concat)(const ki_concat_args *);
} ki_table;

#define KI_DECLARE(isa)                                                                                                \
    extern const ki_table ki_table__##isa;                                                                             \
    ki_product f32_product__##isa, f64_product__##isa;                                                                 \
    ki_siblings f32_siblings__##isa, f64_siblings__##isa;                                                              \
    ki_pack f32_pack__##isa, f64_pack__##isa;                                                                          \
    extern const ki_winograd_kind ki_winograd__##isa[KI_WINOGRAD_KINDS];                                               \
    extern ki_map *const ki_unary__##isa[KI_UNARY_OPS][KI_DTYPES], *const ki_binary__##isa[KI_BINARY_OPS][KI_DTYPES];  \
    extern ki_window *const ki_max_pool__##isa[KI_DTYPES], *const ki_average_pool__##isa[KI_DTYPES];                   \
    extern ki_window *const ki_depthwise__##isa[KI_DTYPES];                                                            \
    extern ki_softmax *const ki_softmax__##isa[KI_DTYPES];                                                             \
    extern ki_batch_norm *const ki_batch_norm__##isa[KI_DTYPES];                                                       \
    extern ki_resize *const ki_resize__##isa[KI_DTYPES];                                                               \
    extern ki_int_matmul *const ki_int_matmul__##isa[KI_DTYPES];                                                       \
    extern ki_backward *const ki_max_pool_grad__##isa[KI_DTYPES], *const ki_average_pool_grad__##isa[KI_DTYPES];       \
    extern ki_backward *const ki_filter_grad__##isa[KI_DTYPES], *const ki_depthwise_input_grad__##isa[KI_DTYPES];      \
    extern ki_backward *const ki_depthwise_filter_grad__##isa[KI_DTYPES];                                              \
    extern ki_turn *const ki_turn__##isa[KI_DTYPES];                                                                   \
    extern ki_cross_entropy *const ki_cross_entropy__##isa[KI_DTYPES];                                                 \
    extern ki_reduce *const ki_reduce__##isa[KI_REDUCE_OPS][KI_DTYPES];                                                \
    ki_probe_flops f32_probe_flops__##isa;                                                                             \
    ki_probe_read f32_probe_read__##isa;

KI_DECLARE(portable)
KI_DECLARE(avx2)
KI_DECLARE(avx512)

#undef KI_DECLARE

#endif
