"""Fourier transforms, as products with matrices of cosines and sines. A complex number is two entries of the last axis.

Sums are in float64: where waves cancel, float32 would leave errors of 1e-6 of the largest value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ...builder import Tensor
from .node import Converter, Node

__all__ = ["CONVERTERS"]

_Matrix: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
#: Points of a transform: its matrices have as many rows and columns.
_MOST_POINTS = 2048


def _parts(n: Node, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """The real and the imaginary part; None where the numbers are real."""
    width = n.shape(x)[-1]
    if width == 1:
        return n.op("Squeeze", x, squeeze_dims=(-1,)), None
    if width != 2:
        raise n.wrong(f"{n.type_of(x)}", "1 (real) or 2 (complex) as the size of the last axis")
    real, imaginary = n.ops("Unpack", [x], 2, num=2, axis=-1)
    return real, imaginary


def _fitted(n: Node, x: Tensor, length: int) -> Tensor:
    """The last axis cut, or padded by zeros, to a length."""
    own, rank = n.shape(x)[-1], n.rank(x)
    if own is None:
        raise n.unsupported("a transform along an axis of unknown size", "export it with a fixed size")
    if own > length:
        return n.op("Slice", x, n.const([0] * rank), n.const([-1] * (rank - 1) + [length]))
    return x if own == length else n.op("Pad", x, n.const([[0, 0]] * (rank - 1) + [[0, length - own]]))


def _times(n: Node, x: Tensor, matrix: _Matrix) -> Tensor:
    """The last axis times a matrix, whatever axes are before it."""
    rank = n.rank(x)
    if rank == 2:
        return n.op("MatMul", x, n.const(matrix, n.dtype(x)))
    if rank == 1:
        row = n.op("MatMul", n.op("ExpandDims", x, n.const(0)), n.const(matrix, n.dtype(x)))
        return n.op("Squeeze", row, squeeze_dims=(0,))
    return n.op("BatchMatMulV2", x, n.const(matrix[(None,) * (rank - 2)], n.dtype(x)))


def _matrices(n: Node, rows: int, columns: int, points: int) -> tuple[_Matrix, _Matrix]:
    """Cosines and sines of 2 pi row column / points."""
    if not 1 <= points <= _MOST_POINTS:
        raise n.unsupported(f"a transform of {points} points; at most {_MOST_POINTS:,}")
    n.importer.budget.bytes(16 * rows * columns, n.place)
    turns = np.outer(np.arange(rows), np.arange(columns)) % points * (2 * np.pi / points)
    return np.cos(turns), np.sin(turns)


def _transformed(n: Node, real: Tensor, imaginary: Tensor | None, points: int, onesided: bool, inverse: bool) -> Tensor:
    """Along the last axis; the result is complex."""
    kept = points // 2 + 1 if onesided else points
    cosine, sine = _matrices(n, points, kept, points)
    if inverse:
        cosine, sine = cosine / points, -sine / points
    first, second = _times(n, real, cosine), _times(n, real, -sine)
    if imaginary is not None:
        first = n.op("AddV2", first, _times(n, imaginary, sine))
        second = n.op("AddV2", second, _times(n, imaginary, cosine))
    return n.op("Pack", first, second, axis=-1)


def _real_inverse(n: Node, real: Tensor, imaginary: Tensor | None, points: int) -> Tensor:
    """The real signal of which the given values are the first half of the spectrum."""
    half = points // 2 + 1
    cosine, sine = _matrices(n, half, points, points)
    weight = np.full((half, 1), 2 / points)
    weight[0] = 1 / points
    if points % 2 == 0:
        weight[-1] = 1 / points
    y = _times(n, _fitted(n, real, half), cosine * weight)
    if imaginary is not None:
        y = n.op("Sub", y, _times(n, _fitted(n, imaginary, half), sine * weight))
    return n.op("ExpandDims", y, n.const(-1))


def _axis_of(n: Node, rank: int) -> int:
    if n.version < 20:
        stated = n.integer("axis", 1)
    else:
        given = n.constant(2, "the axis of a transform")
        stated = -2 if given is None else int(given.reshape(-1)[0]) if given.size == 1 else rank
    axis = n.axis(stated, rank)
    if axis == rank - 1:
        raise n.wrong(f"axis {stated} of {rank} axes", "one before the last, which has the complex numbers' parts")
    return axis


def _length_of(n: Node) -> int | None:
    length = n.constant(1, "the length of a transform")
    if length is not None and (length.size != 1 or length.dtype.kind not in "iu"):
        raise n.wrong(f"dft_length of type {length.dtype}{list(length.shape)}", "a whole number")
    return None if length is None else int(length.reshape(-1)[0])


def _dft(n: Node) -> Tensor:
    """The axis is an attribute before version 20, then an input."""
    x, inverse, onesided = n.input(0), n.flag("inverse"), n.flag("onesided")
    rank = n.rank(x)
    if rank < 2:
        raise n.wrong(f"{rank} axes", "at least 2, the last of which is 1 or 2")
    axis, length = _axis_of(n, rank), _length_of(n)
    own = n.shape(x)[axis]
    if length is None and own is None:
        raise n.unsupported("a transform along an axis of unknown size", "export it with a fixed size")
    backward = inverse and onesided
    points = length if length is not None else 2 * ((own or 0) - 1) if backward else own or 0
    order = [a for a in range(rank - 1) if a != axis]
    real, imaginary = _parts(n, n.cast(n.transpose(x, [*order, axis, rank - 1]), "float64"))
    if backward:
        y = _real_inverse(n, real, imaginary, points)
    else:
        if onesided and imaginary is not None:
            raise n.wrong("onesided with complex numbers", "real ones")
        second = None if imaginary is None else _fitted(n, imaginary, points)
        y = _transformed(n, _fitted(n, real, points), second, points, onesided, inverse)
    moved = [*order, axis]
    return n.cast(n.transpose(y, [*(moved.index(a) for a in range(rank - 1)), rank - 1]), n.dtype(x))


def _stft(n: Node) -> Tensor:
    """(batch, samples, 1 or 2) -> (batch, frames, frequencies, 2): every ``frame_step`` samples a transform of a window."""
    x, onesided = n.input(0), n.flag("onesided", True)
    step, length = n.constant(1, "the step between frames"), n.constant(3, "the length of a frame")
    window = n.optional(2)
    if n.rank(x) == 2:
        x = n.op("ExpandDims", x, n.const(-1))
    if n.rank(x) != 3 or step is None or step.size != 1 or (length is not None and length.size != 1):
        raise n.wrong(f"{n.type_of(x)}, frame_step {step}", "(batch, samples, 1 or 2) and a step")
    points = n.shape(window)[0] if length is None and window is not None else None
    points = int(length.reshape(-1)[0]) if length is not None else points
    every = int(step.reshape(-1)[0])
    if points is None:
        raise n.unsupported("a frame of unknown length", "export it with a fixed window")
    if every < 1 or not 1 <= points <= _MOST_POINTS:
        raise n.wrong(f"frames of {points} every {every}", f"a step from 1, frames of at most {_MOST_POINTS:,}")
    end = n.op("AddV2", n.size(x, 1), n.const([1 - points]))
    starts = n.op("Range", n.const(0), n.op("Reshape", end, n.const([])), n.const(every))
    places = n.op("AddV2", n.reshape(starts, [-1, 1]), n.const(list(range(points))))
    real, imaginary = _parts(n, n.cast(x, "float64"))
    if onesided and imaginary is not None:
        raise n.wrong("onesided with complex numbers", "real ones")

    def framed(part: Tensor) -> Tensor:
        frames = n.op("GatherV2", part, places, n.const(1))
        return frames if window is None else n.op("Mul", frames, n.cast(window, "float64"))

    second = None if imaginary is None else framed(imaginary)
    y = _transformed(n, framed(real), second, points, onesided, inverse=False)
    return n.cast(y, n.dtype(x))


CONVERTERS: Mapping[str, Converter] = {"DFT": _dft, "STFT": _stft}
