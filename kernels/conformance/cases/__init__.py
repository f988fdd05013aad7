"""Cases, one file per contract file. A new case is an entry here; tests, benchmarks and the support table find it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ...contracts.base import Contract
from ..case import Case
from . import (
    concat,
    conv2d,
    elementwise,
    gradients,
    layout,
    matmul,
    normalization,
    pool2d,
    reduce,
    resize,
    siblings,
    softmax,
    strings,
)

__all__ = ["CASES", "cases_of"]

CASES: tuple[Case, ...] = (
    *matmul.CASES,
    *conv2d.CASES,
    *siblings.CASES,
    *pool2d.CASES,
    *normalization.CASES,
    *elementwise.CASES,
    *softmax.CASES,
    *reduce.CASES,
    *concat.CASES,
    *resize.CASES,
    *gradients.CASES,
    *layout.CASES,
    *strings.CASES,
)


@cache
def _by_contract() -> dict[Contract[Any], tuple[Case, ...]]:
    table: dict[Contract[Any], list[Case]] = {}
    for case in CASES:
        table.setdefault(case.contract, []).append(case)
    return {contract: tuple(cases) for contract, cases in table.items()}


def cases_of(contract: Contract[Any]) -> Sequence[Case]:
    """All cases of a contract."""
    return _by_contract().get(contract, ())
