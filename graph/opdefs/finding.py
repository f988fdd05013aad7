"""Ops that find, of which most have output shapes that depend on values, and those of the diagonals of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.contracts import finding as f
from ...kernels.contracts import matrices as m
from ...kernels.tensor import TensorType
from ..errors import GraphError
from .attributes import FALSE, I32, I64, TRUE, Attr, Row, T, of, types
from .base import Lowered, OpDef, Site, attr_dtype, ints, one_int, simple

__all__ = ["DEFS"]


def _index(site: Site) -> Any:
    return attr_dtype(site, "out_idx", np.dtype(np.int32)).name


def _unique(outputs: Any) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        x = site.inputs[0]
        axis: int | None = None
        if site.op.endswith("V2"):
            axes = ints(site, 1, "the axes")
            if len(axes) > 1:
                raise GraphError(f"{site.op} '{site.name}': one axis or none may be given, got {axes}")
            axis = axes[0] if axes else None
        elif x.shape is not None and len(x.shape) != 1:
            raise GraphError(f"{site.op} '{site.name}': the input must be a vector, got {x}")
        if axis in (0, -1) and x.shape is not None and len(x.shape) == 1:
            axis = None  # slices of a vector are its elements
        return Lowered(f.UNIQUE, f.UniqueParams(outputs, axis, False, _index(site)), (0,))

    return lower


def _unknown_unique(outputs: int) -> Callable[[Site], tuple[TensorType, ...]]:
    def types_(site: Site) -> tuple[TensorType, ...]:
        index = attr_dtype(site, "out_idx", np.dtype(np.int32))
        return (TensorType(site.inputs[0].dtype), *(TensorType(index, (None,)) for _ in range(outputs)))

    return types_


def _own_unique(site: Site) -> Lowered:
    """Of ONNX: values, first occurrences, inverse, counts; without an axis all elements."""
    axis = site.attr("axis")
    names: Any = ("first", "inverse", "counts")
    return Lowered(
        f.UNIQUE,
        f.UniqueParams(names, None if axis is None else int(axis), bool(site.attr("sorted", True)), _index(site)),
    )


def _segments(mode: Any) -> Callable[[Site], Lowered]:
    return lambda site: Lowered(f.SORTED_SEGMENTS, f.SortedSegmentsParams(mode))


def _decode_raw(site: Site) -> Lowered:
    params = f.DecodeRawParams(attr_dtype(site, "out_type"), bool(site.attr("little_endian", True)))
    return Lowered(f.DECODE_RAW, params)


def _range(site: Site, default: str) -> m.Diagonals:
    """The diagonals that input 1 names, one or a range."""
    k = ints(site, 1, "the diagonals")
    if not 1 <= len(k) <= 2:
        raise GraphError(f"{site.op} '{site.name}': the diagonals must be one number or two, got {len(k)}")
    align = site.attr("align", default)
    text = align.decode("latin-1") if isinstance(align, bytes) else str(align)
    above, _, below = text.partition("_")
    return m.Diagonals(k[0], k[-1], (above == "LEFT", below == "LEFT"))


def _diagonals(default: str) -> Callable[[Site], Lowered]:
    return lambda site: Lowered(m.DIAGONALS, _range(site, default), (0, 2))


def _set_diagonals(default: str) -> Callable[[Site], Lowered]:
    return lambda site: Lowered(m.SET_DIAGONALS, _swapped(site, default), (0, 1))


def _swapped(site: Site, default: str) -> m.Diagonals:
    """The numbers of the diagonals are input 2 here."""
    inputs = (site.inputs[0], site.inputs[2])
    return _range(Site(site.name, site.op, site.attrs, inputs, lambda i: site.value_of(2 * i)), default)


def _from_diagonals(default: str) -> Callable[[Site], Lowered]:
    def lower(site: Site) -> Lowered:
        rows, columns = one_int(site, 2, "the rows"), one_int(site, 3, "the columns")
        if min(rows, columns) < -1:
            raise GraphError(f"{site.op} '{site.name}': rows and columns must be sizes or -1, got {rows} and {columns}")
        sizes = (None if n == -1 else n for n in (rows, columns))
        return Lowered(m.FROM_DIAGONALS, m.FromDiagonalsParams(_range(site, default), *sizes), (0, 4))

    return lower


def _unknown_first(site: Site) -> tuple[TensorType, ...]:
    return (site.inputs[0],)


_ALIGN: Row = {
    **T, "align": Attr("string", "RIGHT_LEFT", allowed=("LEFT_LEFT", "LEFT_RIGHT", "RIGHT_LEFT", "RIGHT_RIGHT")),
}  # fmt: skip
_OUT: Row = {**T, "out_idx": Attr("type", I32, allowed=(I32, I64))}
_RAW: Row = {"out_type": Attr("type"), "little_endian": TRUE}
_OWN: Row = {**_OUT, "axis": Attr("int", None), "sorted": TRUE}
#: Ops of TensorFlow's second and third version, which differ in where shorter diagonals begin.
_VERSIONS: tuple[tuple[str, str, Row], ...] = (("V2", "LEFT_LEFT", T), ("V3", "RIGHT_LEFT", _ALIGN))

DEFS: tuple[OpDef, ...] = (
    OpDef("Where", lambda site: Lowered(f.NONZERO), attributes={"T": of(0, types("bool")[0])}),
    OpDef("Unique", _unique(("inverse",)), unknown=_unknown_unique(1), attributes=_OUT),
    OpDef("UniqueWithCounts", _unique(("inverse", "counts")), unknown=_unknown_unique(2), attributes=_OUT),
    OpDef(
        "UniqueV2",
        _unique(("inverse",)),
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_unique(1),
        attributes={**_OUT, "Taxis": of(1, I64)},
    ),
    OpDef(
        "UniqueWithCountsV2",
        _unique(("inverse", "counts")),
        arity=(2, 2),
        values=(1,),
        unknown=_unknown_unique(2),
        attributes={**_OUT, "Taxis": of(1, I64)},
    ),
    OpDef("KiUnique", _own_unique, attributes=_OWN),
    *(
        OpDef(f"Segment{name}", _segments(name.lower()), arity=(2, 2), attributes={**T, "Tindices": of(1)})
        for name in ("Sum", "Mean", "Prod", "Max", "Min")
    ),
    OpDef("KiLookup", lambda site: Lowered(f.LOOKUP), arity=(4, 4), attributes={"T": of(0), "Tvalues": of(1)}),
    OpDef("DecodeRaw", _decode_raw, attributes=_RAW),
    OpDef("MatrixDiag", lambda site: Lowered(m.FROM_DIAGONALS, m.FromDiagonalsParams())),
    OpDef("MatrixDiagPart", lambda site: Lowered(m.DIAGONALS, m.Diagonals())),
    OpDef("MatrixSetDiag", lambda site: Lowered(m.SET_DIAGONALS, m.Diagonals()), arity=(2, 2)),
    *(
        definition
        for version, align, row in _VERSIONS
        for definition in (
            OpDef(f"MatrixDiag{version}", _from_diagonals(align), arity=(5, 5), values=(1, 2, 3), attributes=row),
            OpDef(f"MatrixDiagPart{version}", _diagonals(align), arity=(3, 3), values=(1,), attributes=row),
            OpDef(
                f"MatrixSetDiag{version}",
                _set_diagonals(align),
                arity=(3, 3),
                values=(2,),
                unknown=_unknown_first,
                attributes=row,
            ),
        )
    ),
    simple("MatrixDeterminant", m.DETERMINANT),
    simple("MatrixInverse", m.INVERSE, {**T, "adjoint": FALSE}),
)
