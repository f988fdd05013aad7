"""Resize and Upsample, as KiResample: one rule for each axis that changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...builder import Tensor
from .node import Converter, Node
from .windows import from_nhwc, to_nhwc

__all__ = ["CONVERTERS"]

_KINDS = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "trilinear": "linear", "cubic": "cubic"}


def _upsample(n: Node) -> Tensor:
    """Scales are an attribute before version 9."""
    x, kind = n.input(0), _kind(n)
    rule = {"kind": kind, "coordinates": "asymmetric", "rounding": "floor"}
    if n.version >= 9:
        return _by_scales(n, x, list(range(n.rank(x))), n.input(1), rule)
    scales = n.floats("scales")
    if scales is None or len(scales) != n.rank(x):
        raise n.wrong(f"scales {scales}", f"{n.rank(x)} numbers")
    return _by_scales(n, x, list(range(n.rank(x))), n.const(list(scales), "float32"), rule)


def _kind(n: Node) -> str:
    mode = n.text("mode", "nearest")
    if mode not in _KINDS:
        raise n.wrong(f"mode {mode[:40]!r}", "nearest, linear or cubic")
    return _KINDS[mode]


def _resize(n: Node) -> Tensor:
    if n.version < 11:
        return _upsample(n)
    x, kind = n.input(0), _kind(n)
    place = n.text("coordinate_transformation_mode", "half_pixel")
    whole = n.dtype(x) if kind != "nearest" and n.dtype(x).kind in "iu" else None
    if whole is not None and whole.itemsize > 2:
        raise n.unsupported(f"{kind} resizing of {whole}", "cast the image to floats first")
    y = _resized(n, x if whole is None else n.cast(x, "float32"), kind, place)
    if whole is None:
        return y
    if kind == "cubic":  # it overshoots
        least, most = np.iinfo(whole).min, np.iinfo(whole).max
        y = n.op("Minimum", n.op("Maximum", y, n.like(y, least)), n.like(y, most))
    return n.cast(y, whole)


def _resized(n: Node, x: Tensor, kind: str, place: str) -> Tensor:
    rule: dict[str, Any] = {
        "kind": kind, "coordinates": place, "rounding": n.text("nearest_mode", "round_prefer_floor"),
        "cubic_a": n.number("cubic_coeff_a", -0.75), "exclude_outside": n.flag("exclude_outside"),
        "antialias": n.flag("antialias"),
    }  # fmt: skip
    axes = [n.axis(a, n.rank(x)) for a in n.ints("axes") or range(n.rank(x))]
    value, policy = n.number("extrapolation_value", 0.0), n.text("keep_aspect_ratio_policy", "stretch")
    if place == "tf_crop_and_resize":
        roi = n.constant(1, "a region of interest")
        if roi is None or roi.size != 2 * len(axes):
            raise n.wrong("a region of interest of another length", f"{2 * len(axes)} numbers")
        rule.update(extrapolate=True, value=value, roi=[float(v) for v in roi.astype(np.float64)])
    sizes, scales = n.optional(3), n.optional(2)
    if sizes is not None and n.type_of(sizes).shape != (0,):
        return _by_sizes(n, x, axes, sizes, rule, policy)
    if scales is None or n.type_of(scales).shape == (0,):
        raise n.wrong("neither scales nor sizes", "one of them")
    return _by_scales(n, x, axes, scales, rule)


def _by_scales(n: Node, x: Tensor, axes: list[int], scales: Tensor, rule: dict[str, Any]) -> Tensor:
    known = n.value(scales)
    if n.shape(scales) not in ((len(axes),), (None,)):
        raise n.wrong(f"scales {n.type_of(scales)}", f"{len(axes)} numbers")
    changed = [i for i in range(len(axes)) if known is None or known[i] != 1 or "roi" in rule]
    if known is not None and not all(math.isfinite(s) and s > 0 for s in known):
        raise n.wrong(f"scales {known.tolist()}", "numbers above 0")
    return _apply(n, x, axes, changed, scales, rule)


def _by_sizes(n: Node, x: Tensor, axes: list[int], sizes: Tensor, rule: dict[str, Any], policy: str) -> Tensor:
    shape, entries = n.shape(x), n.entries(sizes)
    if n.shape(sizes) not in ((len(axes),), (None,)):
        raise n.wrong(f"sizes {n.type_of(sizes)}", f"{len(axes)} numbers")
    if policy != "stretch":
        return _keeping_aspect(n, x, axes, sizes, rule, policy)
    changed = []
    for i, axis in enumerate(axes):
        known = None if entries is None else entries[i]
        same = known is not None and known == shape[axis]
        if (not same and not (known is None and _is_size_of(n, sizes, i, x, axis))) or "roi" in rule:
            changed.append(i)
    return _apply(n, x, axes, changed, sizes, rule)


def _keeping_aspect(n: Node, x: Tensor, axes: list[int], sizes: Tensor, rule: dict[str, Any], policy: str) -> Tensor:
    """One scale for all axes, with which the result is not larger, or not smaller, than the sizes."""
    wanted, own = n.value(sizes), [n.shape(x)[a] for a in axes]
    if wanted is None or None in own or 0 in own:
        raise n.unsupported("keep_aspect_ratio_policy with sizes that are not known", "export it with fixed sizes")
    known = [d for d in own if d is not None]
    if policy not in ("not_larger", "not_smaller"):
        raise n.wrong(f"keep_aspect_ratio_policy {policy[:40]!r}", "stretch, not_larger or not_smaller")
    ratios = [int(w) / d for w, d in zip(wanted, known, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    target = [math.floor(scale * d + 0.5) for d in known]
    return _apply(n, x, axes, list(range(len(axes))), n.const(target), {**rule, "scales": [scale] * len(axes)})


def _apply(
    n: Node, x: Tensor, axes: Sequence[int], changed: list[int], targets: Tensor, rule: dict[str, Any]
) -> Tensor:
    """Images in NHWC, where the kernels are; ``targets``: sizes or scales of all ``axes``, of which some change."""
    if not changed:
        return n.op("Identity", x)
    known = n.value(targets)
    if known is not None:
        targets = n.const([known[i] for i in changed], known.dtype)
    elif len(changed) < len(axes):
        targets = n.op("GatherV2", targets, n.const(changed), n.const(0))
    roi, scales = rule.pop("roi", None), rule.pop("scales", None)
    if roi is not None:  # all begins, then all ends
        rule["roi"] = tuple(v for i in changed for v in (roi[i], roi[i + len(axes)]))
    if scales is not None:
        rule["scales"] = tuple(scales[i] for i in changed)
    places = [axes[i] for i in changed]
    if n.rank(x) == 4 and min(places) >= 2:
        y = n.op("KiResample", to_nhwc(n, x), targets, axes=tuple(p - 1 for p in places), **rule)
        return from_nhwc(n, y, 4)
    return n.op("KiResample", x, targets, axes=tuple(places), **rule)


def _is_size_of(n: Node, sizes: Tensor, index: int, x: Tensor, axis: int) -> bool:
    """Whether an entry of computed sizes is the size that ``x`` has along the axis: exporters keep the batch in this way."""
    for _ in range(16):
        if sizes.op.type == "Shape":
            return sizes.op.inputs[0] is x and index == axis
        step = _SOURCES.get(sizes.op.type)
        found = None if step is None else step(n, sizes, index)
        if found is None:
            return False
        sizes, index = found
    return False


def _of_same(n: Node, sizes: Tensor, index: int) -> tuple[Tensor, int] | None:
    return sizes.op.inputs[0], index


def _of_scalar(n: Node, sizes: Tensor, index: int) -> tuple[Tensor, int] | None:
    source = sizes.op.inputs[0]
    return (source, index) if n.type_of(source).shape in ((), (1,)) else None


def _of_parts(n: Node, sizes: Tensor, index: int) -> tuple[Tensor, int] | None:
    for part in sizes.op.inputs[:-1]:
        shape = n.type_of(part).shape
        if shape is None or len(shape) != 1 or shape[0] is None:
            return None
        if index < shape[0]:
            return part, index
        index -= shape[0]
    return None


def _of_slice(n: Node, sizes: Tensor, index: int) -> tuple[Tensor, int] | None:
    begin, step = n.value(sizes.op.inputs[1]), n.value(sizes.op.inputs[3])
    if begin is None or step is None or begin.shape != (1,) or step.tolist() != [1] or begin[0] < 0:
        return None
    if sizes.op.attrs.get("shrink_axis_mask", 0) or sizes.op.attrs.get("new_axis_mask", 0):
        return None
    return sizes.op.inputs[0], index + (0 if sizes.op.attrs.get("begin_mask", 0) & 1 else int(begin[0]))


def _of_gather(n: Node, sizes: Tensor, index: int) -> tuple[Tensor, int] | None:
    picked = n.value(sizes.op.inputs[1])
    if picked is None or index >= picked.size:
        return None
    return sizes.op.inputs[0], int(picked.reshape(-1)[index])


#: Op type -> where an entry of its output comes from.
_SOURCES: Mapping[str, Callable[[Node, Tensor, int], tuple[Tensor, int] | None]] = {
    "Cast": _of_same,
    "Identity": _of_same,
    "ExpandDims": _of_scalar,
    "Reshape": _of_scalar,
    "ConcatV2": _of_parts,
    "StridedSlice": _of_slice,
    "GatherV2": _of_gather,
}

CONVERTERS: Mapping[str, Converter] = {"Resize": _resize, "Upsample": _upsample}
