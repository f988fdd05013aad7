"""L-BFGS: the minimum of a smooth convex function of many variables.

Nocedal and Wright, "Numerical optimization", 2nd edition, algorithms 7.4 and 7.5; steps by backtracking (3.1) with a quadratic
model. Vectors are summed by NumPy's pairwise sum in one thread: the same bits whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np

__all__ = ["minimize"]

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
T = TypeVar("T")

_MEMORY = 10
_DECREASE = 1e-4
_MOST_HALVINGS = 40
#: Values of equal size up to this share are the same to float64; then the slope decides (Hager and Zhang, 2005, "approximate").
_SAME = 1e-14
_FLAT, _MOST_FLAT = 0.9, 10


def minimize(
    function: Callable[[Floats], tuple[float, Floats, T]],
    start: Floats,
    tolerance: float,
    most: int,
    on_step: Callable[[Floats, T], None],
) -> Floats:
    """The place where no entry of the gradient is above ``tolerance``, or the best one after ``most`` steps.

    function: x -> (value, gradient, something that is handed to on_step). on_step: called with x and that after each step.
    """
    x = start
    value, slope, note = function(x)
    pairs: deque[tuple[Floats, Floats, float]] = deque(maxlen=_MEMORY)
    steepest, flat = np.inf, 0
    for _ in range(most):
        if not np.abs(slope).max(initial=0.0) > tolerance:
            break
        direction = _direction(slope, pairs)
        falls = _dot(direction, slope)
        if not falls < 0:
            pairs.clear()
            direction, falls = -slope, -_dot(slope, slope)
        found = _step(function, x, value, direction, falls, 1.0 if pairs else min(1.0, 1.0 / float(np.sqrt(-falls))))
        if found is None:
            if not pairs:
                break  # no lower value can be told apart in float64
            pairs.clear()
            continue
        before = value
        new, (value, new_slope, note) = found
        fell = value < before - _SAME * abs(before)
        s, y = new - x, new_slope - slope
        curvature = _dot(s, y)
        if curvature > 1e-12 * _dot(y, y):
            pairs.append((s, y, 1.0 / curvature))
        x, slope = new, new_slope
        size = float(np.abs(slope).max(initial=0.0))
        steepest, flat = (size, 0) if size < steepest else (steepest, flat + 1)
        on_step(x, note)
        if flat >= _MOST_FLAT and not fell:
            break  # all that is left is rounding
    return x


def _direction(slope: Floats, pairs: deque[tuple[Floats, Floats, float]]) -> Floats:
    """-H * slope with the inverse Hessian that the last steps show (two-loop recursion)."""
    q = slope.copy()
    factors = []
    for s, y, rho in reversed(pairs):
        factor = rho * _dot(s, q)
        factors.append(factor)
        q -= factor * y
    if pairs:
        _, y, rho = pairs[-1]
        q *= 1.0 / (rho * _dot(y, y))
    for (s, y, rho), factor in zip(pairs, reversed(factors), strict=True):
        q += (factor - rho * _dot(y, q)) * s
    return -q


def _step(
    function: Callable[[Floats], tuple[float, Floats, T]],
    x: Floats,
    value: float,
    direction: Floats,
    falls: float,
    step: float,
) -> tuple[Floats, tuple[float, Floats, T]] | None:
    """A step with a sufficient decrease of the value; None if there is none."""
    for _ in range(_MOST_HALVINGS):
        new = x + step * direction
        found = function(new)
        if found[0] <= value + _DECREASE * step * falls and np.isfinite(found[0]):
            return new, found
        if found[0] <= value + _SAME * abs(value) and abs(_dot(found[1], direction)) <= _FLAT * -falls:
            return new, found
        rise = found[0] - value - step * falls
        guess = -falls * step * step / (2 * rise) if np.isfinite(rise) and rise > 0 else 0.5 * step
        step = float(min(max(guess, 0.1 * step), 0.5 * step))
    return None


def _dot(a: Floats, b: Floats) -> float:
    return float((a * b).sum())
