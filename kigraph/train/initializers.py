"""Initial values of weights: a name of ``INITIALIZERS``, or any function of generator, shape and fans to an array.

Fans: how many values an output is summed from (fan_in), and to how many an input goes (fan_out).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np

from ..graph.errors import GraphError

__all__ = [
    "INITIALIZERS",
    "Initial",
    "Initializer",
    "constant",
    "initial_values",
    "normal",
    "orthogonal",
    "truncated_normal",
]

Values = np.ndarray[Any, Any]
#: (generator, shape, (fan_in, fan_out)) -> values of that shape, rounded to float32.
Initializer = Callable[[np.random.Generator, tuple[int, ...], tuple[int, int]], Values]
Initial = str | Initializer
Fans = tuple[int, int]

#: The standard deviation of a standard normal number that is drawn again while it is beyond 2.
_TRUNCATED = 0.87962566103423978


def constant(value: float) -> Initializer:
    """Every value is ``value``."""
    return lambda rng, shape, fans: np.full(shape, value)


def normal(deviation: float = 0.05) -> Initializer:
    """Normal numbers around 0 with that standard deviation."""
    return lambda rng, shape, fans: rng.standard_normal(shape) * deviation


def truncated_normal(deviation: float = 0.05) -> Initializer:
    """Normal numbers around 0, drawn again while beyond 2 * deviation. ``deviation``: of the distribution before that."""
    return lambda rng, shape, fans: _truncated(rng, shape) * deviation


def orthogonal(gain: float = 1.0) -> Initializer:
    """Rows or columns, whichever are fewer, of the matrix (all axes but the last, last axis) are orthogonal, of length ``gain``.

    Saxe, McClelland and Ganguli, 2014, arXiv:1312.6120; the signs make it uniform over all such matrices.
    """

    def make(rng: np.random.Generator, shape: tuple[int, ...], fans: Fans) -> Values:
        if len(shape) < 2:
            raise GraphError(f"orthogonal needs weights of 2 axes or more, got shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diagonal(r))
        return gain * (q if rows >= columns else q.T).reshape(shape)

    return make


def _truncated(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    values = np.asarray(rng.standard_normal(shape))
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = rng.standard_normal(int(beyond.sum()))
    return values


def _scaled(
    rng: np.random.Generator, shape: tuple[int, ...], fans: Fans, *, of: str, factor: float, uniform: bool
) -> Values:
    """Numbers of variance factor / fan: uniform, or of a truncated normal distribution."""
    fan = {"in": fans[0], "mean": (fans[0] + fans[1]) / 2}[of]
    variance = factor / max(fan, 0.5)
    if uniform:
        limit = np.sqrt(3 * variance)
        return rng.uniform(-limit, limit, shape)
    return _truncated(rng, shape) * (math.sqrt(variance) / _TRUNCATED)


def _of(of: Literal["in", "mean"], factor: float, uniform: bool) -> Initializer:
    return partial(_scaled, of=of, factor=factor, uniform=uniform)


#: Glorot and Bengio, AISTATS 2010; He et al., 2015, arXiv:1502.01852; LeCun et al., "Efficient BackProp", 1998.
INITIALIZERS: Mapping[str, Initializer] = {
    "glorot_uniform": _of("mean", 1.0, True),
    "glorot_normal": _of("mean", 1.0, False),
    "he_uniform": _of("in", 2.0, True),
    "he_normal": _of("in", 2.0, False),
    "lecun_uniform": _of("in", 1.0, True),
    "lecun_normal": _of("in", 1.0, False),
    "truncated_normal": truncated_normal(),
    "normal": normal(),
    "orthogonal": orthogonal(),
    "zeros": constant(0.0),
    "ones": constant(1.0),
}


def initial_values(initial: Initial, rng: np.random.Generator, shape: tuple[int, ...], fans: Fans) -> Values:
    """Float32 values of a variable. Raises GraphError for an unknown name or values of another shape, or not finite."""
    if isinstance(initial, str):
        if initial not in INITIALIZERS:
            raise GraphError(f"unknown initializer {initial!r}; known: {', '.join(INITIALIZERS)}")
        initial = INITIALIZERS[initial]
    values = np.asarray(initial(rng, shape, fans), np.float32)
    if values.shape != shape or not np.isfinite(values).all():
        raise GraphError(f"an initializer gave values of shape {values.shape}; expected finite ones of shape {shape}")
    return values
