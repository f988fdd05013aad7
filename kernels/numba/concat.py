"""Concatenation: copies of whole rows. The element type matters only by its size, so every numeric type is served."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..contracts.base import normalize_axis
from ..contracts.concat import CONCAT
from ..types import STRING, Array, Kernel, Query, Run
from .border import check_dense
from .jit import array_type, compiled, copy_bytes, int64, void
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

_INDEX = array_type(np.dtype(np.int64))
_GRAIN_BYTES = 256 * 1024


@functools.cache
def _concat_kernel() -> Any:
    """``run(sources, widths, y, y_step, first, end)``: rows [first, end); addresses, and bytes of a row of each input."""

    @compiled("concat", void(_INDEX, _INDEX, int64, int64, int64, int64))
    def run(sources: Any, widths: Any, y: int, y_step: int, first: int, end: int) -> None:
        for row in range(first, end):
            at = y + row * y_step
            for i in range(len(sources)):
                copy_bytes(at, sources[i] + row * widths[i], widths[i])
                at += widths[i]

    return run


@dataclass(frozen=True, slots=True)
class _Concat:
    query: Query
    kernel: Any
    workspace_bytes: int = 0
    absorbed: frozenset[int] = frozenset()

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, (out,) = self.query, self.query.outputs
        params: Any = query.params
        axis = normalize_axis("concat", params.axis, len(out.dims))
        places = [
            check_dense(f"input {i} of concat", x, t) for i, (x, t) in enumerate(zip(inputs, query.inputs, strict=True))
        ]
        y = check_dense("the output of concat", outputs[0], out)
        widths = [prod(t.dims[axis:]) * out.dtype.itemsize for t in query.inputs]
        sources, sizes = np.array(places, np.int64), np.array(widths, np.int64)
        runs: list[Run] = []
        if out.size:
            for first, end in shares(prod(out.dims[:axis]), min(query.threads, out.nbytes // _GRAIN_BYTES)):
                runs.append(functools.partial(self.kernel, sources, sizes, y, sum(widths), first, end))
        return sequence([parallel(runs)], (inputs, outputs))


def _supports(query: Query) -> str | None:
    return "copies bytes, so it cannot take strings" if query.outputs[0].dtype == STRING else None


KERNELS = (
    Kernel(
        CONCAT,
        "numba",
        "concat",
        prepare=lambda query, constants: _Concat(query, _concat_kernel()),
        supports=_supports,
    ),
)
