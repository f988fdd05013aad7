"""Different elements, sums of sorted segments, bytes as numbers, diagonals of matrices, determinants and inverses."""

from __future__ import annotations

from typing import Any

from ..builder import Tensor
from ..values import as_dtype
from .building import TensorLike, add_op, convert, integers

__all__ = [
    "decode_raw", "matrix_determinant", "matrix_diag", "matrix_diag_part", "matrix_inverse", "matrix_set_diag", "segment_max",
    "segment_mean", "segment_min", "segment_prod", "segment_sum", "unique", "unique_with_counts",
]  # fmt: skip


def unique(x: TensorLike, out_idx: Any = "int32", name: str | None = None) -> tuple[Tensor, Tensor]:
    """The different elements of a vector in the order of their first occurrence, and for every element the number of its value."""
    values, index = add_op("Unique", [convert(x)], name, out_idx=as_dtype(out_idx)).op.outputs
    return values, index


def unique_with_counts(x: TensorLike, out_idx: Any = "int32", name: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The same, and how often every value occurs."""
    values, index, counts = add_op("UniqueWithCounts", [convert(x)], name, out_idx=as_dtype(out_idx)).op.outputs
    return values, index, counts


def _segment(type: str, data: TensorLike, ids: TensorLike, name: str | None) -> Tensor:
    x = convert(data)
    return add_op(type, [x, integers(ids, "segment_ids", x)], name)


def segment_sum(data: TensorLike, segment_ids: TensorLike, name: str | None = None) -> Tensor:
    """Sums of the rows of every segment; the segments ascend, one without rows has 0."""
    return _segment("SegmentSum", data, segment_ids, name)


def segment_mean(data: TensorLike, segment_ids: TensorLike, name: str | None = None) -> Tensor:
    """Means of the rows of every segment."""
    return _segment("SegmentMean", data, segment_ids, name)


def segment_prod(data: TensorLike, segment_ids: TensorLike, name: str | None = None) -> Tensor:
    """Products of the rows of every segment; one without rows has 1."""
    return _segment("SegmentProd", data, segment_ids, name)


def segment_max(data: TensorLike, segment_ids: TensorLike, name: str | None = None) -> Tensor:
    """Greatest values of every segment; one without rows has 0."""
    return _segment("SegmentMax", data, segment_ids, name)


def segment_min(data: TensorLike, segment_ids: TensorLike, name: str | None = None) -> Tensor:
    """Least values of every segment; one without rows has 0."""
    return _segment("SegmentMin", data, segment_ids, name)


def decode_raw(input_bytes: TensorLike, out_type: Any, little_endian: bool = True, name: str | None = None) -> Tensor:
    """The bytes of strings, all of one length, as numbers along a new last axis."""
    return add_op("DecodeRaw", [convert(input_bytes)], name, out_type=as_dtype(out_type), little_endian=little_endian)


def matrix_diag(diagonal: TensorLike, name: str | None = None) -> Tensor:
    """Square matrices with these diagonals and zeros elsewhere."""
    return add_op("MatrixDiag", [convert(diagonal)], name)


def matrix_diag_part(input: TensorLike, name: str | None = None) -> Tensor:
    """The main diagonals of matrices."""
    return add_op("MatrixDiagPart", [convert(input)], name)


def matrix_set_diag(input: TensorLike, diagonal: TensorLike, name: str | None = None) -> Tensor:
    """Matrices with other main diagonals."""
    x = convert(input)
    return add_op("MatrixSetDiag", [x, convert(diagonal, x.dtype, beside=x)], name)


def matrix_determinant(input: TensorLike, name: str | None = None) -> Tensor:
    """Determinants of square matrices."""
    return add_op("MatrixDeterminant", [convert(input)], name)


def matrix_inverse(input: TensorLike, adjoint: bool = False, name: str | None = None) -> Tensor:
    """Inverses of square matrices (adjoint: of their conjugate transposes); one that has none is an error."""
    return add_op("MatrixInverse", [convert(input)], name, adjoint=adjoint)
