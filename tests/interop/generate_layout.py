"""Random cases of the ops that move elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .generate import Rng, array, pick, several, shape
from .oracle import Case, Value

__all__ = ["GENERATORS"]

ANY = ("float32", "int32", "uint8", "bool", "string", "complex64", "float16", "int64")


def index(rng: Rng, values: Any, *kinds: str) -> Value:
    return np.asarray(values).astype(pick(rng, kinds or ("int32", "int64")))


def fed(rng: Rng, *more: int) -> frozenset[int]:
    """The first input, and now and then those that decide shapes."""
    return frozenset([0, *(more if rng.random() < 0.3 else ())])


def plain(op: str, rng: Rng) -> Case:
    return Case(op, [array(rng, pick(rng, ANY), shape(rng))], **several(rng))


def numerics(op: str, rng: Rng) -> Case:
    return Case(op, [array(rng, "float32", shape(rng), odd=False)], {"message": "m"}, **several(rng))


def describe(op: str, rng: Rng) -> Case:
    attrs = {} if op == "Rank" or rng.random() < 0.3 else {"out_type": pick(rng, ("int32", "int64"))}
    return Case(op, [array(rng, pick(rng, ANY), shape(rng))], attrs, **several(rng))


def reshape(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng, empty=0.3))
    new = list(rng.permutation(x.shape)) if rng.random() < 0.8 else list(shape(rng))
    if len(new) and rng.random() < 0.5:
        new[int(rng.integers(len(new)))] = -1 if rng.random() < 0.9 else -2
    if rng.random() < 0.2:
        new = [*new, 1]
    return Case(op, [x, index(rng, np.array(new, np.int64))], {}, fed(rng, 1), **several(rng))


def expand(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng, 0, 3))
    axis = index(rng, rng.integers(-x.ndim - 2, x.ndim + 2, pick(rng, ((), (1,)))))
    return Case(op, [x, axis], {}, fed(rng, 1), **several(rng))


def squeeze(op: str, rng: Rng) -> Case:
    of = tuple(1 if rng.random() < 0.5 else d for d in shape(rng))
    ones = [i for i, d in enumerate(of) if d == 1 or rng.random() < 0.1]
    axes = [
        int(a) - (len(of) if rng.random() < 0.3 else 0) for a in rng.permutation(ones)[: rng.integers(len(ones) + 1)]
    ]
    if axes and rng.random() < 0.1:
        axes.append(axes[0])
    return Case(op, [array(rng, pick(rng, ANY), of)], {"squeeze_dims": axes}, **several(rng))


def transpose(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng))
    perm = rng.permutation(x.ndim) - (x.ndim if rng.random() < 0.1 else 0)
    if rng.random() < 0.1:
        perm = rng.integers(0, max(x.ndim, 1), x.ndim)
    return Case(op, [x, index(rng, perm)], {}, fed(rng, 1), **several(rng))


def concat(op: str, rng: Rng) -> Case:
    of = list(shape(rng, 0 if rng.random() < 0.1 else 1))
    axis = int(rng.integers(-len(of) - (rng.random() < 0.05), max(len(of), 1)))
    dtype, parts = pick(rng, ANY), []
    for _ in range(int(rng.integers(2, 5))):
        if of and -len(of) <= axis < len(of):
            of[axis] = int(rng.integers(0, 4))
        parts.append(array(rng, dtype, tuple(of) if rng.random() < 0.97 else shape(rng)))
    if op == "Concat":
        return Case(op, [np.array(axis, np.int32), *parts], {}, frozenset(range(1, len(parts) + 1)), **several(rng))
    return Case(op, [*parts, index(rng, axis)], {}, frozenset(range(len(parts))), **several(rng))


def pad(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY if op != "PadV2" else ("float32", "int32", "complex64")), shape(rng))
    pairs = index(rng, rng.integers(-1 if rng.random() < 0.03 else 0, 3, (x.ndim, 2)))
    if op == "MirrorPad":
        return Case(op, [x, pairs], {"mode": pick(rng, ("REFLECT", "SYMMETRIC"))}, fed(rng, 1), **several(rng))
    if op == "PadV2":
        return Case(op, [x, pairs, array(rng, str(x.dtype), (), odd=False)], {}, fed(rng, 1, 2), **several(rng))
    return Case(op, [x, pairs], {}, fed(rng, 1), **several(rng))


def tile(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng))
    return Case(
        op, [x, index(rng, rng.integers(0, 4, x.ndim + (rng.random() < 0.05)))], {}, fed(rng, 1), **several(rng)
    )


def broadcast(op: str, rng: Rng) -> Case:
    to = shape(rng)
    of = tuple(1 if rng.random() < 0.4 else d for d in to)[int(rng.integers(len(to) + 1)) :]
    if rng.random() < 0.1:
        of = shape(rng)
    return Case(op, [array(rng, pick(rng, ANY), of), index(rng, np.array(to, int))], {}, fed(rng, 1), **several(rng))


def pack(op: str, rng: Rng) -> Case:
    of, dtype = shape(rng, 0, 3), pick(rng, ANY)
    parts = [array(rng, dtype, of if rng.random() < 0.97 else shape(rng)) for _ in range(rng.integers(1, 5))]
    axis = int(rng.integers(-len(of) - 1 - (rng.random() < 0.05), len(of) + 1))
    return Case(op, parts, {"axis": axis}, frozenset(range(len(parts))), **several(rng))


def unpack(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng, 1))
    axis = int(rng.integers(-x.ndim - (rng.random() < 0.05), x.ndim))
    num = x.shape[max(axis, -x.ndim)] + int(rng.random() < 0.05)
    return Case(op, [x], {"axis": axis, "num": num}, outputs=num, **several(rng))


def fill(op: str, rng: Rng) -> Case:
    return Case(op, [index(rng, np.array(shape(rng), int)), array(rng, pick(rng, ANY), ())], {}, frozenset(pick(rng, ([1], [0, 1]))))  # fmt: skip


def count(op: str, rng: Rng) -> Case:
    dtype = pick(rng, ("float32", "float64", "int32", "int64", "int16", "float16"))
    if dtype[0] == "f":
        values = [rng.normal(), rng.normal() * 5, pick(rng, (0.1, 0.3, 1, -0.7, 1e-1))]
    else:
        values = [int(rng.integers(-5, 5)), int(rng.integers(-9, 20)), pick(rng, (1, 2, 3, -1, -3, 0 if rng.random() < 0.1 else 1))]  # fmt: skip
    return Case(op, [np.array(v, dtype) for v in values], {}, frozenset(pick(rng, ([], [1], [0, 1, 2]))), 1e-2 if dtype == "float16" else 1e-5)  # fmt: skip


def cut(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng))
    begin = [int(rng.integers(0, d + 1)) for d in x.shape]
    size = [
        pick(rng, (-1, int(rng.integers(0, d - b + 1 + (rng.random() < 0.05)))))
        for d, b in zip(x.shape, begin, strict=True)
    ]
    kind = pick(rng, ("int32", "int64"))
    return Case(op, [x, np.array(begin, kind), np.array(size, kind)], {}, fed(rng, 1, 2), **several(rng))


def strided(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng))
    n = int(rng.integers(0, x.ndim + 2))
    kind = pick(rng, ("int32", "int64", "int16"))
    begin, end = (rng.integers(-7, 8, n).astype(kind) for _ in range(2))
    steps = rng.choice([1, 1, 1, 2, 3, -1, -2], n).astype(kind)
    if n and rng.random() < 0.03:
        steps[0] = 0
    bits = {k: sum(1 << i for i in range(n) if rng.random() < p) for k, p in (("begin", 0.3), ("end", 0.3), ("new_axis", 0.15), ("shrink_axis", 0.2))}  # fmt: skip
    bits["ellipsis"] = 1 << int(rng.integers(n)) if n and rng.random() < 0.3 else 0
    if rng.random() < 0.03:
        bits["ellipsis"] = 3
    return Case(op, [x, begin, end, steps], {f"{k}_mask": v for k, v in bits.items()}, fed(rng, 1, 2), **several(rng))


def split(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng, 1, most=6))
    axis = int(rng.integers(-x.ndim - (rng.random() < 0.05), x.ndim))
    size = x.shape[max(axis, -x.ndim)]
    if op == "Split":
        num = pick(rng, [d for d in range(1, 7) if size % d == 0 or rng.random() < 0.05])
        return Case(op, [np.array(axis, np.int32), x], {"num_split": num}, frozenset([1]), outputs=num, **several(rng))
    cuts = np.sort(rng.integers(0, size + 1, int(rng.integers(0, 3))))
    sizes = np.diff([0, *cuts, size])
    if rng.random() < 0.5:
        sizes[int(rng.integers(len(sizes)))] = -1
    if rng.random() < 0.1:
        sizes[int(rng.integers(len(sizes)))] += pick(rng, (1, -1, -3))
    attrs = {"num_split": len(sizes)}
    return Case(op, [x, index(rng, sizes, "int32", "int64"), np.array(axis, np.int32)], attrs, outputs=len(sizes), **several(rng))  # fmt: skip


def gather(op: str, rng: Rng) -> Case:
    x = array(rng, pick(rng, ANY), shape(rng, 1, empty=0.05))
    if op == "Gather":
        picks = rng.integers(0, max(x.shape[0], 1) + (rng.random() < 0.05), shape(rng, 0, 2))
        attrs = {"validate_indices": bool(rng.random() < 0.5)}
        return Case(op, [x, index(rng, picks)], attrs, frozenset(pick(rng, ([0], [0, 1]))), **several(rng))
    axis = int(rng.integers(x.ndim))
    batch = int(rng.integers(0, axis + 1)) if rng.random() < 0.7 else 0
    picks = rng.integers(0, max(x.shape[axis], 1) + (rng.random() < 0.05), (*x.shape[:batch], *shape(rng, 0, 2)))
    if rng.random() < 0.05 and picks.ndim:
        picks = picks[:1]
    shown = batch - picks.ndim if rng.random() < 0.3 and picks.ndim else batch
    if rng.random() < 0.05:
        most = min(picks.ndim, x.ndim - 1)  # beyond it TensorFlow itself aborts
        shown = int(rng.integers(-most, most + 1))
    axis -= x.ndim if rng.random() < 0.3 else 0
    inputs = [x, index(rng, picks, "int16", "int32", "int64"), index(rng, axis)]
    return Case(op, inputs, {"batch_dims": shown}, frozenset(pick(rng, ([0], [0, 1]))), **several(rng))


def join(op: str, rng: Rng) -> Case:
    of = shape(rng, 0, 2)
    parts = [
        array(rng, "string", of if rng.random() < 0.7 else pick(rng, ((), shape(rng, 0, 2))))
        for _ in range(rng.integers(1, 4))
    ]
    attrs = {"separator": pick(rng, (b"", b", ", b"\xff"))}
    return Case(op, parts, attrs, frozenset(range(len(parts))), **several(rng))


def default(op: str, rng: Rng) -> Case:
    of = shape(rng)
    known = tuple(None if rng.random() < 0.4 else d for d in of)
    return Case(op, [array(rng, pick(rng, ANY), of)], {"shape": known}, frozenset())


GENERATORS: dict[str, Callable[[str, Rng], Case]] = {
    **dict.fromkeys(("Identity", "StopGradient", "Snapshot", "PreventGradient"), plain), "CheckNumerics": numerics,
    **dict.fromkeys(("Shape", "Size", "Rank"), describe), "Reshape": reshape, "ExpandDims": expand, "Squeeze": squeeze,
    "Transpose": transpose, "Concat": concat, "ConcatV2": concat, **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), pad),
    "Tile": tile, "BroadcastTo": broadcast, "Pack": pack, "Unpack": unpack, "Fill": fill, "Range": count, "Slice": cut,
    "StridedSlice": strided, **dict.fromkeys(("Split", "SplitV"), split), **dict.fromkeys(("Gather", "GatherV2"), gather),
    "StringJoin": join, "PlaceholderWithDefault": default,
}  # fmt: skip
