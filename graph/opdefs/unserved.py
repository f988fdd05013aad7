"""Op types of files that kigraph does not run, but of which it knows more than their name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...kernels.tensor import Shape, TensorType

__all__ = ["SOURCES", "WHY", "stated_types"]

#: Op types that bring data from outside of the graph; their outputs are fed.
SOURCES = frozenset(["IteratorGetNext", "IteratorGetNextSync"])
_VARIABLE = "the file has no value of the variable. Freeze the graph, load the folder that has the variables"
#: Op type -> why it is not run, and what else to do.
WHY: Mapping[str, str] = {
    **dict.fromkeys(
        (*SOURCES, "Iterator", "IteratorV2", "OneShotIterator"),
        "it reads a data set that is no part of the file. Feed what IteratorGetNext gives",
    ),
    **dict.fromkeys(("ReadVariableOp", "VarHandleOp", "Variable", "ResourceGather"), _VARIABLE),
}


def stated_types(op: str, attrs: Mapping[str, Any]) -> tuple[TensorType, ...] | None:
    """Types of the outputs, as far as the attributes of such an op state them."""
    if op in SOURCES:
        dtypes, shapes = attrs.get("output_types"), attrs.get("output_shapes")
        if not isinstance(dtypes, tuple) or not isinstance(shapes, tuple) or len(dtypes) != len(shapes) or not dtypes:
            return None
        pairs = list(zip(dtypes, shapes, strict=True))
        return (
            tuple(TensorType(d, _shape(s)) for d, s in pairs)
            if all(isinstance(d, np.dtype) for d, _ in pairs)
            else None
        )
    if op == "ReadVariableOp" and isinstance(dtype := attrs.get("dtype"), np.dtype):
        return (TensorType(dtype, None),)
    return None


def _shape(shape: Any) -> Shape:
    return shape if isinstance(shape, tuple) and all(d is None or isinstance(d, int) for d in shape) else None
