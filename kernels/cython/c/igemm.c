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

#define TILE(name) KI_NAME(KI_CAT(f32_, name))
#define T float
#define V vf32
#define VOP(name) KI_CAT(vf32_, name)
#define LANES VF32_LANES
#include "igemm_tile.h"
#include "igemm_pack.h"
#include "igemm_driver.h"
#undef TILE
#undef T
#undef V
#undef VOP
#undef LANES

#define TILE(name) KI_NAME(KI_CAT(f64_, name))
#define T double
#define V vf64
#define VOP(name) KI_CAT(vf64_, name)
#define LANES VF64_LANES
#include "igemm_tile.h"
#include "igemm_pack.h"
#include "igemm_driver.h"

ki_product *const KI_NAME(ki_product)[KI_DTYPES] = KI_ROW_FLOATS(product);
ki_siblings *const KI_NAME(ki_siblings)[KI_DTYPES] = KI_ROW_FLOATS(siblings);
ki_pack *const KI_NAME(ki_pack)[KI_DTYPES] = KI_ROW_FLOATS(pack);
