/* The implicit GEMM for float and double on one instruction set: 80 tiles on AVX-512, 40 elsewhere. */
#include "igemm.h"

#include <math.h>
#include <string.h>

#include "simd/simd.h"
#include "table.h"
#include "threads.h"

#if defined(KI_ISA_AVX512)
enum { KI_TILE_ACCUMULATORS = 27 };
#else
enum { KI_TILE_ACCUMULATORS = 12 };
#endif

/* X(0), X(1), ...: for each lane. */
#define KI_EACH_2(X, j) X(j), X(j + 1)
#define KI_EACH_4(X, j) KI_EACH_2(X, j), KI_EACH_2(X, j + 2)
#define KI_EACH_8(X, j) KI_EACH_4(X, j), KI_EACH_4(X, j + 4)
#if defined(KI_ISA_AVX512)
#define KI_F32_LANES(X) KI_EACH_8(X, 0), KI_EACH_8(X, 8)
#define KI_F64_LANES(X) KI_EACH_8(X, 0)
#elif defined(KI_ISA_AVX2)
#define KI_F32_LANES(X) KI_EACH_8(X, 0)
#define KI_F64_LANES(X) KI_EACH_4(X, 0)
#else
#define KI_F32_LANES(X) KI_EACH_4(X, 0)
#define KI_F64_LANES(X) KI_EACH_2(X, 0)
#endif

/* Indices of lanes. */
typedef int32_t vi32 __attribute__((vector_size(sizeof(vf32))));
typedef int64_t vi64 __attribute__((vector_size(sizeof(vf64))));

#define TILE(name) KI_NAME(KI_CAT(f32_, name))
#define T float
#define V vf32
#define VOP(name) KI_CAT(vf32_, name)
#define LANES VF32_LANES
#define I vi32
#define INDICES KI_F32_LANES
#include "igemm_tile.h"
#include "igemm_transpose.h"
#include "igemm_pack.h"
#include "igemm_unpacked.h"
#include "igemm_driver.h"
#undef TILE
#undef T
#undef V
#undef VOP
#undef LANES
#undef I
#undef INDICES

#define TILE(name) KI_NAME(KI_CAT(f64_, name))
#define T double
#define V vf64
#define VOP(name) KI_CAT(vf64_, name)
#define LANES VF64_LANES
#define I vi64
#define INDICES KI_F64_LANES
#include "igemm_tile.h"
#include "igemm_transpose.h"
#include "igemm_pack.h"
#include "igemm_unpacked.h"
#include "igemm_driver.h"

ki_product *const KI_NAME(ki_product)[KI_DTYPES] = KI_ROW_FLOATS(product);
ki_siblings *const KI_NAME(ki_siblings)[KI_DTYPES] = KI_ROW_FLOATS(siblings);
ki_pack *const KI_NAME(ki_pack)[KI_DTYPES] = KI_ROW_FLOATS(pack);
