"""The transforms of Winograd's and Cook-Toom's algorithms: the filter's in float64, the others as coefficients for C.

F(m, r) computes m outputs of an r-tap filter from n = m + r - 1 inputs with n multiplications:
``y = A^T [(G g) * (B^T d)]``. Rows of the matrices stand for points: 0, +p and -p for each pair, infinity. Points decide
the rounding error and cost nothing; those here were searched for on normal inputs (c/winograd.h has the sources).
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any

import numpy as np

from ..records import dataclass

__all__ = ["Points"]

Matrix = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Points:
    """Pairs of points +-p, besides 0 and infinity, for F(outputs, taps)."""

    pairs: tuple[float, ...]
    outputs: int

    @property
    def count(self) -> int:
        """Points in all: inputs of a tile."""
        return 2 * len(self.pairs) + 2

    @property
    def taps(self) -> int:
        return self.count - self.outputs + 1

    @cached_property
    def finite(self) -> tuple[float, ...]:
        """The finite points in the order of the matrices' rows."""
        return (0.0, *(s * p for p in self.pairs for s in (1, -1)))

    @cached_property
    def g(self) -> Matrix:
        """G (count, taps)."""
        rows = np.zeros((self.count, self.taps))
        for j, p in enumerate(self.finite):
            rows[j] = p ** np.arange(self.taps) / np.prod([p - q for i, q in enumerate(self.finite) if i != j])
        rows[-1, -1] = 1
        return rows

    @cache  # noqa: B019 - there are few sets of points
    def coefficients(self) -> list[tuple[float, float, list[float], list[float]]]:
        """For each pair what ki_points of c/winograd.h holds: p, z, the row r, the row a."""
        squares = [p * p for p in self.pairs]
        z = np.poly(squares)[::-1]
        return [
            (
                p,
                float(z[j]),
                np.atleast_1d(np.poly(squares[:j] + squares[j + 1 :]))[::-1][:-1].tolist(),
                (p ** np.arange(self.outputs)).tolist(),
            )
            for j, p in enumerate(self.pairs)
        ]
