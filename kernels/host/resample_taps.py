"""From the rule of an axis to the cells and weights of every target."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..contracts.resample import FILTERS, MOST_CELLS, AxisRule
from ..errors import KernelError
from ..tensor import Array

__all__ = ["Taps", "taps_of"]


class Taps(NamedTuple):
    """(targets, taps) cells inside the axis and their weights, None for a weight of 1; the targets beyond the source."""

    cells: Array
    weights: Array | None
    outside: Array | None


def _step(rule: AxisRule, size: int, real: type) -> Any:
    """Source cells per target."""
    if rule.coordinates == "align_corners":
        extent = real(rule.scale * size) if rule.scale else real(rule.size)
        if extent > 1:
            return real(size - 1) / (extent - real(1))
    elif rule.scale:
        return real(1) / real(rule.scale)
    return real(size) / real(rule.size)


def _positions(rule: AxisRule, size: int) -> Array:
    """The coordinate on the source of every target."""
    real: Any = np.float32 if rule.single else np.float64
    target: Array = np.arange(rule.size, dtype=real)
    step = _step(rule, size, real)
    kind = rule.coordinates
    if kind in ("align_corners", "asymmetric"):
        return target * step
    if kind == "tf_half_pixel_for_nn":
        return (target + real(0.5)) * step
    if kind == "tf_crop_and_resize":
        begin, end = rule.roi
        if rule.size > 1:
            # The number of targets is the scale's, which may not be whole.
            extent = (size * rule.scale if rule.scale else rule.size) - 1
            return begin * (size - 1) + target * (end - begin) * (size - 1) / (extent or 1)
        return np.full(rule.size, 0.5 * (begin + end) * (size - 1), real)
    if kind == "pytorch_half_pixel" and (size * rule.scale if rule.scale else rule.size) <= 1:
        return np.zeros(rule.size, real)
    source = (target + real(0.5)) * step - real(0.5)
    if kind == "half_pixel_symmetric":
        wanted = size * rule.scale if rule.scale else rule.size
        source = source + size / 2 * (1 - rule.size / wanted)
    return source


def _rounded(source: Array, rounding: str) -> Array:
    if rounding == "floor":
        return np.floor(source)
    if rounding == "ceil":
        return np.ceil(source)
    if rounding == "round_prefer_floor":
        return np.ceil(source - source.dtype.type(0.5))
    return np.floor(source + source.dtype.type(0.5))


def _cubic(a: float, x: Array) -> Array:
    """Keys' cubic of distances from 0 to 2."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _widened(rule: AxisRule, source: Array, squeeze: float) -> tuple[Array, Array]:
    """Cells around every position and weights of a filter that is widened by 1 / ``squeeze``; not yet of sum 1."""
    radius = min((1.0 if rule.kind == "linear" else 2.0) / squeeze, 2.0**60)
    count = int(2 * radius) + 1
    _check(rule, count)
    first = np.ceil(source - radius).astype(np.intp)
    cells = first[:, None] + np.arange(count)
    distance = np.abs(cells - source[:, None]) * squeeze
    weights = np.maximum(1 - distance, 0) if rule.kind == "linear" else _cubic(rule.cubic_a, distance)
    return cells, weights


def _check(rule: AxisRule, count: int) -> None:
    if count * max(rule.size, 1) > MOST_CELLS:
        raise KernelError(
            f"resample: axis {rule.axis} needs {count:,} weights for each of {rule.size:,} cells; at most {MOST_CELLS:,} "
            "are computed. Remedy: scale down in several steps"
        )


def _table(rule: AxisRule, source: Array) -> tuple[Array, Array]:
    """Four cells with the weights of the nearest of 1,024 positions between two cells, in float32."""
    at = np.arange(1025) / 1024
    near, far = (_cubic(rule.cubic_a, x).astype(np.float32) for x in (at, np.where(at < 1, at + 1, 2.0)))
    floor = np.floor(source)
    step = np.rint((source - floor) * np.float32(1024)).astype(np.intp)
    weights = np.stack([far[step], near[step], near[1024 - step], far[1024 - step]], 1)
    return floor.astype(np.intp)[:, None] + np.arange(-1, 3), weights


def _area(rule: AxisRule, size: int) -> tuple[Array, Array]:
    """How much of every cell a target covers, as a share of the target; beyond the end is the last cell."""
    step = _step(rule, size, np.float32)
    if step == 0:  # align_corners of one cell
        return np.zeros((rule.size, 1), np.intp), np.ones((rule.size, 1))
    target = np.arange(rule.size + 1, dtype=np.float32)
    begin, end = target[:-1] * step, target[1:] * step
    first, last = np.floor(begin).astype(np.intp), np.ceil(end).astype(np.intp)
    count = max(int((last - first).max(initial=1)), 1)
    _check(rule, count)
    cells = first[:, None] + np.arange(count)
    covered = np.minimum(cells + 1, end[:, None]) - np.maximum(cells, begin[:, None])
    weights = np.where(cells < last[:, None], np.maximum(covered, 0), 0)
    return cells, weights / step


def _lanczos(radius: float, x: Array) -> Array:
    near = np.where(x <= 1e-3, 1.0, x)
    wave = radius * np.sin(np.pi * near) * np.sin(np.pi * near / radius) / (np.pi * near) ** 2
    return np.where(x <= 1e-3, 1.0, np.where(x > radius, 0.0, wave))


def _filter(name: str, x: Array) -> Array:
    """A filter of kind span at distances x."""
    if name.startswith("lanczos"):
        return _lanczos(FILTERS[name], x)
    if name == "gaussian":
        return np.where(x >= 1.5, 0.0, np.exp(-(x**2) / (2 * 0.5**2)))
    if name == "box":
        return np.where(x < 0.5, 1.0, np.where(x == 0.5, 0.5, 0.0))
    if name == "triangle":
        return np.maximum(1 - x, 0)
    if name == "keyscubic":
        return _cubic(-0.5, x)
    near = ((7 / 6 * x - 2) * x) * x + 8 / 9
    far = ((-7 / 18 * x + 2) * x - 10 / 3) * x + 16 / 9
    return np.where(x >= 2, 0.0, np.where(x >= 1, far, near))


def _span(rule: AxisRule, size: int) -> Taps:
    """ScaleAndTranslate: all cells under the filter, cut at the edges and scaled to a sum of 1; nothing outside."""
    real = np.float32
    inverse = real(1) / real(rule.scale)
    widened = max(inverse, real(1)) if rule.antialias else real(1)
    source = (np.arange(rule.size, dtype=real) + real(0.5)) * inverse - inverse * real(rule.translation)
    outside = (source < 0) | (source > size) | ~np.isfinite(source)
    source = np.where(outside, real(0), source)
    reach = real(FILTERS[rule.filter]) * widened
    first = np.clip(np.ceil(source - reach - real(0.5)), 0, size - 1).astype(np.intp)
    end = np.clip(np.floor(source + reach - real(0.5)), 0, size - 1).astype(np.intp) + 1
    count = max(int((end - first).max(initial=1)), 1)
    _check(rule, count)
    cells = first[:, None] + np.arange(count)
    distance = np.abs(cells.astype(real) + real(0.5) - source[:, None]) * (real(1) / widened)
    weights = np.where((cells < end[:, None]) & ~outside[:, None], _filter(rule.filter, distance), 0)
    return Taps(np.minimum(cells, size - 1), _normal(weights), None)


def _normal(weights: Array) -> Array:
    """Rows scaled to a sum of 1, where the sum is not nearly 0."""
    total = weights.sum(1, keepdims=True)
    usable = np.abs(total) >= 1000 * np.finfo(np.float32).tiny
    scaled: Array = np.where(usable, weights / np.where(usable, total, 1), weights)
    return scaled


def taps_of(rule: AxisRule, size: int) -> Taps:
    """The cells and weights of a rule on an axis of ``size`` cells, at least one."""
    if rule.kind == "span":
        return _span(rule, size)
    if rule.kind == "area":
        cells, weights = _area(rule, size)
        return Taps(np.clip(cells, 0, size - 1), weights, None)
    source = _positions(rule, size)
    outside = (source < 0) | (source > size - 1) if rule.extrapolate else None
    if rule.kind == "nearest":
        # A float32 beyond 2**62 is no index; every cell is far below.
        nearest = np.clip(_rounded(source, rule.rounding), 0, size - 1)
        return Taps(nearest.astype(np.intp)[:, None], None, outside)
    # ONNX widens the filter by the scale it was given, also where the positions have another step.
    squeeze = min(1.0, rule.scale or rule.size / size) if rule.antialias else 1.0
    if rule.kind == "cubic_table":
        cells, weights = _table(rule, source)
    elif rule.antialias and squeeze < 1:
        cells, weights = _widened(rule, source, squeeze)
    else:
        floor = np.floor(source)
        shift = source - floor
        cells = floor.astype(np.intp)[:, None] + (np.arange(2) if rule.kind == "linear" else np.arange(-1, 3))
        if rule.kind == "linear":
            weights = np.stack([1 - shift, shift], 1)
        else:
            away = np.stack([1 + shift, shift, 1 - shift, 2 - shift], 1)
            weights = _cubic(rule.cubic_a, away)
    if rule.exclude_outside:
        weights = np.where((cells < 0) | (cells >= size), 0, weights)
    if rule.exclude_outside or rule.antialias:
        weights = _normal(weights)
    return Taps(np.clip(cells, 0, size - 1), weights, outside)
