"""One contract per op: formula, parameters, shape and dtype rule, FLOPs, edge cases, tolerance.

base.py: Contract and the shared shape rules; then one file per family of ops. CONTRACTS has those that the families'
``__all__`` list.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from . import (
    arrange,
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
    matrices,
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
    windows,
)
from .base import Contract

__all__ = ["CONTRACTS", "Contract"]

_FAMILIES = (
    matmul, conv2d, siblings, pool2d, normalization, elementwise, chains, softmax, reduce, concat, resize, resample, layout, blocks, boxes, colours, volumes,
    windows, gradients, strings,
    einsum, indexing, arrange, quantization, finding, matrices, quantized,
)  # fmt: skip


def _contracts(family: ModuleType) -> Iterator[Contract[Any]]:
    """In the order of their definition."""
    return (value for name, value in vars(family).items() if isinstance(value, Contract) and name in family.__all__)


CONTRACTS: tuple[Contract[Any], ...] = tuple(contract for family in _FAMILIES for contract in _contracts(family))
