"""Which axes a reshape splits and joins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ...kernels.tensor import Dim

__all__ = ["Groups", "arranged", "contiguous", "groups_of_axes"]

#: (axes before, axes after) that have the same elements; together all axes of both shapes, in order.
Groups: TypeAlias = list[tuple[list[int], list[int]]]


def groups_of_axes(before: Sequence[Dim], after: Sequence[Dim]) -> Groups | None:
    """The smallest groups of neighbours with equal products; None if the shapes do not say which.

    One unknown size on each side is the same number if the known ones have equal products, which the groups show.
    """
    if 0 in before or 0 in after or any(list(shape).count(None) > 1 for shape in (before, after)):
        return None
    groups: Groups = []
    i = j = 0
    while i < len(before) and j < len(after):
        left, right = [i], [j]
        while (a := _product(before, left)) != (b := _product(after, right)):
            # The side that lacks the unknown size, or has fewer elements, takes one more axis.
            if a < b and left[-1] + 1 < len(before):
                left.append(left[-1] + 1)
            elif a > b and right[-1] + 1 < len(after):
                right.append(right[-1] + 1)
            else:
                return None
        groups.append((left, right))
        i, j = left[-1] + 1, right[-1] + 1
    rest = list(range(i, len(before))), list(range(j, len(after)))
    if any(before[a] != 1 for a in rest[0]) or any(after[a] != 1 for a in rest[1]):
        return None
    if rest[0] or rest[1]:
        if not groups:
            return None
        groups[-1] = (groups[-1][0] + rest[0], groups[-1][1] + rest[1])
    return groups


def _product(shape: Sequence[Dim], axes: Sequence[int]) -> tuple[int, int]:
    """(number of unknown sizes, product of the known ones)"""
    unknown, known = 0, 1
    for axis in axes:
        size = shape[axis]
        unknown, known = (unknown + 1, known) if size is None else (unknown, known * size)
    return unknown, known


def contiguous(order: Sequence[int], shape: Sequence[Dim], groups: Groups) -> tuple[list[int], list[int]]:
    """Orders of the axes before and after: the groups as they are found in ``order``, each with its axes as they were.

    The first one is ``order``, but for axes of size 1, if every group lies together in it.
    """

    def place(group: tuple[list[int], list[int]]) -> int:
        large = [a for a in group[0] if shape[a] != 1]
        return min(order.index(a) for a in large or group[0])

    placed = sorted(groups, key=place)
    return [a for left, _ in placed for a in left], [a for _, right in placed for a in right]


def arranged(wanted: Sequence[int], groups: Groups) -> tuple[list[int], list[int]] | None:
    """Orders of the axes before and after, so that the latter is the wanted one; None if that takes groups apart."""
    placed = sorted(groups, key=lambda group: min(wanted.index(a) for a in group[1]))
    after = [a for _, right in placed for a in right]
    return ([a for left, _ in placed for a in left], after) if after == list(wanted) else None
