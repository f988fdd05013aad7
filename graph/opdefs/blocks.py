"""Blocks of cells moved to the batch or to the channels, and back."""

from __future__ import annotations

from collections.abc import Callable

from ...kernels.contracts.base import Contract
from ...kernels.contracts.blocks import (
    BATCH_TO_SPACE,
    DEPTH_TO_SPACE,
    SPACE_TO_BATCH,
    SPACE_TO_DEPTH,
    BatchBlockParams,
    DepthBlockParams,
)
from ...kernels.tensor import TensorType, is_int
from ..errors import GraphError
from .attributes import FORMAT, I32, Attr, Row, T, of
from .base import Lowered, OpDef, Site, ints, required

__all__ = ["DEFS"]


def _pairs(site: Site, index: int) -> tuple[tuple[int, int], ...]:
    """An input that has (before, after) for every block."""
    value = site.value(index)
    if value.ndim != 2 or value.shape[1] != 2 or not is_int(value.dtype):
        raise GraphError(
            f"{site.op} '{site.name}': input {index} must be integers of shape (blocks, 2), got {value.dtype} of shape {value.shape}"
        )
    return tuple((int(a), int(b)) for a, b in value)


def _batch(contract: Contract[BatchBlockParams], vector: bool) -> Callable[[Site], Lowered]:
    """(x, sizes of the block, edges), or in the old ops (x, edges) with one size for height and width."""

    def lower(site: Site) -> Lowered:
        if vector:
            return Lowered(contract, BatchBlockParams(ints(site, 1, "the block"), _pairs(site, 2)), (0,))
        if site.inputs[0].rank not in (None, 4):
            raise GraphError(f"{site.op} '{site.name}': takes 4 axes, got {site.inputs[0]}")
        size = required(site, "block_size")
        return Lowered(contract, BatchBlockParams((size, size), _pairs(site, 1)), (0,))

    return lower


def _unknown(site: Site) -> tuple[TensorType, ...]:
    rank = site.inputs[0].rank
    return (TensorType(site.inputs[0].dtype, None if rank is None else (None,) * rank),)


def _depth(contract: Contract[DepthBlockParams]) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        return Lowered(contract, DepthBlockParams(required(site, "block_size"), site.attr("data_format") == "NCHW"))

    return lower


_DEPTH: Row = {**T, "block_size": Attr("int"), "data_format": FORMAT}

DEFS: tuple[OpDef, ...] = (
    *(
        OpDef(name, _batch(contract, True), arity=(3, 3), values=(1, 2), unknown=_unknown, attributes=row)
        for name, contract, row in (
            ("SpaceToBatchND", SPACE_TO_BATCH, {**T, "Tblock_shape": of(1, I32), "Tpaddings": of(2, I32)}),
            ("BatchToSpaceND", BATCH_TO_SPACE, {**T, "Tblock_shape": of(1, I32), "Tcrops": of(2, I32)}),
        )
    ),
    *(
        OpDef(name, _batch(contract, False), arity=(2, 2), values=(1,), unknown=_unknown, attributes=row)
        for name, contract, row in (
            ("SpaceToBatch", SPACE_TO_BATCH, {**T, "block_size": Attr("int"), "Tpaddings": of(1, I32)}),
            ("BatchToSpace", BATCH_TO_SPACE, {**T, "block_size": Attr("int"), "Tidx": of(1, I32)}),
        )
    ),
    OpDef("SpaceToDepth", _depth(SPACE_TO_DEPTH), attributes=_DEPTH),
    OpDef("DepthToSpace", _depth(DEPTH_TO_SPACE), attributes=_DEPTH),
)
