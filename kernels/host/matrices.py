"""Diagonals of matrices, determinants and inverses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.matrices import (
    DETERMINANT,
    DIAGONALS,
    FROM_DIAGONALS,
    INVERSE,
    SET_DIAGONALS,
    Diagonals,
    FromDiagonalsParams,
    InverseParams,
)
from ..errors import KernelError
from ..tensor import STRING, Array, Params
from .support import numpy_kernel

__all__ = ["KERNELS"]


def _wide(diagonals: Array, params: Diagonals) -> Array:
    """Diagonals as rows, one too."""
    return diagonals[..., None, :] if params.low == params.high else diagonals


def _place(y: Array, diagonals: Array, params: Diagonals) -> None:
    rows, columns = y.shape[-2:]
    for number, offset, first, length in params.places(rows, columns):
        at = np.arange(length)
        d = params.high - number
        y[..., first + at, first + d + at] = diagonals[..., number, offset : offset + length]


def _padding(inputs: Sequence[Array], y: Array) -> None:
    y[...] = inputs[1] if len(inputs) > 1 else b"" if y.dtype == STRING else 0


def _diagonals(inputs: Sequence[Array], outputs: Sequence[Array], params: Diagonals) -> None:
    x, (y,) = inputs[0], outputs
    _padding(inputs, y)
    wide = _wide(y, params)
    for number, offset, first, length in params.places(*x.shape[-2:]):
        at = np.arange(length)
        wide[..., number, offset : offset + length] = x[..., first + at, first + params.high - number + at]


def _set_diagonals(inputs: Sequence[Array], outputs: Sequence[Array], params: Diagonals) -> None:
    (x, diagonals), (y,) = inputs, outputs
    y[...] = x
    _place(y, _wide(diagonals, params), params)


def _from_diagonals(inputs: Sequence[Array], outputs: Sequence[Array], params: FromDiagonalsParams) -> None:
    (y,) = outputs
    _padding(inputs, y)
    _place(y, _wide(inputs[0], params.diagonals), params.diagonals)


def _determinant(inputs: Sequence[Array], outputs: Sequence[Array], params: Params) -> None:
    outputs[0][...] = np.linalg.det(_plain(inputs[0]))


def _plain(x: Array) -> Array:
    """In a type that LAPACK has."""
    return x.astype({"g": np.float64, "G": np.complex128}.get(x.dtype.char, x.dtype), copy=False)


def _inverse(inputs: Sequence[Array], outputs: Sequence[Array], params: InverseParams) -> None:
    x = _plain(inputs[0])
    if params.adjoint:
        x = x.swapaxes(-1, -2).conj()
    try:
        outputs[0][...] = np.linalg.inv(x)
    except np.linalg.LinAlgError as error:
        raise KernelError(f"inverse: a matrix of {x.shape} has none: {error}") from None


KERNELS = (
    numpy_kernel(DIAGONALS, "host", _diagonals),
    numpy_kernel(SET_DIAGONALS, "host", _set_diagonals),
    numpy_kernel(FROM_DIAGONALS, "host", _from_diagonals),
    numpy_kernel(DETERMINANT, "host", _determinant),
    numpy_kernel(INVERSE, "host", _inverse),
)
