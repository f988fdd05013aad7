"""Cases, one file per contract file (volumes.py: that of windows.py, too). A new case is an entry here; tests, benchmarks and the support table find it.

``CASES`` are checked on every kernel; ``MEASURED``, the cases with ``measure=True``, are only for benchmarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ...contracts.base import Contract
from ..case import Case
from . import (
    arrange,
    bfloat16,
    blocks,
    boxes,
    chains,
    colours,
    concat,
    conv2d,
    einsum,
    elementwise,
    finding,
    gradients,
    indexing,
    layout,
    matmul,
    normalization,
    pool2d,
    quantization,
    quantized,
    reduce,
    resample,
    resize,
    siblings,
    softmax,
    strings,
    volumes,
)

__all__ = ["CASES", "MEASURED", "cases_of", "measured_of"]

_ALL: tuple[Case, ...] = (
    *matmul.CASES,
    *conv2d.CASES,
    *siblings.CASES,
    *pool2d.CASES,
    *normalization.CASES,
    *elementwise.CASES,
    *chains.CASES,
    *softmax.CASES,
    *reduce.CASES,
    *concat.CASES,
    *resize.CASES,
    *resample.CASES,
    *blocks.CASES,
    *boxes.CASES,
    *colours.CASES,
    *volumes.CASES,
    *gradients.CASES,
    *layout.CASES,
    *strings.CASES,
    *einsum.CASES,
    *indexing.CASES,
    *arrange.CASES,
    *quantization.CASES,
    *finding.CASES,
    *quantized.CASES,
    *bfloat16.CASES,
)

CASES = tuple(case for case in _ALL if not case.measure)
MEASURED = tuple(case for case in _ALL if case.measure)


@cache
def _by_contract(measure: bool) -> dict[Contract[Any], tuple[Case, ...]]:
    table: dict[Contract[Any], list[Case]] = {}
    for case in MEASURED if measure else CASES:
        table.setdefault(case.contract, []).append(case)
    return {contract: tuple(found) for contract, found in table.items()}


def cases_of(contract: Contract[Any]) -> Sequence[Case]:
    """All cases of a contract that kernels are checked on."""
    return _by_contract(False).get(contract, ())


def measured_of(contract: Contract[Any]) -> Sequence[Case]:
    """The cases of a contract that were written for benchmarks."""
    return _by_contract(True).get(contract, ())
