"""Concatenation: each input copied into its slice of the output (cuda/copy.cu)."""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts.concat import CONCAT, ConcatParams
from ..kernel import Constants, Kernel, Prepared, Query
from ..tensor import Array
from .copies import copy_launch, supports_copy
from .launch import Launch, Launcher, LaunchPrepared, element_strides, launched

__all__ = ["KERNELS"]


def _prepare(launcher: Launcher, query: Query[ConcatParams], constants: Constants) -> Prepared:
    params = query.params
    axis = params.axis % len(query.outputs[0].dims)

    def launches(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> list[Launch]:
        (y,) = outputs
        steps = element_strides(y)
        result = []
        start = 0
        for x in inputs:
            if x.size:
                result.append(copy_launch(launcher, x, y, x.shape, element_strides(x), steps, 0, start * steps[axis]))
            start += x.shape[axis]
        return result

    return LaunchPrepared(launcher, launches)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        CONCAT,
        "cupy",
        "concat",
        prepare=launched(_prepare),
        supports=supports_copy,
        strided_outputs=True,
        strided_inputs=True,
    ),
)
