"""Concatenation: copies of whole lines. The element type matters only by its size, so every numeric type is served."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from ..contracts.base import normalize_axis
from ..contracts.concat import CONCAT, ConcatParams
from ..kernel import Kernel, Query, Run
from ..records import dataclass
from ..tensor import STRING, Array
from .arrays import pitch
from .jit import array_type, compiled, copy_bytes, int64, void
from .threads import parallel, sequence, shares

__all__ = ["KERNELS"]

_INDEX = array_type(np.dtype(np.int64))
_GRAIN_BYTES = 256 * 1024
#: Of an input: address, lines in a row, bytes of a line, bytes between lines, offset in a row of y.
_FIELDS = 5


@functools.cache
def _concat_kernel() -> Any:
    """``run(parts, y, y_step, row_step, first, end)``: rows [first, end).

    ``parts``: _FIELDS of each input. ``y_step``, ``row_step``: bytes between the lines and between the rows of y.
    """

    @compiled("concat", void(_INDEX, int64, int64, int64, int64, int64))
    def run(parts: Any, y: int, y_step: int, row_step: int, first: int, end: int) -> None:
        for row in range(first, end):
            for i in range(0, len(parts), _FIELDS):
                lines, width, step = parts[i + 1], parts[i + 2], parts[i + 3]
                source, to = parts[i] + row * lines * step, y + row * row_step + parts[i + 4]
                for line in range(lines):
                    copy_bytes(to + line * y_step, source + line * step, width)

    return run


@dataclass(frozen=True, slots=True)
class _Concat:
    query: Query[ConcatParams]
    kernel: Any
    workspace_bytes: int = 0
    absorbed: frozenset[int] = frozenset()

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        query, (out,) = self.query, self.query.outputs
        params = query.params
        axis = normalize_axis("concat", params.axis, len(out.dims))
        places = [
            pitch(f"input {i} of concat", x, t) for i, (x, t) in enumerate(zip(inputs, query.inputs, strict=True))
        ]
        y, y_pitch = pitch("the output of concat", outputs[0], out)
        size, last = out.dtype.itemsize, len(out.dims) - 1
        y_step, offset = y_pitch * size, 0
        pairs = list(zip(places, query.inputs, strict=True))
        dense = y_pitch == out.dims[-1] and all(step == t.dims[-1] for (_, step), t in pairs)
        table: list[tuple[int, ...]] = []
        for (address, step), t in pairs:
            # A dense part is one line; of a pitched one every pixel is a line, unless the axis of the channels is concatenated.
            lines = 1 if dense else prod(t.dims[axis:last])
            width = prod(t.dims[axis if dense else last :]) * size
            table.append((address, lines, width, width if dense else step * size, offset))
            offset += width if dense or axis == last else lines * y_step
        row_step = y_step if axis == last else offset
        parts, runs = np.array(table, np.int64).reshape(-1), list[Run]()
        if out.size:
            for first, end in shares(prod(out.dims[:axis]), min(query.threads, out.nbytes // _GRAIN_BYTES)):
                runs.append(functools.partial(self.kernel, parts, y, y_step, row_step, first, end))
        return sequence([parallel(runs)], (inputs, outputs))


def _supports(query: Query[ConcatParams]) -> str | None:
    return "copies bytes, so it cannot take strings" if query.outputs[0].dtype == STRING else None


KERNELS = (
    Kernel(
        CONCAT,
        "numba",
        "concat",
        prepare=lambda query, constants: _Concat(query, _concat_kernel()),
        supports=_supports,
        strided_inputs=True,
        strided_outputs=True,
    ),
)
