"""Diagonals of matrices, determinants and inverses. Matrices are the last two axes; all others are batch axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Dim, DType, Params, TensorType
from .base import Contract, Tolerance, merge_shapes, require_dtype, require_same_dtype

__all__ = [
    "DETERMINANT", "DIAGONALS", "FROM_DIAGONALS", "INVERSE", "SET_DIAGONALS", "Diagonals", "FromDiagonalsParams", "InverseParams",
]  # fmt: skip

EXACT = Tolerance(0, 0)
INVERTIBLE: frozenset[DType] = frozenset(map(np.dtype, ("float32", "float64", "complex64", "complex128")))


@dataclass(frozen=True, slots=True)
class Diagonals(Params):
    """Diagonals from ``low`` to ``high``, counted from the main one (0) to the right, the highest first.

    ``left``: where shorter ones begin in their row, of those above and of those below the main one: at the first element, else
    so that they end at the last.
    """

    low: int = 0
    high: int = 0
    left: tuple[bool, bool] = (False, True)

    def longest(self, rows: int, columns: int) -> int:
        """The length of the longest one."""
        return min(rows + min(self.high, 0), columns - max(self.low, 0))

    def places(self, rows: int, columns: int) -> list[tuple[int, int, int, int]]:
        """(row of diagonals, offset in it, first row of the matrix, length) of every diagonal."""
        most = self.longest(rows, columns)
        found = []
        for number, d in enumerate(range(self.high, self.low - 1, -1)):
            length = min(rows + min(d, 0), columns - max(d, 0))
            left = (d >= 0 and self.left[0]) or (d <= 0 and self.left[1])
            found.append((number, 0 if left else most - length, max(-d, 0), length))
        return found


def _check(op: str, params: Diagonals, rows: Dim, columns: Dim) -> None:
    if params.low > params.high:
        raise ShapeError(f"{op}: the lowest diagonal {params.low} is above the highest, {params.high}")
    for d in (params.low, params.high):
        beyond = (rows is not None and d <= -rows) or (columns is not None and d >= columns)
        if beyond and d != 0:
            raise ShapeError(f"{op}: there is no diagonal {d} in matrices of {rows} x {columns}")


def _matrix(op: str, t: TensorType) -> tuple[Dim, Dim]:
    if t.shape is None:
        return None, None
    if len(t.shape) < 2:
        raise ShapeError(f"{op}: the input must have 2 axes or more, got {t}")
    return t.shape[-2], t.shape[-1]


def _diagonals_of(params: Diagonals, rows: Dim, columns: Dim) -> tuple[Dim, ...]:
    length = None if rows is None or columns is None else params.longest(rows, columns)
    return (length,) if params.low == params.high else (params.high - params.low + 1, length)


def _infer_diagonals(inputs: Sequence[TensorType], params: Diagonals) -> tuple[TensorType, ...]:
    x, *padding = inputs
    require_same_dtype("diagonals", inputs)
    rows, columns = _matrix("diagonals", x)
    _check("diagonals", params, rows, columns)
    for t in padding:
        merge_shapes("diagonals, the padding", t.shape, ())
    if x.shape is None:
        return (TensorType(x.dtype),)
    return (TensorType(x.dtype, (*x.shape[:-2], *_diagonals_of(params, rows, columns))),)


DIAGONALS: Contract[Diagonals] = Contract(
    "diagonals", "Diagonals of matrices (x0); what shorter ones lack is x1, or 0.", _infer_diagonals, Diagonals, arity=(1, 2),
    tolerance=EXACT, hot=False,
)  # fmt: skip


def _infer_set(inputs: Sequence[TensorType], params: Diagonals) -> tuple[TensorType, ...]:
    x, diagonals = inputs
    require_same_dtype("set_diagonals", inputs)
    rows, columns = _matrix("set_diagonals", x)
    _check("set_diagonals", params, rows, columns)
    if x.shape is not None:
        merge_shapes(
            "set_diagonals, the diagonals", diagonals.shape, (*x.shape[:-2], *_diagonals_of(params, rows, columns))
        )
    return (x,)


SET_DIAGONALS: Contract[Diagonals] = Contract(
    "set_diagonals",
    "Matrices (x0) with other diagonals (x1).",
    _infer_set,
    Diagonals,
    arity=(2, 2),
    tolerance=EXACT,
    hot=False,
)


@dataclass(frozen=True, slots=True)
class FromDiagonalsParams(Params):
    """``rows``, ``columns`` of the matrices; None: as few as the diagonals need."""

    diagonals: Diagonals = Diagonals()
    rows: int | None = None
    columns: int | None = None

    def size(self, length: int) -> tuple[int, int]:
        """Rows and columns for diagonals of this length."""
        rows, columns = length - min(self.diagonals.high, 0), length + max(self.diagonals.low, 0)
        if self.rows is None and self.columns is None:
            return max(rows, columns), max(rows, columns)
        return rows if self.rows is None else self.rows, columns if self.columns is None else self.columns


def _infer_from(inputs: Sequence[TensorType], params: FromDiagonalsParams) -> tuple[TensorType, ...]:
    x, *padding = inputs
    require_same_dtype("from_diagonals", inputs)
    for t in padding:
        merge_shapes("from_diagonals, the padding", t.shape, ())
    d = params.diagonals
    axes = 1 if d.low == d.high else 2
    if x.shape is None:
        return (TensorType(x.dtype),)
    if len(x.shape) < axes or (axes == 2 and x.shape[-2] not in (None, d.high - d.low + 1)):
        raise ShapeError(f"from_diagonals: diagonals {d.low} to {d.high} of {x}")
    length = x.shape[-1]
    if length is None:
        return (TensorType(x.dtype, (*x.shape[:-axes], params.rows, params.columns)),)
    rows, columns = params.size(length)
    _check("from_diagonals", d, rows, columns)
    if d.longest(rows, columns) != length:
        raise ShapeError(f"from_diagonals: diagonals of length {length} do not fit matrices of {rows} x {columns}")
    return (TensorType(x.dtype, (*x.shape[:-axes], rows, columns)),)


FROM_DIAGONALS: Contract[FromDiagonalsParams] = Contract(
    "from_diagonals", "Matrices that have the diagonals x0, and x1 or 0 everywhere else.", _infer_from, FromDiagonalsParams,
    arity=(1, 2), tolerance=EXACT, hot=False,
)  # fmt: skip


def _square(op: str, x: TensorType) -> None:
    require_dtype(op, "the input", x.dtype, INVERTIBLE)
    rows, columns = _matrix(op, x)
    if None not in (rows, columns) and rows != columns:
        raise ShapeError(f"{op}: the matrices must be square, got {x}")


def _infer_determinant(inputs: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
    (x,) = inputs
    _square("determinant", x)
    return (TensorType(x.dtype, None if x.shape is None else x.shape[:-2]),)


DETERMINANT: Contract[Params] = Contract(
    "determinant", "Determinants of square matrices; 1 of an empty one.", _infer_determinant, tolerance=Tolerance(1e-4, 1e-5),
    hot=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InverseParams(Params):
    """``adjoint``: the inverse of the conjugate transpose."""

    adjoint: bool = False


def _infer_inverse(inputs: Sequence[TensorType], params: InverseParams) -> tuple[TensorType, ...]:
    _square("inverse", inputs[0])
    return (inputs[0],)


INVERSE: Contract[InverseParams] = Contract(
    "inverse", "Inverses of square matrices; one that has none is an error.", _infer_inverse, InverseParams,
    tolerance=Tolerance(1e-3, 1e-3), hot=False,
)  # fmt: skip
