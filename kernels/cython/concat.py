"""Concatenation as copies of bytes; the C side is c/concat.h."""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts.base import normalize_axis
from ..contracts.concat import CONCAT, ConcatParams
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import STRING, Array
from .loops import bind_concat
from .support import Bound

__all__ = ["KERNELS"]


def _prepare(query: Query[ConcatParams], constants: Constants) -> Bound:
    params, y = query.params, query.outputs[0]
    axis = normalize_axis("concat", params.axis, len(y.dims))

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_concat(inputs, query.inputs, outputs[0], y, axis, threads=query.threads)

    return Bound(bind)


def _supports(query: Query) -> str | None:
    return "strings are Python objects, which cannot be copied as bytes" if query.inputs[0].dtype == STRING else None


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        CONCAT,
        "cython",
        "concat",
        prepare=_prepare,
        supports=_supports,
        strided_inputs=True,
        strided_outputs=True,
        bfloat16=True,
    ),
)
