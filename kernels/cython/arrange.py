"""Running sums and products; the C side is c/cumulative.h."""

from __future__ import annotations

from collections.abc import Sequence

from ..checks import refuse_dtypes
from ..contracts.arrange import CUMULATIVE, CumulativeParams
from ..contracts.base import normalize_axis
from ..kernel import Constants, Kernel, Query, Run
from ..tensor import Array
from .loops import bind_cumulative, dtypes_of
from .support import Bound, dtypes

__all__ = ["KERNELS"]


def _prepare(query: Query[CumulativeParams], constants: Constants) -> Bound:
    params, x = query.params, query.inputs[0]
    axis = normalize_axis("cumulative", params.axis, len(x.dims))

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return bind_cumulative(
            inputs[0],
            outputs[0],
            x,
            axis,
            product=params.of == "prod",
            exclusive=params.exclusive,
            reverse=params.reverse,
            threads=query.threads,
        )

    return Bound(bind)


def _supports(query: Query[CumulativeParams]) -> str | None:
    if query.params.of == "logsumexp":
        return "adds or multiplies"
    return refuse_dtypes(query, dtypes(dtypes_of("cumulative")))


KERNELS: tuple[Kernel, ...] = (Kernel(CUMULATIVE, "cython", "cumulative", prepare=_prepare, supports=_supports),)
