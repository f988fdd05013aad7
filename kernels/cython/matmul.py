"""Matrix products: floats by the implicit GEMM of c/igemm.h, integers by plain loops of c/int_matmul.h."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.geometry import ACTIVATION_LIMITS
from ..contracts.matmul import MATMUL, MatMulParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from . import core
from .chains import Chain
from .conv2d import PreparedProduct
from .igemm import Igemm
from .loops import bind_int_matmul, dtypes_of
from .support import FLOATS, Bound, dtypes
from .tiles import choose_tile

__all__ = ["KERNELS"]

#: The tile of constant weights is chosen for this many rows, because they are packed once for any number of rows.
_USUAL_ROWS = 256
#: So few rows that packing b would take longer than the product.
_FEW_ROWS = 64
#: Unless y is larger (bytes): it is written strip by strip, and its lines get lost in the L2 cache.
_MOST_RESULT = 3 << 19
_CLAMPS = {"none": 0, "relu": 1, "relu6": 2}


def _sizes(query: Query[MatMulParams]) -> tuple[int, int, int]:
    """Rows, columns and depth of one product."""
    params = query.params
    *_, m, n = query.outputs[0].dims
    return m, n, query.inputs[0].dims[-2 if params.transpose_a else -1]


def _offsets(query: Query) -> list[tuple[int, int, int]]:
    """For each matrix product of a batch: offsets of its a, b and y in elements."""
    batch = query.outputs[0].dims[:-2]
    m, n, k = _sizes(query)

    def starts(leading: tuple[int, ...], size: int) -> list[int]:
        count = int(np.prod(leading))
        index = np.broadcast_to(np.arange(count).reshape(leading), batch).ravel() * size
        return [int(i) for i in index]

    a, b = (t.dims[:-2] for t in query.inputs[:2])
    return list(zip(starts(a, m * k), starts(b, k * n), starts(batch, m * n), strict=True))


def _prepare(query: Query[MatMulParams], constants: Constants) -> PreparedProduct:
    params, dtype = query.params, query.outputs[0].dtype
    m, n, k = _sizes(query)
    offsets = _offsets(query)
    # One column is a sum of dot products over b as it is, whatever b and the number of rows are.
    constant = 1 in query.constants and int(np.prod(query.inputs[1].dims[:-2])) == 1 and n != 1
    if len({b for _, b, _ in offsets}) == 1 and not params.transpose_a and offsets[-1][0] == (len(offsets) - 1) * m * k:
        # One b for all, and the matrices of a are contiguous: a single product with more rows.
        m, offsets = m * len(offsets), offsets[:1]
    elif len(offsets) > 1:
        constant = False
    lanes = core.F32_LANES if dtype.itemsize == 4 else core.F64_LANES
    _, tile = choose_tile(dtype.itemsize, 1, _USUAL_ROWS if constant else m, k, n)
    chain = Chain.of(params.finish, query.outputs[0], query.inputs[3:], query.threads) if params.finish else None
    igemm = Igemm(
        query.inputs[:3],
        query.outputs[0],
        axes=[(1, 1, 1, 1, 1, 0, 0, 0, 0), (m, m, 1, 1, 1, 0, 0, 1, 1)],
        batch=(1, 0, 0),
        k=k,
        tile=(tile.pixels, tile.vectors),
        limits=ACTIVATION_LIMITS[params.activation],
        steps=(1, k) if params.transpose_b else (n, 1),
        packs=not constant,
        in_place=not constant and (n == 1 or (m <= _FEW_ROWS and m * n * dtype.itemsize <= _MOST_RESULT)),
        transposed_rows=m if params.transpose_a else 0,
        offsets=offsets,
        threads=query.threads,
    )
    if not constant:
        return PreparedProduct(igemm, None, chain)
    layout = f"igemm:{dtype.name}:{tile.vectors}x{lanes}:k{k}:{'t' if params.transpose_b else 'n'}:marked"
    return PreparedProduct(igemm, constants.packed(1, layout, igemm.pack), chain)


def _prepare_integers(query: Query[MatMulParams], constants: Constants) -> Bound:
    params = query.params
    m, n, k = _sizes(query)
    offsets = _offsets(query)

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_int_matmul(
            inputs,
            query.inputs,
            outputs[0],
            query.outputs[0],
            sizes=(m, n, k),
            a_steps=(1, m) if params.transpose_a else (k, 1),
            b_steps=(1, k) if params.transpose_b else (n, 1),
            offsets=offsets,
            clamp=_CLAMPS[params.activation],
            threads=query.threads,
        )

    return Bound(bind)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        MATMUL,
        "cython",
        "matmul_igemm",
        prepare=_prepare,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        rank=10,
        finishes=True,
    ),
    Kernel(
        MATMUL,
        "cython",
        "matmul_integers",
        prepare=_prepare_integers,
        supports=lambda query: refuse_dtypes(query, dtypes(dtypes_of("int_matmul"))),
    ),
)
