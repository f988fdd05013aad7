"""Random numbers. They differ from run to run, so nothing folds them; plan/draws.py makes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import numpy as np

from ...kernels.tensor import DType, Shape, TensorType
from ..errors import GraphError
from .attributes import I32, I64, Attr, Row, of, types
from .base import OpDef, Site, attr_dtype

__all__ = ["DEFS", "RANDOM"]

F32, F64, F16 = types("float32", "float64", "float16")
U64 = np.dtype(np.uint64)


def _drawn(site: Site) -> NoReturn:
    raise GraphError(f"{site.op} '{site.name}' has no kernel: the plan draws its numbers")


def _shape(site: Site) -> Shape:
    """What input 0 says of the result."""
    given = site.inputs[0]
    value = site.value_of(0)
    if value is not None:
        sizes: Shape = tuple(int(v) for v in value.reshape(-1))
    else:
        sizes = site.sizes_of(0)
        if sizes is None and given.shape is not None and len(given.shape) == 1 and given.shape[0] is not None:
            sizes = (None,) * given.shape[0] if given.shape[0] <= 64 else None
    if given.rank not in (1, None):
        raise GraphError(f"{site.op} '{site.name}': the shape must be a vector, got {given}")
    if sizes is not None and any(d is not None and d < 0 for d in sizes):
        raise GraphError(f"{site.op} '{site.name}': the shape {sizes} has a negative size")
    return sizes


def _infer(dtype: Callable[[Site], DType]) -> Callable[[Site], tuple[TensorType, ...]]:
    return lambda site: (TensorType(dtype(site), _shape(site)),)


def _wanted(name: str, default: DType | None = None) -> Callable[[Site], DType]:
    return lambda site: attr_dtype(site, name, default)


def _of_input(index: int) -> Callable[[Site], DType]:
    return lambda site: site.inputs[index].dtype


_SEEDS: Row = {"seed": Attr("int", 0), "seed2": Attr("int", 0)}
_FLOAT = Attr("type", allowed=(F16, F32, F64))
_FLOAT32 = Attr("type", F32, allowed=(F16, F32, F64))
_KEYED: Row = {"Tshape": of(0, I32)}


def _key_counter(site: Site) -> tuple[TensorType, ...]:
    return TensorType(U64, (1,)), TensorType(U64, (2,))


DEFS: tuple[OpDef, ...] = (
    *(
        OpDef(op, _drawn, infer=_infer(_wanted("dtype")), attributes={**_SEEDS, "dtype": _FLOAT, "T": of(0)})
        for op in ("RandomUniform", "RandomStandardNormal", "TruncatedNormal")
    ),
    OpDef(
        "RandomUniformInt", _drawn, (3, 3), infer=_infer(_of_input(1)),
        attributes={**_SEEDS, "Tout": of(1), "T": of(0)},
    ),
    *(
        OpDef(
            op, _drawn, (2, 2), infer=_infer(_wanted("dtype", F32)),
            attributes={"dtype": _FLOAT32, "T": of(0, I32), "Tseed": of(1, I64)},
        )
        for op in ("StatelessRandomUniform", "StatelessRandomNormal", "StatelessTruncatedNormal")
    ),
    OpDef(
        "StatelessRandomUniformInt", _drawn, (4, 4), infer=_infer(_of_input(2)),
        attributes={"dtype": of(2), "T": of(0), "Tseed": of(1, I64)},
    ),
    *(
        OpDef(op, _drawn, (4, 4), infer=_infer(_wanted("dtype", F32)), attributes={**_KEYED, "dtype": _FLOAT32})
        for op in ("StatelessRandomUniformV2", "StatelessRandomNormalV2", "StatelessTruncatedNormalV2")
    ),
    OpDef(
        "StatelessRandomUniformIntV2", _drawn, (6, 6), infer=_infer(_of_input(4)),
        attributes={**_KEYED, "dtype": of(4)},
    ),
    OpDef("StatelessRandomGetKeyCounter", _drawn, infer=_key_counter, attributes={"Tseed": of(0, I64)}),
    OpDef(
        "StatelessRandomGetAlg", _drawn, (0, 0), infer=lambda site: (TensorType(np.dtype(np.int32), ()),), attributes={}
    ),
)  # fmt: skip

#: Op types whose results differ from run to run, or are made with those.
RANDOM = frozenset(d.name for d in DEFS)
