"""Ops that pick elements: slices, splits, gathers."""

from __future__ import annotations

from ...kernels.contracts.base import normalize_axis
from ...kernels.contracts.layout import GATHER, SLICE, SPLIT, GatherParams, SliceParams, SplitParams
from ...kernels.errors import ShapeError
from ...kernels.tensor import Dim, Shape, TensorType
from ..errors import GraphError
from .attributes import I64, TRUE, Attr, Row, T, of
from .base import Lowered, NeedsValue, OpDef, Site, entries, ints, one_int, required

__all__ = ["DEFS"]

#: Outputs that one op may have: a number from a file must not cost memory for each.
_MOST_PARTS = 1 << 16
_MASKS = ("ellipsis", "new_axis", "shrink_axis", "begin", "end")


def _slice(site: Site) -> Lowered:
    return Lowered(SLICE, SliceParams(ints(site, 1, "begin"), ints(site, 2, "size")), (0,))


def _unknown_slice(site: Site) -> tuple[TensorType, ...]:
    x, sizes = site.inputs[0], entries(site, 2)
    if sizes is None:
        return (TensorType(x.dtype, None if x.shape is None else (None,) * len(x.shape)),)
    return (TensorType(x.dtype, tuple(None if n is None or n < 0 else n for n in sizes)),)


def _indices(site: Site, count: int, rank: int) -> list[tuple[str, int]]:
    """(kind, position) of every index of a StridedSlice, with an ellipsis at the end if there is none."""
    masks = {k: int(site.attr(f"{k}_mask", 0)) for k in _MASKS}
    index = [
        (next((k for k in ("ellipsis", "new_axis", "shrink_axis") if masks[k] >> i & 1), "range"), i)
        for i in range(count)
    ]
    kinds = [kind for kind, _ in index]
    taken = kinds.count("range") + kinds.count("shrink_axis")
    if taken > rank or masks["ellipsis"] & (masks["ellipsis"] - 1):
        raise GraphError(f"StridedSlice '{site.name}': {taken} indices for {site.inputs[0]}, or two ellipses")
    if "ellipsis" not in kinds:
        index.append(("ellipsis", -1))
    at = next(i for i, (kind, _) in enumerate(index) if kind == "ellipsis")
    return [*index[:at], *[("whole", -1)] * (rank - taken), *index[at + 1 :]]


def _picked(site: Site, axis: int, size: Dim, begin: Dim, end: Dim, step: Dim, i: int) -> range | None:
    """What index ``i``, a range, picks of an axis; None if that is not known."""
    if step == 0:
        raise GraphError(f"StridedSlice '{site.name}': stride 0 on axis {axis}")
    open_begin, open_end = (int(site.attr(f"{k}_mask", 0)) >> i & 1 for k in ("begin", "end"))
    if size is None or step is None or (begin is None and not open_begin) or (end is None and not open_end):
        return None
    return range(*slice(None if open_begin else begin, None if open_end else end, step).indices(size))


def _position(site: Site, axis: int, index: int, size: int) -> int:
    if not -size <= index < size:
        raise ShapeError(
            f"StridedSlice '{site.name}': index {index} is out of range for axis {axis} of size {size}; "
            f"expected {-size} to {size - 1}"
        )
    return index + size if index < 0 else index


def _strided(site: Site) -> tuple[list[tuple[int, int, int] | None], Shape]:
    """The box that a StridedSlice takes (None for axes on which it is not known), and the shape of the result.

    The shape is what the masks leave of the box; it is None if not even the number of axes is known.
    """
    shape = site.inputs[0].shape
    begins, ends, steps = (entries(site, i) for i in (1, 2, 3))
    if shape is None or begins is None or ends is None or steps is None:
        return [None], None
    if not len(begins) == len(ends) == len(steps):
        raise GraphError(f"StridedSlice '{site.name}': begin {begins}, end {ends}, strides {steps} differ in length")
    box: list[tuple[int, int, int] | None] = []
    result: list[Dim] = []
    for kind, i in _indices(site, len(begins), len(shape)):
        if kind == "new_axis":
            result.append(1)
            continue
        axis, size = len(box), shape[len(box)]
        if kind == "whole":
            box.append(None if size is None else (0, size, 1))
            result.append(size)
        elif kind == "shrink_axis":
            begin, step = begins[i], steps[i]
            if step is not None and step <= 0:
                raise GraphError(
                    f"StridedSlice '{site.name}': stride {step} with a single index on axis {axis}; expected 1"
                )
            at = None if size is None or begin is None else _position(site, axis, begin, size)
            box.append(None if at is None else (at, 1, 1))
        else:
            picked = _picked(site, axis, size, begins[i], ends[i], steps[i], i)
            box.append(None if picked is None else (picked.start if picked else 0, len(picked), picked.step))
            result.append(None if picked is None else len(picked))
    return box, tuple(result)


def _strided_slice(site: Site) -> Lowered:
    """The box alone; where masks drop or add axes of size 1 the plan reshapes (same elements, see _infer_strided)."""
    for i in (1, 2, 3):
        site.value(i)
    box, _ = _strided(site)
    columns = [b for b in box if b is not None]
    if len(columns) != len(box):
        raise NeedsValue(0)
    starts, counts, strides = (tuple(column) for column in zip(*columns, strict=True)) if columns else ((), (), ())
    return Lowered(SLICE, SliceParams(starts, counts, strides), (0,))


def _infer_strided(site: Site) -> tuple[TensorType, ...]:
    return (TensorType(site.inputs[0].dtype, _strided(site)[1]),)


def _split(site: Site) -> Lowered:
    count = required(site, "num_split")
    axis = one_int(site, 0, "the axis")
    shape = site.inputs[1].shape
    size = None if shape is None else shape[normalize_axis(f"Split '{site.name}'", axis, len(shape))]
    if size is None:
        raise NeedsValue(1)
    if not 1 <= count <= _MOST_PARTS or size % count:
        raise GraphError(
            f"Split '{site.name}': axis {axis} of {site.inputs[1]} does not split into {count} equal parts"
        )
    return Lowered(SPLIT, SplitParams(axis, (size // count,) * count), (1,))


def _split_v(site: Site) -> Lowered:
    sizes, axis = ints(site, 1, "the sizes"), one_int(site, 2, "the axis")
    if len(sizes) != required(site, "num_split"):
        raise GraphError(f"SplitV '{site.name}': {len(sizes)} sizes, but num_split is {site.attrs['num_split']}")
    if sizes.count(-1) == 1:
        shape = site.inputs[0].shape
        total = None if shape is None else shape[normalize_axis(f"SplitV '{site.name}'", axis, len(shape))]
        if total is None:
            raise NeedsValue(0)
        sizes = tuple(total - sum(s for s in sizes if s != -1) if s == -1 else s for s in sizes)
    return Lowered(SPLIT, SplitParams(axis, sizes), (0,))


def _unknown_split(site: Site) -> tuple[TensorType, ...]:
    """All axes but the split one are those of the input; which one that is may be unknown, too."""
    x, where = (site.inputs[1], 0) if site.op == "Split" else (site.inputs[0], 2)
    count = required(site, "num_split")
    if not 1 <= count <= _MOST_PARTS:
        raise GraphError(f"{site.op} '{site.name}': attribute num_split must be from 1 to {_MOST_PARTS}, got {count}")
    if x.shape is None:
        return (TensorType(x.dtype),) * count
    axis = (entries(site, where) or (None,))[0]
    if axis is None:
        return (TensorType(x.dtype, (None,) * len(x.shape)),) * count
    at = normalize_axis(f"{site.op} '{site.name}'", axis, len(x.shape))
    sizes = (entries(site, 1) if site.op == "SplitV" else None) or (None,) * count
    return tuple(
        TensorType(x.dtype, (*x.shape[:at], None if n is None or n < 0 else n, *x.shape[at + 1 :])) for n in sizes
    )


def _unpack(site: Site) -> Lowered:
    """Parts of size 1; the plan drops the axis (same elements, see _infer_unpack)."""
    shape = site.inputs[0].shape
    if shape is None:
        raise NeedsValue(0)
    axis = normalize_axis(f"Unpack '{site.name}'", int(site.attr("axis", 0)), len(shape))
    return Lowered(SPLIT, SplitParams(axis, (1,) * _parts(site)))


def _parts(site: Site) -> int:
    count = required(site, "num")
    if not 0 <= count <= _MOST_PARTS:
        raise GraphError(f"Unpack '{site.name}': attribute num must be from 0 to {_MOST_PARTS}, got {count}")
    return count


def _infer_unpack(site: Site) -> tuple[TensorType, ...]:
    x, count = site.inputs[0], _parts(site)
    if x.shape is None:
        return (TensorType(x.dtype),) * count
    parts = SPLIT.check([x], _unpack(site).params)
    axis = normalize_axis("Unpack", int(site.attr("axis", 0)), len(x.shape))
    return tuple(TensorType(t.dtype, (t.shape or ())[:axis] + (t.shape or ())[axis + 1 :]) for t in parts)


def _gather(site: Site) -> Lowered:
    if site.op == "Gather":
        return Lowered(GATHER, GatherParams(0), (0, 1))
    axis = one_int(site, 2, "the axis")
    return Lowered(GATHER, GatherParams(axis, int(site.attr("batch_dims", 0))), (0, 1))


def _unknown_gather(site: Site) -> tuple[TensorType, ...]:
    x, indices = site.inputs[:2]
    known = x.shape is not None and indices.shape is not None
    batch = int(site.attr("batch_dims", 0))
    taken = batch + len(indices.shape or ()) if batch < 0 else batch
    rank = len(x.shape or ()) + len(indices.shape or ()) - 1 - taken
    return (TensorType(x.dtype, (None,) * rank if known and rank >= 0 else None),)


_STRIDED_SLICE: Row = {
    **T,
    "Index": of(1),
    **{f"{k}_mask": Attr("int", 0) for k in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")},
}

DEFS: tuple[OpDef, ...] = (
    OpDef("Slice", _slice, arity=(3, 3), values=(1, 2), unknown=_unknown_slice, attributes={**T, "Index": of(1)}),
    OpDef(
        "StridedSlice", _strided_slice, arity=(4, 4), values=(1, 2, 3), infer=_infer_strided, attributes=_STRIDED_SLICE
    ),
    OpDef(
        "Split",
        _split,
        arity=(2, 2),
        values=(0,),
        unknown=_unknown_split,
        attributes={"num_split": Attr("int"), "T": of(1)},
    ),
    OpDef(
        "SplitV",
        _split_v,
        arity=(3, 3),
        values=(1, 2),
        unknown=_unknown_split,
        attributes={"num_split": Attr("int"), **T, "Tlen": of(1, I64)},
    ),
    OpDef("Unpack", _unpack, infer=_infer_unpack, attributes={"num": Attr("int"), **T, "axis": Attr("int", 0)}),
    OpDef(
        "Gather",
        _gather,
        arity=(2, 2),
        attributes={"validate_indices": TRUE, "Tparams": of(0), "Tindices": of(1)},
    ),
    OpDef(
        "GatherV2",
        _gather,
        arity=(3, 3),
        values=(2,),
        unknown=_unknown_gather,
        attributes={"batch_dims": Attr("int", 0), "Tparams": of(0), "Tindices": of(1), "Taxis": of(2)},
    ),
)
