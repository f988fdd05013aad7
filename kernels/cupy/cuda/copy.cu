// Copies between arrays of any strides, and padding. Compile-time: ELEMENT, an unsigned type of the element's size.
#include <common.cuh>

typedef ELEMENT T;

KERNEL void copy(const T* x, T* y, const Strided<2> geometry) {
    GRID_STRIDE (i, geometry.total) {
        Index at[2];
        geometry.offsets(i, at);
        y[at[1]] = x[at[0]];
    }
}
EXPORT(copy)

// Mirrors layout.PadShape. mode: 0 constant, 1 reflect, 2 symmetric.
struct PadShape {
    Index total;
    int rank, mode;
    int in[MAX_RANK], out[MAX_RANK], before[MAX_RANK];
    Index x_stride[MAX_RANK], y_stride[MAX_RANK];
};

KERNEL void pad(const T* x, T* y, const T value, const PadShape s) {
    GRID_STRIDE (i, s.total) {
        Index from = 0, to = 0, rest = i;
        bool inside = true;
        for (int axis = s.rank - 1; axis >= 0; --axis) {
            const Index next = quotient(rest, s.out[axis]);
            const int at = static_cast<int>(rest - next * s.out[axis]);
            rest = next;
            to += at * s.y_stride[axis];
            int cell = at - s.before[axis];
            const int last = s.in[axis] - 1;
            if (s.mode == 1) cell = cell < 0 ? -cell : cell > last ? 2 * last - cell : cell;
            if (s.mode == 2) cell = cell < 0 ? -cell - 1 : cell > last ? 2 * last - cell + 1 : cell;
            inside = inside && cell >= 0 && cell <= last;
            from += cell * s.x_stride[axis];
        }
        y[to] = inside ? x[from] : value;
    }
}
EXPORT(pad)
