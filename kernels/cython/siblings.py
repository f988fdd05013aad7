"""Sibling 1x1 convolutions as one implicit GEMM: x is read once, a group of pixels at a time; the C side is c/igemm.h.

Every sibling keeps its own packed weights, register tile, bias, limits and output, so no panel has channels of two of
them and each output may be a slice of another concat. The order of every sum is that of conv2d_igemm: the bits are, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..checks import refuse_dtypes
from ..composites import SiblingConstants, single_query
from ..contracts.siblings import SIBLING_CONV2D, Place, SiblingParams, places
from ..devices import align
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array
from .conv2d import PreparedProduct, prepare_igemm
from .igemm import SiblingRun
from .support import FLOATS

__all__ = ["KERNELS"]


@dataclass(frozen=True, slots=True)
class _Siblings:
    """Workspace: one part per sibling, for they run at the same time."""

    members: tuple[tuple[Place, PreparedProduct], ...]

    @property
    def workspace_bytes(self) -> int:
        return sum(align(product.workspace_bytes) for _, product in self.members)

    @property
    def absorbed(self) -> frozenset[int]:
        return frozenset(place.inputs[i] for place, product in self.members for i in product.absorbed)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        at, runs = 0, []
        for (place, product), y in zip(self.members, outputs, strict=True):
            own = None if workspace is None else workspace[at : at + product.workspace_bytes]
            runs.append(product.bind([inputs[i] for i in place.inputs], [y], own))
            at += align(product.workspace_bytes)
        return SiblingRun(runs)


def _prepare(query: Query[SiblingParams], constants: Constants) -> _Siblings:
    params = query.params
    members = []
    for number, place in enumerate(places(params)):
        single = single_query(query, number, place)
        own = SiblingConstants(constants, place.inputs, "conv2d_igemm")
        members.append((place, prepare_igemm(single, own)))
    return _Siblings(tuple(members))


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        SIBLING_CONV2D,
        "cython",
        "sibling_conv2d_igemm",
        prepare=_prepare,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        strided_outputs=True,
        strided_inputs=True,
    ),
)
