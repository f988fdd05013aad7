"""One contract per op: formula, parameters, shape and dtype rule, FLOPs, edge cases, tolerance.

base.py: Contract and the shared shape rules; then one file per family of ops. CONTRACTS lists all of them.
"""

from __future__ import annotations

from typing import Any

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
from .base import Contract

__all__ = ["CONTRACTS", "Contract"]

CONTRACTS: tuple[Contract[Any], ...] = (
    matmul.MATMUL,
    conv2d.CONV2D, conv2d.DEPTHWISE_CONV2D, siblings.SIBLING_CONV2D,
    pool2d.MAX_POOL2D, pool2d.AVG_POOL2D,
    normalization.BIAS_ADD, normalization.BATCH_NORM,
    *elementwise.UNARY, *elementwise.BINARY, elementwise.SELECT, elementwise.SELECT_ROWS,
    softmax.SOFTMAX, softmax.LOG_SOFTMAX,
    *reduce.REDUCTIONS, reduce.ARGMAX, reduce.ARGMIN, reduce.TOP_K,
    concat.CONCAT,
    resize.RESIZE_BILINEAR,
    layout.RESHAPE, layout.IDENTITY, layout.TRANSPOSE, layout.PAD, layout.SLICE, layout.SPLIT, layout.GATHER, layout.TILE,
    layout.PACK, layout.BROADCAST_TO, layout.FILL, layout.RANGE, layout.CAST,
    *gradients.BACKWARD,
    strings.DECODE_IMAGE, strings.ENCODE_JPEG, strings.ENCODE_PNG, strings.AS_STRING, strings.STRING_JOIN,
)  # fmt: skip
