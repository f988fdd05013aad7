"""The layered layout: what every picture must keep, on random graphs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kigraph.graph.draw import layout as layout_module
from kigraph.graph.draw.layout import Layout, layered_layout


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    count = draw(st.integers(1, 24))
    sizes = draw(st.lists(st.tuples(st.floats(10, 200), st.floats(10, 80)), min_size=count, max_size=count))
    node = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(node, node).filter(lambda e: e[0] != e[1]), max_size=50))
    return sizes, edges


def check(layout: Layout, sizes: list[tuple[float, float]]) -> None:
    """Every box lies inside the picture and inside its layer, and no two boxes overlap."""
    for place, (width, height) in zip(layout.nodes, sizes, strict=True):
        assert place.x - width / 2 >= -1e-6
        assert place.x + width / 2 <= layout.width + 1e-6
        assert 0 <= place.top <= place.y - height / 2 + 1e-6
        assert place.y + height / 2 <= place.bottom + 1e-6 <= layout.height + 2e-6
    for (a, (wa, ha)), (b, (wb, hb)) in itertools.combinations(zip(layout.nodes, sizes, strict=True), 2):
        apart_x = abs(a.x - b.x) >= (wa + wb) / 2 + 1
        apart_y = abs(a.y - b.y) >= (ha + hb) / 2 + 1
        assert apart_x or apart_y


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_boxes_never_overlap_whatever_the_graph(graph: tuple[list[tuple[float, float]], list[tuple[int, int]]]) -> None:
    sizes, edges = graph
    check(layered_layout(sizes, edges), sizes)


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_edges_without_cycles_lead_down(graph: tuple[list[tuple[float, float]], list[tuple[int, int]]]) -> None:
    sizes, edges = graph
    edges = [(min(e), max(e)) for e in edges]
    layout = layered_layout(sizes, edges)
    for (source, target), middle in zip(edges, layout.edges, strict=True):
        way = [layout.nodes[source], *middle, layout.nodes[target]]
        assert all(a.bottom < b.top for a, b in itertools.pairwise(way))


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_equal_graphs_get_equal_pictures(graph: tuple[list[tuple[float, float]], list[tuple[int, int]]]) -> None:
    assert layered_layout(*graph) == layered_layout(*graph)


def test_a_tree_is_drawn_without_crossings() -> None:
    """A complete binary tree whose leaves are numbered so that the given order crosses a lot."""
    depth = 5
    nodes = 2 ** (depth + 1) - 1
    rename = [(i * 37) % nodes for i in range(nodes)]
    edges = [(rename[i], rename[(i - 1) // 2]) for i in range(1, nodes)]
    layout = layered_layout([(40.0, 20.0)] * nodes, edges)
    spans = [(layout.nodes[s], layout.nodes[t]) for s, t in edges]
    for (a, b), (c, d) in itertools.combinations(spans, 2):
        assert a.y != c.y or b is d or (a.x - c.x) * (b.x - d.x) > 0


def test_a_chain_is_straight_and_inputs_keep_their_order() -> None:
    chain = layered_layout([(40.0, 20.0)] * 50, [(i, i + 1) for i in range(49)])
    assert max(p.x for p in chain.nodes) - min(p.x for p in chain.nodes) < 1e-6
    pair = layered_layout([(40.0, 20.0)] * 3, [(0, 2), (1, 2)])
    assert pair.nodes[0].x < pair.nodes[1].x


def test_sinking_sources_stand_right_above_their_reader() -> None:
    edges = [(0, 1), (1, 2), (2, 3), (4, 3)]
    high, low = (layered_layout([(40.0, 20.0)] * 5, edges, s).nodes[4] for s in (frozenset(), frozenset({4})))
    assert high.y < low.y


def test_a_cycle_of_ten_thousand_nodes_needs_no_deep_recursion() -> None:
    count = 10_000
    layout = layered_layout([(10.0, 10.0)] * count, [(i, (i + 1) % count) for i in range(count)])
    assert len(layout.nodes) == count


def test_long_edges_are_drawn_straight_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [(20.0, 10.0)] * 30
    edges = [(i, j) for i in range(30) for j in range(i + 1, 30)]
    full = layered_layout(sizes, edges)
    monkeypatch.setattr(layout_module, "_MAX_DUMMIES", 300)
    bounded = layered_layout(sizes, edges)
    assert sum(map(len, full.edges)) > 300 >= sum(map(len, bounded.edges)) > 0
    check(bounded, sizes)


def test_nothing_to_draw() -> None:
    assert layered_layout([], []) == Layout(0.0, 0.0, (), ())
