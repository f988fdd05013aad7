"""Which values share a scale, and the scale that each of them gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .net import Net
from .places import Places, data_inputs
from .ranges import METHODS, Histogram, Scale, candidates, merged

__all__ = ["Group", "groups_of"]

#: A value that others read as well joins a concat whose range is at most so many times its own.
_COARSER = 2.0


@dataclass(slots=True)
class Group:
    """Values of one scale. ``points``: those that are computed with, by which an error is measured."""

    members: tuple[str, ...]
    points: tuple[str, ...]
    candidates: dict[str, Scale]
    method: str = METHODS[0]
    #: Method -> loss of the scores when this group alone has integers.
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def scale(self) -> Scale:
        return self.candidates[self.method]


def groups_of(net: Net, places: Places, counted: Mapping[str, Histogram], fixed: Mapping[str, Scale]) -> list[Group]:
    """The groups, in the order of the graph. fixed: values whose scale is known, such as the image's."""
    leader = {name: name for name in places.scaled}
    whole = {name: counted[name] for name in places.scaled}
    outside = _read_elsewhere(net, places)

    def head(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for output, *values in places.joined:
        if output not in leader:
            continue
        for value in values:
            a, b = head(output), head(value)
            if a == b or not _fits(whole[a], whole[b], value in outside and len(values) > 1):
                continue
            whole[a] = merged([whole[a], whole[b]])
            leader[b] = a
    found: dict[str, list[str]] = {}
    for name in places.scaled:
        found.setdefault(head(name), []).append(name)
    computed = {v for n in places.integer.values() if _computes(n.op_type) for v in data_inputs(n)}
    groups = []
    for first, members in found.items():
        points = tuple(m for m in members if m in computed) or (members[-1],)
        known = next((fixed[m] for m in members if m in fixed), None)
        choice = candidates(whole[first]) if known is None else dict.fromkeys(METHODS, known)
        groups.append(Group(tuple(members), points, choice))
    return groups


def _computes(op: str) -> bool:
    return op in ("Conv", "Gemm", "MatMul", "AveragePool", "GlobalAveragePool", "Add", "Mul")


def _read_elsewhere(net: Net, places: Places) -> set[str]:
    """Values that a node computes with, besides a concat that moves them."""
    return {v for n in places.integer.values() if _computes(n.op_type) for v in data_inputs(n)}


def _fits(whole: Histogram, part: Histogram, elsewhere: bool) -> bool:
    """Whether a value may take the scale of a concat: what computes with it, too, would get coarser steps."""
    if not elsewhere or not part.counts.any() or not whole.counts.any():
        return True
    reach = [max(h.high, 0.0) - min(h.low, 0.0) for h in (whole, part)]
    return max(reach) <= _COARSER * min(reach)
