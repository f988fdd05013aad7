"""Ops that hand a value on: identities of several values, stated shapes, prints, other bits; and constants like a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...kernels.contracts.arrange import BITCAST, FILLED, BitcastParams, FilledParams
from ...kernels.contracts.base import merge_shapes
from ...kernels.contracts.layout import IDENTITY
from ...kernels.tensor import TensorType
from ..errors import GraphError
from ..ir import UNKNOWN
from .attributes import Attr, Row, T, of
from .base import Lowered, NeedsValue, OpDef, Site, attr_dtype

__all__ = ["DEFS"]


def _infer_identity_n(site: Site) -> tuple[TensorType, ...]:
    given = site.attr("T")
    if given is None or len(given) != len(site.inputs):
        found = "is missing" if given is None else f"has {len(given)} types"
        raise GraphError(
            f"IdentityN '{site.name}': attribute T {found}; expected one for each of {len(site.inputs)} inputs"
        )
    for i, (dtype, t) in enumerate(zip(given, site.inputs, strict=True)):
        if dtype != t.dtype and UNKNOWN not in (dtype, t.dtype):
            raise GraphError(f"IdentityN '{site.name}': attribute T says {dtype} of input {i}, which is {t}")
    return site.inputs


def _identity_n(site: Site) -> Lowered:
    _infer_identity_n(site)
    return Lowered(IDENTITY, inputs=(0,))


def _all_handed_on(attrs: Mapping[str, Any]) -> Mapping[int, int]:
    return {i: i for i in range(len(attrs.get("T", ())))}


def _first(site: Site) -> Lowered:
    return Lowered(IDENTITY, inputs=(0,))


def _infer_ensured(site: Site) -> tuple[TensorType, ...]:
    shape = merge_shapes(f"EnsureShape '{site.name}'", site.attr("shape"), site.inputs[0].shape)
    return (TensorType(site.inputs[0].dtype, shape),)


def _ensure_shape(site: Site) -> Lowered:
    _infer_ensured(site)
    return Lowered(IDENTITY)


def _like(value: int) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        x = site.inputs[0]
        if not x.known:
            raise NeedsValue(0)
        return Lowered(FILLED, FilledParams(x.dims, x.dtype, value), ())

    return lower


def _bitcast(site: Site) -> Lowered:
    target = attr_dtype(site, "type")
    if target == UNKNOWN:
        raise site.unsupported("an element type that NumPy lacks", "feed a tensor downstream of it")
    same = target == site.inputs[0].dtype
    return Lowered(IDENTITY) if same else Lowered(BITCAST, BitcastParams(target))


_COPY: Row = {**T, "tensor_name": Attr("string", ""), "debug_ops_spec": Attr("list(string)", ())}

DEFS: tuple[OpDef, ...] = (
    OpDef(
        "IdentityN",
        _identity_n,
        arity=(1, None),
        infer=_infer_identity_n,
        forwards=_all_handed_on,
        attributes={"T": Attr("list(type)")},
    ),
    OpDef("EnsureShape", _ensure_shape, infer=_infer_ensured, attributes={**T, "shape": Attr("shape")}),
    OpDef(
        "Print",
        _first,
        arity=(1, None),
        attributes={
            **T,
            "U": Attr("list(type)"),
            "message": Attr("string", ""),
            "first_n": Attr("int", -1),
            "summarize": Attr("int", 3),
        },
    ),
    *(OpDef(name, _first) for name in ("GuaranteeConst", "DeepCopy")),
    *(OpDef(name, _first, attributes=_COPY) for name in ("Copy", "CopyHost")),
    OpDef("ZerosLike", _like(0), infer=lambda site: (site.inputs[0],)),
    OpDef("OnesLike", _like(1), infer=lambda site: (site.inputs[0],)),
    OpDef("Bitcast", _bitcast, attributes={"T": of(0), "type": Attr("type")}),
)
