"""Operators that move, pick or describe elements."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...builder import Tensor
from .activations import activated
from .build import Converter, Refused, Use

__all__ = ["CONVERTERS", "MOVES"]

_MOVES = """
    RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE SLICE STRIDED_SLICE SPLIT SPLIT_V PACK UNPACK GATHER GATHER_ND TILE PAD MIRROR_PAD
    BROADCAST_TO REVERSE_V2 REVERSE_SEQUENCE SPACE_TO_DEPTH DEPTH_TO_SPACE SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND CONCATENATION
    MAX_POOL_2D RESIZE_NEAREST_NEIGHBOR SELECT SELECT_V2 REDUCE_MAX REDUCE_MIN MAXIMUM MINIMUM TOPK_V2 EMBEDDING_LOOKUP RELU
"""
#: Their results are elements of their inputs, so what is on a grid stays on it.
MOVES = frozenset(_MOVES.split())


def _with(op: str, count: int) -> Converter:
    return lambda use: use.add(op, [use.x(i) for i in range(count)])


def _reshape(use: Use) -> Tensor:
    """The new shape is the second input or, in old files, an option."""
    if not use.has(1):
        return use.add("Reshape", [use.x(0), use.ints(_batches(use, use.option_ints(0)))])
    constant = use.constant(1)
    if constant is None:
        return use.add("Reshape", [use.x(0), use.x(1)])
    wanted = tuple(int(d) for d in constant.stored().reshape(-1))
    changed = _batches(use, wanted)
    return use.add("Reshape", [use.x(0), use.x(1) if changed == wanted else use.ints(changed)])


def _batches(use: Use, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """(1, ...) of a tensor (1, ...) becomes (-1, ...): the same for one item, and right for others.

    Only where another batch may be fed, and where the file knows all other sizes.
    """
    given, result = use.given(0).shape, use.out().shape
    if (
        not use.build.free
        or wanted[:1] != (1,)
        or given[:1] != (1,)
        or result[:1] != (1,)
        or len(result) != len(wanted)
    ):
        return wanted
    fits = all(w in (-1, r) for w, r in zip(wanted, result, strict=True)) and 0 not in result
    return (-1, *result[1:]) if fits and np.prod(given) == np.prod(result) else wanted


def _squeeze(use: Use) -> Tensor:
    return use.add("Squeeze", [use.x(0)], {"squeeze_dims": use.option_ints(0)})


def _shape(use: Use) -> Tensor:
    return use.add("Shape", [use.x(0)], {"out_type": use.out_dtype()})


def _mirror_pad(use: Use) -> Tensor:
    mode = {0: "REFLECT", 1: "SYMMETRIC"}.get(use.option(0, "int8"))
    if mode is None:
        raise Refused(f"mode {use.option(0, 'int8')}; expected 0 (REFLECT) or 1 (SYMMETRIC)")
    return use.add("MirrorPad", [use.x(0), use.x(1)], {"mode": mode})


def _strided_slice(use: Use) -> Tensor:
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    begin, end = use.x(1), use.x(2)
    if use.option(5, "bool", False):  # the end counts from the beginning of the slice
        end = use.add("AddV2", [begin, end])
    return use.add("StridedSlice", [use.x(0), begin, end, use.x(3)], {n: use.option(i) for i, n in enumerate(names)})


def _parts(use: Use, slot: int) -> int:
    count: int = use.option(slot)
    if count != len(use.operator.outputs):
        raise Refused(f"{count} parts for {len(use.operator.outputs)} results")
    return count


def _split(use: Use) -> tuple[Tensor, ...]:
    count = _parts(use, 0)
    return use.all("Split", [use.x(0), use.x(1)], {"num_split": count}, count)


def _split_v(use: Use) -> tuple[Tensor, ...]:
    count = _parts(use, 0)
    return use.all("SplitV", [use.x(0), use.x(1), use.x(2)], {"num_split": count}, count)


def _pack(use: Use) -> Tensor:
    return use.add("Pack", use.xs(), {"N": use.count, "axis": use.option(1)})


def _unpack(use: Use) -> tuple[Tensor, ...]:
    count = _parts(use, 0)
    return use.all("Unpack", [use.x(0)], {"num": count, "axis": use.option(1)}, count)


def _concatenation(use: Use) -> Tensor:
    parts = use.xs()
    y = use.add("ConcatV2", [*parts, use.ints(use.option(0))], {"N": len(parts)}) if len(parts) > 1 else use.x(0)
    return activated(use, y, use.option(1, "int8"))


def _gather(use: Use) -> Tensor:
    attrs = {"batch_dims": use.option(1)}
    return use.add("GatherV2", [use.x(0), use.x(1), use.ints(use.option(0))], attrs)


def _embedding_lookup(use: Use) -> Tensor:
    """Indices, then the table."""
    return use.add("GatherV2", [use.x(1), use.x(0), use.ints(0)], {"batch_dims": 0})


def _one_hot(use: Use) -> Tensor:
    return use.add("OneHot", [use.x(i) for i in range(4)], {"axis": use.option(0)})


def _resize(op: str, first: int) -> Converter:
    def convert(use: Use) -> Tensor:
        attrs = {
            "align_corners": use.option(first, "bool", False),
            "half_pixel_centers": use.option(first + 1, "bool", False),
        }
        use.halves = "up" if op == "ResizeBilinear" else "even"
        return use.add(op, [use.x(0), use.x(1)], attrs)

    return convert


def _blocks(op: str) -> Converter:
    return lambda use: use.add(op, [use.x(0)], {"block_size": use.option(0), "data_format": "NHWC"})


def _reverse_sequence(use: Use) -> Tensor:
    return use.add("ReverseSequence", [use.x(0), use.x(1)], {"seq_dim": use.option(0), "batch_dim": use.option(1)})


def _unique(use: Use) -> tuple[Tensor, ...]:
    return use.all("Unique", [use.x(0)], {"out_idx": use.out_dtype(1)}, 2)


def _sparse_to_dense(use: Use) -> Tensor:
    inputs = [use.x(i) for i in range(4)]
    return use.add("SparseToDense", inputs, {"validate_indices": use.option(0, "bool", False)})


def _suppression(op: str, count: int, outputs: int) -> Converter:
    """The results have the size that is asked for, with zeros at the end, and their number."""
    return lambda use: use.all(op, [use.x(i) for i in range(count)], {"pad_to_max_output_size": True}, outputs)


CONVERTERS: Mapping[str, Converter] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _with("ExpandDims", 2),
    "TRANSPOSE": _with("Transpose", 2),
    "SHAPE": _shape,
    "RANK": _with("Rank", 1),
    "PAD": _with("Pad", 2),
    "PADV2": _with("PadV2", 3),
    "MIRROR_PAD": _mirror_pad,
    "SLICE": _with("Slice", 3),
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "PACK": _pack,
    "UNPACK": _unpack,
    "CONCATENATION": _concatenation,
    "GATHER": _gather,
    "GATHER_ND": _with("GatherNd", 2),
    "EMBEDDING_LOOKUP": _embedding_lookup,
    "ONE_HOT": _one_hot,
    "TILE": _with("Tile", 2),
    "FILL": _with("Fill", 2),
    "RANGE": _with("Range", 3),
    "BROADCAST_TO": _with("BroadcastTo", 2),
    "BROADCAST_ARGS": _with("BroadcastArgs", 2),
    "SCATTER_ND": _with("ScatterNd", 3),
    "REVERSE_V2": _with("ReverseV2", 2),
    "REVERSE_SEQUENCE": _reverse_sequence,
    "MATRIX_DIAG": _with("MatrixDiag", 1),
    "MATRIX_SET_DIAG": _with("MatrixSetDiag", 2),
    "UNIQUE": _unique,
    "SPARSE_TO_DENSE": _sparse_to_dense,
    "RESIZE_BILINEAR": _resize("ResizeBilinear", 2),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor", 0),
    "SPACE_TO_DEPTH": _blocks("SpaceToDepth"),
    "DEPTH_TO_SPACE": _blocks("DepthToSpace"),
    "SPACE_TO_BATCH_ND": _with("SpaceToBatchND", 3),
    "BATCH_TO_SPACE_ND": _with("BatchToSpaceND", 3),
    "NON_MAX_SUPPRESSION_V4": _suppression("NonMaxSuppressionV4", 5, 2),
    "NON_MAX_SUPPRESSION_V5": _suppression("NonMaxSuppressionV5", 6, 3),
}
