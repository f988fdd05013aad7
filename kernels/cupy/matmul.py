"""Matrix products: as implicit GEMM where the right-hand side is one plain matrix, else cuda/matmul.cu."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod

from ..contracts.matmul import MATMUL, MatMulParams
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array, DType
from .implicit_gemm import PRECISIONS, GemmPrepared, Precision, conv_shape
from .launch import (
    ACTIVATIONS,
    C_TYPES,
    Build,
    Function,
    Launch,
    Launcher,
    LaunchPrepared,
    dense,
    element_strides,
    float32_only,
    launched,
    pointer,
    strided,
    strided_type,
    types_only,
)

__all__ = ["BUILDS", "KERNELS", "MatMulShape"]

_REALS = frozenset(d for d in C_TYPES if d.kind in "fiu")
_TILE, _DEPTH, _THREADS = 64, 16, 256


class MatMulShape(ctypes.Structure):
    """Mirrors MatMulShape of matmul.cu."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("m", "n", "k", "activation")),
        *((name, ctypes.c_longlong) for name in ("a_row", "a_column", "b_row", "b_column", "y_row", "y_column")),
        ("batch", strided_type(3)),
    )


def _build(dtype: DType) -> Build:
    return Build("matmul.cu", (("ELEMENT", C_TYPES[dtype]),))


BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = tuple((_build(d), ("matmul",)) for d in C_TYPES if d in _REALS)


def _prepare(launcher: Launcher, query: Query[MatMulParams], constants: Constants) -> Prepared:
    params = query.params
    dtype = query.inputs[0].dtype
    a_dims, b_dims, y_dims = query.inputs[0].dims, query.inputs[1].dims, query.outputs[0].dims
    m, n = y_dims[-2:]
    k = a_dims[-2 if params.transpose_a else -1]
    batch_dims = y_dims[:-2]
    batches = prod(batch_dims)
    function = Function(_build(dtype), "matmul")

    def batch_strides(array: Array, dims: tuple[int, ...]) -> tuple[int, ...]:
        steps = element_strides(array)[:-2]
        own = tuple(0 if d == 1 else s for d, s in zip(dims[:-2], steps, strict=True))
        return (0,) * (len(batch_dims) - len(own)) + own

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        a, b = inputs[:2]
        bias = inputs[2] if len(inputs) > 2 else None
        (y,) = outputs
        if not y.size:
            return []
        if bias is not None:
            dense("the bias", bias)
        a_row, a_column = element_strides(a)[-2:][:: -1 if params.transpose_a else 1]
        b_row, b_column = element_strides(b)[-2:][:: -1 if params.transpose_b else 1]
        y_row, y_column = element_strides(y)[-2:]
        steps = [batch_strides(a, a_dims), batch_strides(b, b_dims), batch_strides(y, y_dims)]
        shape = MatMulShape(
            m=m, n=n, k=k, activation=ACTIVATIONS[params.activation], a_row=a_row, a_column=a_column,
            b_row=b_row, b_column=b_column, y_row=y_row, y_column=y_column, batch=strided(batch_dims, steps),
        )  # fmt: skip
        arguments = (*(pointer(launcher, array) for array in (a, b, bias, y)), shape)
        grid = (-(-m // _TILE) * -(-n // _TILE), 1, min(batches, 65535))
        shared = 2 * _DEPTH * (_TILE + 1) * dtype.itemsize
        return [Launch(function, grid, _THREADS, arguments, shared)]

    return LaunchPrepared(launcher, launches)


def _supports(query: Query) -> str | None:
    return types_only(query, _REALS)


def _prepare_igemm(
    launcher: Launcher, precision: Precision, query: Query[MatMulParams], constants: Constants
) -> Prepared:
    """The rows of a are the pixels of one image one row high, under a 1x1 filter."""
    params = query.params
    *leading, k = query.inputs[0].dims
    rows, n = prod(leading), query.inputs[1].dims[1]
    shape = conv_shape(
        n=1, h=1, w=rows, cin=k, kh=1, kw=1, oh=1, ow=rows, cout=n, stride_h=1, stride_w=1, dilation_h=1, dilation_w=1,
        activation=ACTIVATIONS[params.activation],
    )  # fmt: skip
    return GemmPrepared(launcher, precision, shape, constants, 1 in query.constants)


def _supports_igemm(query: Query[MatMulParams]) -> str | None:
    params = query.params
    if params.transpose_a or params.transpose_b or query.inputs[1].rank != 2:
        return "takes no transposed inputs, and one matrix on the right"
    return float32_only(query)


_IMPLICIT = (
    Kernel(
        MATMUL,
        "cupy",
        f"f32_matmul_igemm_{p.name}",
        prepare=launched(_prepare_igemm, p),
        supports=_supports_igemm,
        precision=p.name,
        rank=1,
        strided_outputs=True,
        strided_inputs=True,
    )
    for p in PRECISIONS.values()
)
_GENERAL = Kernel(
    MATMUL,
    "cupy",
    "matmul",
    prepare=launched(_prepare),
    supports=_supports,
    strided_outputs=True,
    strided_inputs=True,
)
KERNELS: tuple[Kernel, ...] = (*_IMPLICIT, _GENERAL)
