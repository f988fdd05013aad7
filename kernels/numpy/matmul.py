"""Matrix product through np.matmul (BLAS for float32, float64 and complex)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.matmul import MATMUL, MatMulParams
from ..host.support import activate, in_float32, numpy_kernel, wider
from ..kernel import Query
from ..tensor import Array

__all__ = ["KERNELS"]


def _matmul(inputs: Sequence[Array], outputs: Sequence[Array], params: MatMulParams) -> None:
    (out,) = outputs
    if out.size == 0:  # np.matmul would still walk a batch of 2**40 empty products
        return
    # np.matmul has no BLAS for float16 and would round every partial sum.
    a, b, *bias = (x.astype(wider(x.dtype), copy=False) for x in inputs)
    if params.transpose_a:
        a = a.swapaxes(-1, -2)
    if params.transpose_b:
        b = b.swapaxes(-1, -2)
    y = np.matmul(a, b, out=out if out.dtype == a.dtype else None)
    if bias:
        y += bias[0]
    activate(y, params.activation)
    if y is not out:
        out[...] = y


def _supports(query: Query) -> str | None:
    if query.inputs[0].dtype.kind == "c" and query.params.activation != "none":
        return "an activation is not defined for complex numbers"
    return None


KERNELS = (numpy_kernel(MATMUL, "numpy", in_float32(_matmul), supports=_supports, bfloat16=True),)
