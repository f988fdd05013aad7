"""Layered layout of a directed graph, top to bottom.

The method of Sugiyama, Tagawa and Toda (1981): reverse edges that close a cycle, put every node on a layer below its
sources, cut long edges by dummy nodes, order each layer so that few edges cross (barycentres, both ways, best order
kept), then assign coordinates. These are exact per layer: the positions nearest to the desired ones that keep the
minimum distances are an isotonic regression (pool adjacent violators).
Nothing here is random: equal graphs get equal pictures.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Layout", "Place", "layered_layout"]

_SWEEPS = 12
_SEPARATION = 26.0
_DUMMY_WIDTH = 10.0
#: More dummy nodes than this are not made: the longest edges are then drawn straight from end to end.
_MAX_DUMMIES = 6_000


@dataclass(frozen=True, slots=True)
class Place:
    """Centre of a node, and the upper and lower edge of its layer."""

    x: float
    y: float
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Layout:
    """``nodes``: one Place per node. ``edges``: per edge the places of its dummy nodes, from source to target."""

    width: float
    height: float
    nodes: tuple[Place, ...]
    edges: tuple[tuple[Place, ...], ...]


def layered_layout(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    sinking: frozenset[int] = frozenset(),
    rows: Sequence[int] | None = None,
) -> Layout:
    """Places nodes of the given (width, height). Edges are (source, target); none may lead from a node to itself.

    ``sinking``: nodes without sources that are put on the layer above their first target (constants, placeholders).
    rows: the layer of every node, from 0 without gaps, where the caller knows it; edges then lead to later layers.
    """
    count = len(sizes)
    if not count:
        return Layout(0.0, 0.0, (), ())
    down = _acyclic(count, edges)
    layer = _layers(count, down, sinking) if rows is None else list(rows)
    widths = [w for w, _ in sizes]
    chains = _chains(layer, down, widths)
    ordered = _rows(layer, widths)
    links: list[list[tuple[int, int]]] = [[] for _ in range(max(layer))]
    for chain in chains:
        for a, b in itertools.pairwise(chain):
            if layer[b] == layer[a] + 1:
                links[layer[a]].append((a, b))
    _order(ordered, links, len(widths))
    xs = _positions(ordered, links, widths, count)
    tops, bottoms = _heights(ordered, links, xs, sizes)
    left = min(x - w / 2 for x, w in zip(xs, widths, strict=True))
    right = max(x + w / 2 for x, w in zip(xs, widths, strict=True))

    def place(node: int) -> Place:
        top, bottom = tops[layer[node]], bottoms[layer[node]]
        return Place(xs[node] - left, (top + bottom) / 2, top, bottom)

    paths = []
    for (source, _), chain in zip(edges, chains, strict=True):
        middle = tuple(place(n) for n in chain[1:-1])
        paths.append(middle if chain[0] == source else middle[::-1])
    return Layout(right - left, bottoms[-1], tuple(place(n) for n in range(count)), tuple(paths))


def _acyclic(count: int, edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The edges; those that close a cycle in a depth-first search in the order of the nodes are reversed."""
    after: list[list[int]] = [[] for _ in range(count)]
    for number, (source, _) in enumerate(edges):
        after[source].append(number)
    state = [0] * count
    turned: set[int] = set()
    for root in range(count):
        if state[root]:
            continue
        state[root] = 1
        stack = [(root, iter(after[root]))]
        while stack:
            node, pending = stack[-1]
            for number in pending:
                target = edges[number][1]
                if state[target] == 1:
                    turned.add(number)
                elif not state[target]:
                    state[target] = 1
                    stack.append((target, iter(after[target])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return [(t, s) if number in turned else (s, t) for number, (s, t) in enumerate(edges)]


def _layers(count: int, edges: Sequence[tuple[int, int]], sinking: frozenset[int]) -> list[int]:
    """Longest path from the sources; then nodes that may sink go to the layer above their first target."""
    targets: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in edges:
        targets[source].append(target)
        waiting[target] += 1
    layer = [0] * count
    roots = {node for node in range(count) if not waiting[node]}
    ready = sorted(roots, reverse=True)
    while ready:
        node = ready.pop()
        for target in targets[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    for node in sinking & roots:
        if targets[node]:
            layer[node] = min(layer[t] for t in targets[node]) - 1
    first = min(layer)
    return [n - first for n in layer]


def _chains(layer: list[int], edges: Sequence[tuple[int, int]], widths: list[float]) -> list[list[int]]:
    """Per edge its nodes from top to bottom. Appends the dummy nodes to ``layer`` and ``widths``."""
    spans = sorted(layer[t] - layer[s] - 1 for s, t in edges)
    longest, total = spans[-1] if spans else 0, 0
    for span in spans:
        total += span
        if total > _MAX_DUMMIES:
            longest = span - 1
            break
    chains = []
    for source, target in edges:
        chain = [source]
        if layer[target] - layer[source] - 1 <= longest:
            for at in range(layer[source] + 1, layer[target]):
                chain.append(len(layer))
                layer.append(at)
                widths.append(_DUMMY_WIDTH)
        chains.append([*chain, target])
    return chains


def _rows(layer: list[int], widths: list[float]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for node in range(len(widths)):
        rows[layer[node]].append(node)
    return rows


def _order(rows: list[list[int]], links: list[list[tuple[int, int]]], count: int) -> None:
    """Orders the rows in place so that few links cross."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for row_links in links:
        for a, b in row_links:
            below[a].append(b)
            above[b].append(a)
    _start_order(rows, above, below)
    position = [0.0] * count
    for row in rows:
        for i, node in enumerate(row):
            position[node] = i
    best, fewest = [list(row) for row in rows], _crossings(rows, links, position)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        neighbours = below if sweep % 2 else above
        for row in reversed(rows) if sweep % 2 else rows:
            wish = {}
            for node in row:
                near = neighbours[node]
                wish[node] = sum(position[n] for n in near) / len(near) if near else position[node]
            row.sort(key=wish.__getitem__)
            for i, node in enumerate(row):
                position[node] = i
        crossings = _crossings(rows, links, position)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    for row, ordered in zip(rows, best, strict=True):
        row[:] = ordered


def _start_order(rows: list[list[int]], above: list[list[int]], below: list[list[int]]) -> None:
    """First order: as a depth-first search upwards from the results visits the nodes, so inputs keep their order."""
    met: dict[int, int] = {}
    for row in reversed(rows):
        for root in row:
            if below[root] or root in met:
                continue
            stack = [root]
            while stack:
                node = stack.pop()
                if node not in met:
                    met[node] = len(met)
                    stack.extend(reversed(above[node]))
    for row in rows:
        row.sort(key=lambda node: met.get(node, len(met)))


def _crossings(rows: list[list[int]], links: list[list[tuple[int, int]]], position: list[float]) -> int:
    total = 0
    for row_links in links:
        seen: list[float] = []
        for _, b in sorted((position[a], position[b]) for a, b in row_links):
            total += len(seen) - bisect_right(seen, b)
            insort(seen, b)
    return total


def _positions(
    rows: list[list[int]], links: list[list[tuple[int, int]]], widths: list[float], real: int
) -> list[float]:
    """Centres along x: sweeps down and up, the desired position of a node is the mean of its neighbours; long edges are stiff."""
    near = _neighbours(links, len(widths), real)
    offsets = [_offsets(row, widths, real) for row in rows]
    xs = [0.0] * len(widths)
    for row, offset in zip(rows, offsets, strict=True):
        for node, at in zip(row, offset, strict=True):
            xs[node] = at - offset[-1] / 2
    for sweep in range(2 * _SWEEPS):
        last = sweep >= 2 * _SWEEPS - 4
        upward = bool(sweep % 2)
        for index in reversed(range(len(rows))) if upward else range(len(rows)):
            row = rows[index]
            wishes, weights = [], []
            for node in row:
                pulls = [(xs[n], w) for n, w, is_above in near[node] if last or is_above != upward]
                strength = sum(w for _, w in pulls)
                wishes.append(sum(x * w for x, w in pulls) / strength if pulls else xs[node])
                weights.append(strength if pulls else 0.1)
            for node, x in zip(row, _nearest(wishes, weights, offsets[index]), strict=True):
                xs[node] = x
    return xs


def _neighbours(links: list[list[tuple[int, int]]], count: int, real: int) -> list[list[tuple[int, float, bool]]]:
    """Per node (neighbour, how strongly it pulls, whether it is above)."""
    near: list[list[tuple[int, float, bool]]] = [[] for _ in range(count)]
    for row_links in links:
        for a, b in row_links:
            weight = 8.0 if a >= real and b >= real else 2.0 if a >= real or b >= real else 1.0
            near[a].append((b, weight, False))
            near[b].append((a, weight, True))
    return near


def _offsets(row: list[int], widths: list[float], real: int) -> list[float]:
    """Centres of a row's nodes as close as they may be, the first at 0."""
    offset, at = [], 0.0
    for i, node in enumerate(row):
        if i:
            gap = _SEPARATION if node < real or row[i - 1] < real else _SEPARATION / 2
            at += (widths[row[i - 1]] + widths[node]) / 2 + gap
        offset.append(at)
    return offset


def _nearest(wishes: Sequence[float], weights: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """Minimises sum(weights * (x - wishes)^2) over x[i+1] - x[i] >= offsets[i+1] - offsets[i]."""
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        mean, length = wish - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_length = blocks.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight += other_weight
            length += other_length
        blocks.append((mean, weight, length))
    flat = [mean for mean, _, length in blocks for _ in range(length)]
    return [y + offset for y, offset in zip(flat, offsets, strict=True)]


def _heights(
    rows: list[list[int]], links: list[list[tuple[int, int]]], xs: list[float], sizes: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """Top and bottom of each layer; the gap grows with the horizontal distance that its edges span."""
    tops, bottoms, y = [], [], 0.0
    for index, row in enumerate(rows):
        height = max((sizes[node][1] for node in row if node < len(sizes)), default=8.0)
        tops.append(y)
        bottoms.append(y + height)
        sideways = max((abs(xs[a] - xs[b]) for a, b in links[index]), default=0.0) if index < len(links) else 0.0
        y += height + min(110.0, 42.0 + 0.09 * sideways)
    return tops, bottoms
