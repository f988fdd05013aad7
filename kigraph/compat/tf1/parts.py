"""Slices, joins and selections under TensorFlow 1's names."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from .array import broadcast_to, expand_dims, identity, reshape, shape, size, squeeze
from .building import apply, as_int_list, constant, convert, graph_of, is_tensor, one, several
from .dtypes import as_dtype, numpy_dtype
from .graph import OPERATORS, Tensor, get_default_graph
from .math import FUNCTIONS, cast

__all__ = [
    "boolean_mask", "concat", "gather", "gather_nd", "getitem", "meshgrid", "pad", "reverse", "scatter_nd", "sequence_mask", "slice", "split", "stack", "strided_slice", "tile", "top_k", "unique", "unstack", "where", "where_v2",
]  # fmt: skip


def meshgrid(*args: Any, indexing: str = "xy", name: str = "meshgrid") -> list[Tensor]:
    """Coordinates of a grid, one array per axis."""
    n = len(args)
    with get_default_graph().name_scope(name):
        vectors = [reshape(a, [-1]) for a in args]
        lengths = [size(v) for v in vectors]
        order = list(builtins.range(n))
        if indexing == "xy" and n > 1:
            order[:2] = [1, 0]
        sizes = stack([lengths[i] for i in order])
        grids = []
        for i, vector in enumerate(vectors):
            at = order.index(i)
            grids.append(broadcast_to(reshape(vector, [1] * at + [-1] + [1] * (n - at - 1)), sizes))
        return grids


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = "bool", name: str | None = None) -> Tensor:
    """True below each length, along a new last axis of size ``maxlen``."""
    from .math import range as numbers
    from .math import reduce_max

    with get_default_graph().name_scope(name or "SequenceMask"):
        lengths = convert(lengths)
        last = reduce_max(lengths) if maxlen is None else convert(maxlen, lengths.dtype)
        row = numbers(constant(np.zeros((), lengths.core.dtype)), last, constant(np.ones((), lengths.core.dtype)))
        mask = FUNCTIONS["less"](row, expand_dims(lengths, -1))
        return mask if as_dtype(dtype).is_bool else cast(mask, dtype)


# --- joins and parts -----------------------------------------------------------------------------------------------------


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """Tensors one after the other along an axis."""
    if isinstance(axis, (list, builtins.tuple)) or (is_tensor(axis) and convert(axis).shape.ndims not in (0, None)):
        raise TypeError(
            "concat takes (values, axis) since TensorFlow 1.0; this looks like the older order (axis, values)"
        )
    items = list(values) if isinstance(values, (list, builtins.tuple)) else [values]
    if len(items) == 1:
        return identity(items[0], name)
    return one(apply("ConcatV2", name, {"values": several(items), "axis": axis}, dtypes={"axis": "int32"}))


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape along a new axis."""
    if not is_tensor(values) and not any(is_tensor(v) for v in values) and axis == 0:
        return convert(values, name=name)
    items = unstack(values) if is_tensor(values) else list(values)
    return one(apply("Pack", name, {"values": several(items)}, {"axis": axis}))


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The parts along an axis, which goes."""
    value = convert(value)
    count = value.shape[axis].value if num is None else num
    if count is None:
        raise ValueError(f"Cannot infer argument `num` from shape {value.shape}")
    return apply("Unpack", name, {"value": value}, {"num": count, "axis": axis}).outputs


def split(
    value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None, name: str = "split"
) -> list[Tensor]:
    """Equal parts along an axis, or parts of given sizes."""
    if isinstance(value, int) and is_tensor(axis):
        raise TypeError(
            "split takes (value, num_or_size_splits, axis) since TensorFlow 1.0; this looks like the older order"
        )
    if isinstance(num_or_size_splits, (int, np.integer)):
        attrs = {"num_split": int(num_or_size_splits)}
        return apply("Split", name, {"split_dim": axis, "value": value}, attrs, dtypes={"split_dim": "int32"}).outputs
    count = len(as_int_list(num_or_size_splits, "split: the sizes")) if num is None else num
    values = {"value": value, "size_splits": num_or_size_splits, "split_dim": axis}
    dtypes = {"size_splits": "int32", "split_dim": "int32"}
    return apply("SplitV", name, values, {"num_split": count}, dtypes=dtypes).outputs


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0,
) -> Tensor:  # fmt: skip
    """Elements added before and behind each axis: constants, or mirrored ones (REFLECT, SYMMETRIC)."""
    mode = mode.upper()
    if mode not in ("CONSTANT", "REFLECT", "SYMMETRIC"):
        raise ValueError(f"Unknown padding mode: {mode}")
    dtypes: dict[str, Any] = {"paddings": "int32"}
    if mode != "CONSTANT":
        return one(apply("MirrorPad", name, {"input": tensor, "paddings": paddings}, {"mode": mode}, dtypes=dtypes))
    if is_tensor(constant_values) or constant_values != 0:
        tensor = convert(tensor)
        dtypes["constant_values"] = tensor.dtype
        values = {"input": tensor, "paddings": paddings, "constant_values": constant_values}
        return one(apply("PadV2", name, values, dtypes=dtypes))
    return one(apply("Pad", name, {"input": tensor, "paddings": paddings}, dtypes=dtypes))


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    return one(apply("Tile", name, {"input": input, "multiples": multiples}, dtypes={"multiples": "int32"}))


def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Tensor:
    """Slices of ``params`` along an axis, by index."""
    values = {"params": params, "indices": indices, "axis": batch_dims if axis is None else axis}
    return one(apply("GatherV2", name, values, {"batch_dims": batch_dims}, dtypes={"indices": None, "axis": "int32"}))


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Tensor:
    return one(
        apply(
            "GatherNd", name, {"params": params, "indices": indices}, {"batch_dims": batch_dims} if batch_dims else None
        )
    )


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    return one(
        apply("ScatterNd", name, {"indices": indices, "updates": updates, "shape": shape}, dtypes={"shape": "int32"})
    )


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    return one(apply("ReverseV2", name, {"tensor": tensor, "axis": axis}, dtypes={"axis": "int32"}))


def slice(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """``size`` elements of each axis from ``begin`` on; -1: all that follow."""
    values = {"input": input_, "begin": begin, "size": size}
    return one(apply("Slice", name, values, dtypes={"begin": "int32", "size": "int32"}))


def strided_slice(
    input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0, end_mask: int = 0, ellipsis_mask: int = 0,
    new_axis_mask: int = 0, shrink_axis_mask: int = 0, var: Any = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Elements from ``begin`` to before ``end`` with steps; the masks' bits say which of them count."""
    if strides is None:
        strides = [1] * len(as_int_list(begin, "strided_slice: begin"))
    values = {"input": input_, "begin": begin, "end": end, "strides": strides}
    attrs = {
        "begin_mask": begin_mask, "end_mask": end_mask, "ellipsis_mask": ellipsis_mask, "new_axis_mask": new_axis_mask,
        "shrink_axis_mask": shrink_axis_mask,
    }  # fmt: skip
    dtypes = dict.fromkeys(("begin", "end", "strides"), "int32")
    return one(apply("StridedSlice", name, values, attrs, dtypes=dtypes))


def getitem(tensor: Any, key: Any) -> Tensor:
    """tensor[key]: numbers, slices, Ellipsis, None, and scalar tensors among them."""
    if is_tensor(key) and convert(key).dtype.is_bool:
        return boolean_mask(tensor, key)
    keys = key if isinstance(key, builtins.tuple) else (key,)
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    masks = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)
    for i, part in enumerate(keys):
        if isinstance(part, builtins.slice):
            for bound, into, mask in ((part.start, begin, "begin_mask"), (part.stop, end, "end_mask")):
                into.append(0 if bound is None else bound)
                masks[mask] |= (bound is None) << i
            strides.append(1 if part.step is None else part.step)
            continue
        if part is Ellipsis or part is None:
            masks["ellipsis_mask" if part is Ellipsis else "new_axis_mask"] |= 1 << i
            begin.append(0)
            end.append(0 if part is Ellipsis else 1)
        else:
            if not is_tensor(part) and not hasattr(part, "__index__"):
                raise TypeError(
                    f"Only integers, slices, ellipsis, tf.newaxis and scalar tensors are valid indices, got {part!r}"
                )
            begin.append(part)
            end.append(part + 1)
            masks["shrink_axis_mask"] |= 1 << i
        strides.append(1)
    graph = graph_of(tensor)
    with graph.as_default(), graph.name_scope("strided_slice") as scope:
        parts = [_bounds(part, name) for part, name in ((begin, "stack"), (end, "stack_1"), (strides, "stack_2"))]
        values = dict(zip(("input", "begin", "end", "strides"), (tensor, *parts), strict=True))
        return one(apply("StridedSlice", scope, values, masks))


def _bounds(values: list[Any], name: str) -> Tensor:
    if any(is_tensor(v) for v in values):
        tensors = [cast(v, "int32") if is_tensor(v) else v for v in values]
        return stack(tensors, name=name)
    return constant(np.array([int(v) for v in values], np.int32), name=name)


OPERATORS["getitem"] = getitem


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: int | None = None) -> Tensor:
    """The elements for which a mask of the first axes is true, along one axis."""
    if axis:
        raise ValueError("boolean_mask: axis other than 0 is not supported; transpose first")
    with get_default_graph().name_scope(name):
        tensor, mask = convert(tensor), convert(mask)
        axes = mask.shape.ndims
        if not axes or tensor.shape.ndims is None:
            raise ValueError("boolean_mask: the ranks must be known while the graph is built, and the mask no scalar")
        rest = shape(tensor)[axes:]
        flat = reshape(tensor, concat([[-1], rest], 0))
        found = squeeze(where(reshape(mask, [-1])), axis=[1])
        return gather(flat, found)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """Elements of x or y of one shape (the condition may be a vector of rows); the indices of what is true without them."""
    if (x is None) != (y is None):
        raise ValueError("x and y must both be non-None or both be None.")
    if x is None:
        return one(apply("Where", name, {"condition": convert(condition, None if is_tensor(condition) else "bool")}))
    return one(apply("Select", name, {"condition": condition, "t": x, "e": y}, alike=("t", "e")))


def where_v2(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """As where, with shapes that broadcast."""
    if x is None:
        return where(condition, name=name)
    return one(apply("SelectV2", name, {"condition": condition, "t": x, "e": y}, alike=("t", "e")))


def unique(x: Any, out_idx: Any = "int32", name: str | None = None) -> Any:
    """The different values in the order of their first places, and for each element the number of its value."""
    return builtins.tuple(apply("Unique", name, {"x": x}, {"out_idx": numpy_dtype(out_idx)}).outputs)


class TopK(builtins.tuple):  # type: ignore[type-arg]
    """(values, indices)"""

    __slots__ = ()

    @property
    def values(self) -> Tensor:
        return self[0]  # type: ignore[no-any-return]

    @property
    def indices(self) -> Tensor:
        return self[1]  # type: ignore[no-any-return]


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopK:
    """The k largest values of the last axis, the largest first, and their indices."""
    return TopK(apply("TopKV2", name, {"input": input, "k": k}, {"sorted": sorted}, dtypes={"k": "int32"}).outputs)
