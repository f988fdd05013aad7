/* Filter gradients of convolutions as sums of outer products, for float and double on one instruction set:
 *
 *     dw[tap][c][o] = sum over pixels of x[pixel, tap][c] * dy[pixel][o]
 *
 * A matrix product of x transposed by dy, whose operands have the layout that the tile needs: nothing is packed. The
 * tile keeps mr rows c x nv vectors of o in registers over a block of pixels; per pixel it loads nv vectors of dy and
 * broadcasts mr neighbouring inputs. */
#include "backward.h"

#include <string.h>

#include "join.h"
#include "simd/simd.h"
#include "table.h"

/* The pixels that a tile sums over; steps in elements, those of x with the stride in them. */
typedef struct {
    ptrdiff_t images, rows, columns;
    ki_steps x, dy;
} pixels;

KI_JOIN(f32, float)
KI_JOIN(f64, double)

#if defined(KI_ISA_AVX512)
enum { ACCUMULATORS = 27 };
#else
enum { ACCUMULATORS = 12 };
#endif

#define UNROLL _Pragma("GCC unroll 16")

#define TILE(name) KI_NAME(KI_CAT(f32_, name))
#define T float
#define V vf32
#define VOP(name) KI_CAT(vf32_, name)
#define LANES VF32_LANES
#include "outer_tile.h"
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
#include "outer_tile.h"

ki_backward *const KI_NAME(ki_filter_grad)[KI_DTYPES] = KI_ROW_FLOATS(filter_grad);
