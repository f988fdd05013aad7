"""Control flow: ops that decide what runs. The plan handles them itself; none has a kernel.

Switch and Merge are gone when a plan is made (plan/branches.py).
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from ...kernels.contracts.base import require_same_dtype
from ...kernels.errors import DTypeError
from ...kernels.tensor import Shape, TensorType
from ..errors import GraphError
from ..ir import UNKNOWN
from .attributes import Attr, T
from .base import OpDef, Site

__all__ = ["BRANCHING", "CONTROL", "DEFS"]

_SCALAR = TensorType(np.dtype(np.int32), ())


def _planned(site: Site) -> NoReturn:
    raise GraphError(f"{site.op} '{site.name}' has no kernel: the plan handles it")


def _infer_switch(site: Site) -> tuple[TensorType, ...]:
    predicate = site.inputs[1]
    if predicate.dtype not in (np.dtype(bool), UNKNOWN) or predicate.rank not in (0, None):
        raise DTypeError(f"{site.op} '{site.name}': the predicate must be a bool of shape (), got {predicate}")
    return (site.inputs[0], site.inputs[0])


def common_shape(types: tuple[TensorType, ...]) -> Shape:
    """What is known of a tensor that is one of several."""
    shapes = [t.shape for t in types]
    first = shapes[0]
    if first is None or any(s is None or len(s) != len(first) for s in shapes):
        return None
    return tuple(d if all(s is not None and s[i] == d for s in shapes) else None for i, d in enumerate(first))


def _infer_merge(site: Site) -> tuple[TensorType, ...]:
    require_same_dtype(f"{site.op} '{site.name}'", site.inputs)
    return (TensorType(site.inputs[0].dtype, common_shape(site.inputs)), _SCALAR)


#: Op types of which one input or output of several is live.
BRANCHING = frozenset(["Switch", "RefSwitch", "Merge", "RefMerge"])
_MERGE = {**T, "N": Attr("int", count=0)}

DEFS: tuple[OpDef, ...] = (
    *(OpDef(op, _planned, arity=(2, 2), infer=_infer_switch) for op in ("Switch", "RefSwitch")),
    *(OpDef(op, _planned, arity=(1, None), infer=_infer_merge, attributes=_MERGE) for op in ("Merge", "RefMerge")),
)

#: Op types that have no kernel, because the plan handles them.
CONTROL = frozenset(d.name for d in DEFS)
