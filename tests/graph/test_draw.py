"""DOT, SVG and HTML: what they show, that they are well formed, and that names cannot break out of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.draw import scene as scene_module
from kigraph.graph.draw import to_dot, to_html, to_svg
from kigraph.graph.draw.scene import Album
from kigraph.graph.errors import GraphError
from kigraph.graph.ir import Graph as IrGraph
from kigraph.graph.ir import Literal, Node, Port
from kigraph.graph.loaders import load
from kigraph.kernels.tensor import STRING, TensorType

SVG = "{http://www.w3.org/2000/svg}"
FLOAT = np.dtype(np.float32)


def formula() -> Graph:
    graph = Graph()
    with graph.as_default():
        a, b, c = (ops.constant(v, name=n) for v, n in ((5.0, "a"), (2.0, "b"), (3.0, "c")))
        ops.multiply(ops.constant(3.0, name="three"), ops.add(a, ops.multiply(b, c, name="u"), name="v"), name="J")
    return graph


def layers(count: int, scoped: bool = True) -> IrGraph:
    """``count`` layers in a chain, each a scope of a weight, its read, a convolution and an activation."""
    nodes = [Node("input", "Placeholder", outputs=(TensorType(FLOAT, (None, 8, 8, 4)),))]
    filters = TensorType(FLOAT, (3, 3, 4, 4))
    for i in range(count):
        scope = f"layer{i}/" if scoped else f"layer{i}_"
        weights = Literal.lazy(FLOAT, (3, 3, 4, 4), lambda: np.ones((3, 3, 4, 4), np.float32))
        before = Port(nodes[-1].name)
        nodes.append(Node(scope + "weights", "Const", (), {"value": weights}, (filters,)))
        nodes.append(Node(scope + "weights/read", "Identity", (Port(scope + "weights"),), {}, (filters,)))
        nodes.append(Node(scope + "conv", "Conv2D", (before, Port(scope + "weights/read")), {}, nodes[0].outputs))
        nodes.append(Node(scope + "relu", "Relu", (Port(scope + "conv"),), {}, nodes[0].outputs))
    return IrGraph({n.name: n for n in nodes})


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(SVG + "text")]


def keys(svg: str) -> list[str]:
    return [e.attrib["data-key"] for e in ElementTree.fromstring(svg).iter(SVG + "g") if "data-key" in e.attrib]


def test_svg_shows_operations_types_and_values() -> None:
    shown = texts(to_svg(formula(), title="J = 3(a + bc)", values={"u": np.float32(6), "v:0": 11.0, "J": "33"}))
    assert shown[0] == "J = 3(a + bc)"
    for text in ("AddV2", "Mul", "u", "v", "J", "5.0", "= 6.0", "= 11.0", "= 33"):
        assert text in shown
    assert shown.count("float32") == 6  # one per tensor that is read


def test_dot_has_every_node_and_edge() -> None:
    dot = to_dot(formula())
    labels = dict(re.findall(r'^  (n\d) \[label="(.*?)"', dot, re.MULTILINE))
    by_name = {label.split("\\n")[1]: node for node, label in labels.items()}
    edges = set(re.findall(r"(n\d) -> (n\d)", dot))
    pairs = [("b", "u"), ("c", "u"), ("a", "v"), ("u", "v"), ("three", "J"), ("v", "J")]
    assert edges == {(by_name[s], by_name[t]) for s, t in pairs}


def test_edges_say_shapes_and_other_element_types() -> None:
    graph = Graph()
    with graph.as_default():
        ops.cast(ops.placeholder("uint8", [None, 299, 299, 3], name="x"), "float32", name="y")
        ops.identity(graph.tensor("y:0"))
    shown = texts(to_svg(graph))
    assert "uint8 ?×299×299×3" in shown
    assert "?×299×299×3" in shown


def test_control_dependencies_are_dashed() -> None:
    graph = Graph()
    with graph.as_default():
        first = ops.constant(1.0, name="first")
        graph.create_op("NoOp", name="second", control_inputs=[first])
    assert to_svg(graph).count('class="edge control"') == 1
    assert "style=dashed" in to_dot(graph)


def test_in_larger_graphs_constants_are_lines_in_their_readers() -> None:
    svg = to_svg(layers(12))
    assert "layer3/weights" not in keys(svg)
    assert "layer3/weights/read" not in keys(svg)
    assert texts(svg).count("weights 3×3×4×4") == 12


@pytest.mark.parametrize("scoped", [True, False])
@pytest.mark.parametrize("count", [25, 400])
def test_a_picture_keeps_its_budget(count: int, scoped: bool) -> None:
    boxes = keys(to_svg(layers(count, scoped), max_boxes=60))
    assert 8 <= len(boxes) <= 60


def test_scopes_are_collapsed_and_counted() -> None:
    svg = to_svg(layers(40), max_boxes=60)
    assert keys(svg) == ["input", *(f"layer{i}/" for i in range(40))]
    assert texts(svg).count("2 operations") == texts(svg).count("1 convolution") == 40


def test_the_inside_of_a_scope_shows_its_surroundings() -> None:
    album = Album.of(layers(40))
    scene = album.scene(album.collapsed(album.root)[7])
    assert [(box.op, box.title) for box in scene.boxes] == [
        ("Conv2D", "conv"),
        ("Relu", "relu"),
        ("outside", "from layer6/relu"),
        ("outside", "to layer8/conv"),
    ]
    assert {(link.source, link.target) for link in scene.links} == {(2, 0), (0, 1), (1, 3)}


def test_a_node_named_like_a_scope_is_drawn_inside_it() -> None:
    kind = (TensorType(FLOAT, (1,)),)
    nodes = [Node("mixed/a", "Relu", (), {}, kind), Node("mixed", "Relu", (Port("mixed/a"),), {}, kind)]
    nodes += [Node(f"x{i}", "Relu", (Port("mixed"),), {}, kind) for i in range(7)]
    scene = Album.of(IrGraph({n.name: n for n in nodes}), budget=8).scene()
    assert [box.title for box in scene.boxes] == ["mixed", *(f"x{i}" for i in range(7))]
    assert scene.boxes[0].count == 2


@pytest.mark.slow
def test_a_dense_graph_makes_a_bounded_page() -> None:
    """Every node reads 30 others anywhere in the graph, and no scope orders them: the worst for a picture."""
    kind, nodes = (TensorType(FLOAT, (1,)),), {"n0": Node("n0", "Placeholder", (), {}, (TensorType(FLOAT, (1,)),))}
    for i in range(1, 1200):
        ports = dict.fromkeys(Port(f"n{(i * 7919 + j * 104729) % i}") for j in range(30))
        nodes[f"n{i}"] = Node(f"n{i}", "AddN", tuple(ports), {}, kind)
    graph = IrGraph(nodes)
    scene = Album.of(graph).scene()
    assert len(scene.boxes) <= 60
    assert len(scene.links) <= 3 * 60 * 60
    assert any(link.label.endswith(" tensors") for link in scene.links)
    inner = Album.of(graph)
    part = inner.scene(inner.collapsed(inner.root)[10])
    assert sum(box.op == "outside" for box in part.boxes) == 2 * 17
    assert any(re.fullmatch(r"from [\d,]+ other operations", box.title) for box in part.boxes)
    assert len(to_html(graph)) < 40_000_000


@pytest.mark.parametrize("draw", [to_svg, to_html, to_dot])
def test_too_large_a_graph_is_refused(draw: Callable[[IrGraph], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_module, "MAX_NODES", 20)
    with pytest.raises(GraphError, match="too large to draw; the limit is 20"):
        draw(layers(10))


def test_too_small_a_budget_is_refused() -> None:
    with pytest.raises(GraphError, match="expected 8 or more"):
        to_svg(formula(), max_boxes=3)


HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--<script>",
    "a\x00b\x1b[31m\x7f\n\r",
    "\u202eevil\u2066",
    "\ud800 lone",
    "]]>&amp;&#x41;",
    '\\" ] ; evil [label="\\',
    "\\N\\G\\l",
    "漢字" * 300,
    "/" * 5000,
    "x" * 100_000,
]


def hostile_graph() -> IrGraph:
    text = Literal.of(np.array([name.encode("utf-8", "surrogatepass") for name in HOSTILE], STRING))
    nodes: dict[str, Node] = {}
    for name in HOSTILE:
        source = (Port(next(reversed(nodes))),) if nodes else ()
        nodes[name] = Node(name, name, source, {name: name, "value": text}, (TensorType(FLOAT),))
    return IrGraph(nodes)


def test_hostile_names_in_svg() -> None:
    svg = to_svg(hostile_graph(), title=HOSTILE[0], values=dict.fromkeys(HOSTILE, HOSTILE[0]))
    svg.encode("utf-8")
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
    assert tags == {"svg", "style", "defs", "marker", "path", "rect", "text", "g", "title"}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", svg)
    assert len(svg) < 1_000_000


def test_hostile_names_in_dot() -> None:
    dot = to_dot(hostile_graph(), title='"', values=dict.fromkeys(HOSTILE, HOSTILE[7]))
    dot.encode("utf-8")
    assert dot.isascii() or dot.replace("\n", "").isprintable()
    for line in dot.splitlines()[3:-1]:
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "S", line)
        assert re.fullmatch(r"  n\d+ (?:\[(?:\w+=S(?:, )?|peripheries=2)+\]|-> n\d+ \[label=S\]);", bare), line


def test_hostile_names_in_html() -> None:
    page = to_html(hostile_graph(), title=HOSTILE[0], values=dict.fromkeys(HOSTILE, HOSTILE[0]))
    page.encode("utf-8")
    assert len(re.findall("<script", page)) == len(re.findall("</script", page)) == 2
    assert "<img" not in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page).group(1))  # type: ignore[union-attr]
    assert data["nodes"][0]["name"] == HOSTILE[0]
    assert [len(node["name"]) <= 400 for node in data["nodes"]] == [True] * len(HOSTILE)
    assert len(page) < 1_000_000


def test_html_loads_nothing_and_allows_its_own_script_only() -> None:
    page = to_html(layers(40), title="forty")
    assert not re.findall(r"(?:src|href)\s*=|url\((?!#)|@import", page)
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page).group(1)  # type: ignore[union-attr]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL).group(1)  # type: ignore[union-attr]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_html_has_a_picture_per_scope_and_details_per_node() -> None:
    graph = layers(40)
    page = to_html(graph)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page).group(1))  # type: ignore[union-attr]
    assert data["pages"] == ["", *(f"layer{i}" for i in range(40))]
    assert page.count('class="page"') == 41
    details = {node["name"]: node for node in data["nodes"]}
    assert set(details) == set(graph.nodes)
    conv = details["layer3/conv"]
    assert (data["pages"][conv["page"]], conv["key"]) == ("layer3", "layer3/conv")
    assert conv["in"] == [["layer2/relu:0", "?×8×8×4"], ["layer3/weights/read:0", "3×3×4×4"]]
    assert conv["readers"] == ["layer3/relu"]
    # A constant that is a line in its reader is found there.
    assert (details["layer3/weights"]["page"], details["layer3/weights"]["key"]) == (conv["page"], "layer3/conv")


def test_a_real_network() -> None:
    path = Path(__file__).resolve().parents[3] / "shared/models/mobilenet_v1_0.25_224/frozen_graph.pb"
    if not path.exists():
        pytest.skip("the real MobileNet v1 of ../shared/models is not here")
    graph = load(path).graph
    assert graph is not None
    svg = to_svg(graph)
    assert len(keys(svg)) <= 60
    assert "1×112×112×8" in texts(svg)
    assert to_html(graph).count('class="page"') > 20
