// Conversion of the element type, as C does it. Compile-time: FROM, TO.
#include <common.cuh>

KERNEL void cast(const FROM* x, TO* y, const Rows rows) {
    GRID_STRIDE (i, rows.total) {
        const Index row = quotient(i, rows.cols), col = i - row * rows.cols;
        y[row * rows.y_pitch + col] = static_cast<TO>(x[row * rows.x_pitch + col]);
    }
}
EXPORT(cast)
