"""Einsum by matrix products: the axes of two inputs are sorted into batch, rows, sums and columns.

Inputs are joined from left to right; what no later term needs is summed as early as possible.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.einsum import EINSUM, EinsumParams
from ..tensor import Array
from .support import numpy_kernel, wider

__all__ = ["KERNELS"]

#: An array, and what its axes are called: letters, and negative numbers for the axes of '...', counted from the last.
_Named = tuple[Array, list[str]]


def _named(x: Array, term: str) -> _Named:
    head, dots, tail = term.partition(".")
    count = x.ndim - len(head) - len(tail) if dots else 0
    return x, [*head, *(str(i - count) for i in range(count)), *tail]


def _diagonals(x: Array, names: list[str]) -> _Named:
    """Axes of one name become one."""
    for name in dict.fromkeys(names):
        while names.count(name) > 1:
            first = names.index(name)
            second = names.index(name, first + 1)
            x = np.diagonal(x, axis1=first, axis2=second)
            names = [n for i, n in enumerate(names) if i not in (first, second)] + [name]
    return x, names


def _summed(x: Array, names: list[str], wanted: set[str]) -> _Named:
    """Without the axes that nothing else has."""
    axes = tuple(i for i, n in enumerate(names) if n not in wanted)
    if not axes:
        return x, names
    return np.add.reduce(x, axis=axes, dtype=x.dtype), [n for n in names if n in wanted]


def _product(a: _Named, b: _Named, wanted: set[str], target: _Named | None = None) -> _Named:
    """The product of two, summed over the names that both have and ``wanted`` lacks; in ``target`` where its axes have that order."""
    (x, of_x), (y, of_y) = a, b
    both = [n for n in of_x if n in of_y]
    batch, sums = [n for n in both if n in wanted], [n for n in both if n not in wanted]
    rows, columns = [n for n in of_x if n not in both], [n for n in of_y if n not in both]
    left = x.transpose([of_x.index(n) for n in (*batch, *rows, *sums)])
    right = y.transpose([of_y.index(n) for n in (*batch, *sums, *columns)])
    # Axes of '...' may be 1 beside another size: matmul broadcasts those in front.
    ends = len(batch), len(batch) + len(rows), len(batch) + len(sums)
    wide, high = left.shape[ends[1] :], left.shape[ends[0] : ends[1]]
    depth = int(np.prod(wide, dtype=np.int64))
    across = right.shape[ends[2] :]
    left = left.reshape((*left.shape[: ends[0]], int(np.prod(high, dtype=np.int64)), depth))
    right = right.reshape((*right.shape[: ends[0]], depth, int(np.prod(across, dtype=np.int64))))
    names = [*batch, *rows, *columns]
    if not sums and not rows and not columns:
        made: Array = left * right
    elif target is not None and _fits(target, names, (*high, *across), left, right):
        np.matmul(left, right, out=target[0].reshape(*left.shape[:-1], right.shape[-1]))
        return target
    else:
        made = np.matmul(left, right)
    return made.reshape((*made.shape[: ends[0]], *high, *across)), names


def _fits(target: _Named, names: list[str], ends: Sequence[int], left: Array, right: Array) -> bool:
    """Whether the product of two stacks of matrices can be computed where it is wanted."""
    y, wanted = target
    same = names == wanted and left.dtype == right.dtype == y.dtype and left.shape[:-2] == right.shape[:-2]
    return same and y.flags.c_contiguous and y.shape == (*left.shape[:-2], *ends)


def _einsum(inputs: Sequence[Array], outputs: Sequence[Array], params: EinsumParams) -> None:
    terms, result = params.terms
    (y,) = outputs
    _, order = _named(y, result)
    parts = [
        _diagonals(*_named(x.astype(wider(x.dtype), copy=False), term)) for x, term in zip(inputs, terms, strict=True)
    ]
    current = parts[0]
    for i, following in enumerate(parts[1:], 1):
        later = {n for _, names in parts[i + 1 :] for n in names} | set(order)
        current = _summed(*current, later | set(following[1]))
        following = _summed(*following, later | set(current[1]))
        current = _product(current, following, later, (y, order) if i == len(terms) - 1 else None)
    if current[0] is y:
        return
    x, names = _summed(*current, set(order))
    places = [names.index(n) for n in order if n in names]
    y[...] = x.transpose(places).reshape([y.shape[i] if n in names else 1 for i, n in enumerate(order)])


KERNELS = (numpy_kernel(EINSUM, "host", _einsum),)
