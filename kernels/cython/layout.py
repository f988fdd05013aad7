"""Transposition as copies of rows or of square tiles; the C side is c/transpose.h."""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts.layout import TRANSPOSE, TransposeParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import STRING, Array
from .loops import MAX_TRANSPOSE_RANK, bind_transpose
from .support import Bound

__all__ = ["KERNELS"]

#: Bytes of an element that the C kernel moves.
_SIZES = (1, 2, 4, 8, 16)


def _prepare(query: Query[TransposeParams], constants: Constants) -> Bound:
    x, y = query.inputs[0], query.outputs[0]
    axes = query.params.axes(len(x.dims))

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_transpose(inputs[0], x, outputs[0], y, axes, threads=query.threads)

    return Bound(bind)


def _supports(query: Query) -> str | None:
    x = query.inputs[0]
    if x.dtype == STRING:
        return "strings are Python objects, which cannot be moved as bytes"
    if x.dtype.itemsize not in _SIZES:
        return f"moves elements of {', '.join(map(str, _SIZES))} bytes"
    # One axis more than the array has may be needed, of size 1.
    return f"takes at most {MAX_TRANSPOSE_RANK - 1} axes" if len(x.dims) >= MAX_TRANSPOSE_RANK else None


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        TRANSPOSE,
        "cython",
        "transpose",
        prepare=_prepare,
        supports=_supports,
        strided_inputs=True,
        strided_outputs=True,
        bfloat16=True,
    ),
)
