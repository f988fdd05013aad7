"""What notebooks show: HTML that is well-formed, bounded, escaped, and loads nothing."""

from __future__ import annotations

import base64
import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.classifier import Classifier
from kigraph.graph.draw.notebook import _MOST_NODES
from kigraph.graph.draw.tables import Markup, bar, block, table

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;\x1b[31m\u202e\ud800"


def tree(html: str) -> ET.Element:
    """The elements; well-formed XML but for the void element img."""
    return ET.fromstring(re.sub(r"(<img [^>]*?)>", r"\1/>", html))


def harmless(html: str) -> None:
    root = tree(html)
    names = {e.tag for e in root.iter()}
    assert names <= {"div", "style", "p", "table", "thead", "tbody", "tr", "th", "td", "span", "img", "pre"}
    for element in root.iter():
        assert set(element.attrib) <= {"class", "style", "alt", "src"}
        assert element.get("src", "data:image/svg+xml;base64,").startswith("data:image/svg+xml;base64,")
    html.encode("utf-8")  # no lone surrogates
    assert not any(ord(c) < 32 and c != "\n" for c in html)


def picture(html: str) -> ET.Element:
    found = re.search(r"base64,([A-Za-z0-9+/=]+)", html)
    assert found is not None
    return ET.fromstring(base64.b64decode(found[1]))


def small_graph() -> tuple[ki.Graph, ki.Tensor, ki.Tensor]:
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder("float32", [None, 4], name="x")
        y = ki.relu(ki.matmul(x, np.ones((4, 3), np.float32)), name="y")
    return graph, x, y


def test_a_graph_says_its_ends_and_draws_itself() -> None:
    graph, _, _ = small_graph()
    assert repr(graph) == "<Graph: 4 operations; inputs: x:0; outputs: y:0>"
    html = graph._repr_html_()
    harmless(html)
    assert "inputs: x:0" in html
    assert {"x", "y", "MatMul"} <= {e.get("data-key") for e in picture(html).iter()}


def test_an_empty_graph_has_no_picture() -> None:
    assert repr(ki.Graph()) == "<Graph: 0 operations>"
    harmless(ki.Graph()._repr_html_())
    assert "<img" not in ki.Graph()._repr_html_()


def test_names_of_a_file_are_no_markup() -> None:
    graph = ki.Graph()
    graph.create_op("Placeholder", (), {"dtype": np.dtype("float32"), "shape": None}, HOSTILE, exact_name=True)
    harmless(graph._repr_html_())
    assert "\x1b" not in repr(graph)
    scripts = [e for e in picture(graph._repr_html_()).iter() if e.tag.endswith("script")]
    assert scripts == []


@pytest.mark.parametrize("count", [3000, _MOST_NODES + 1])
def test_a_large_graph_is_bounded(count: int) -> None:
    graph = ki.Graph()
    for i in range(count):
        graph.create_op("NoOp", (), None, f"scope{i % 7}/inner{i % 91}/n{i}", exact_name=True)
    begin = time.process_time()
    html = graph._repr_html_()
    assert len(html) < 300_000, time.process_time() - begin
    assert f"{count:,} operations" in html
    assert ("<img" in html) == (count <= _MOST_NODES)
    harmless(html)


def test_a_plan_and_a_profile_are_tables() -> None:
    graph, x, y = small_graph()
    session = ki.Session(graph, backend="numpy", threads=1)
    feeds = {x: np.ones((2, 4), np.float32)}
    plan = session.plan(y, feeds)
    assert re.fullmatch(r"<Plan: \d+ kernels? in 1 stage on numpy .*, 1 thread, fp32>", repr(plan))
    harmless(plan._repr_html_())
    assert "numpy.matmul" in plan._repr_html_()
    explained = plan.explain()
    assert isinstance(explained, str)
    harmless(explained._repr_html_())
    assert "numpy.matmul" in explained._repr_html_()
    profile = session.profile(y, feeds, runs=3, warm_up=0)
    assert re.fullmatch(r"<Profile: [\d.]+ ms in \d+ steps, 3 runs, numpy .*>", repr(profile))
    harmless(profile._repr_html_())
    assert "outside of steps" in profile._repr_html_()
    times = [cell.text for cell in tree(plan._repr_html_()).iter("td")]
    assert any(re.fullmatch(r"\d+\.\d{3}", t or "") for t in times)  # of the profiled run


def test_a_prediction_has_bars() -> None:
    labels = (ki.Label("roses", 0.75, 0), ki.Label(HOSTILE, 0.25, 1), ki.Label("odd", float("nan"), 2))
    answer = ki.Prediction("a b\n.jpg", labels)
    assert repr(answer).startswith("<Prediction 'a b\\n.jpg': 75.00% roses, 25.00% ")
    assert repr(ki.Prediction("x", ())) == "<Prediction 'x': no labels>"
    html = answer._repr_html_()
    harmless(html)
    widths = [e.get("style") for e in tree(html).iter("span") if e.get("class") == "fill"]
    assert widths == ["width: 75.00%", "width: 25.00%", "width: 0.00%"]
    assert "alert(" in "".join(tree(html).itertext())  # as text


def test_a_classifier_shows_its_card() -> None:
    graph, _, _ = small_graph()
    card = ki.Card(
        "mine", HOSTILE, "x", "y", ki.Preprocessing((2, 2), "half_pixel", ki.Normalization((0,) * 3, (1,) * 3)), "file"
    )
    model = Classifier(graph, ki.Session(graph, backend="numpy"), card, None, Path("a<b>.pb"))
    html = model._repr_html_()
    harmless(html)
    text = " ".join(tree(html).itertext())
    assert "mine" in text
    assert "a<b>.pb has no labels" in text
    bare = Classifier(graph, ki.Session(graph, backend="numpy"), None, None)
    assert "cannot classify" in bare._repr_html_()


def test_text_is_escaped_and_markup_is_not() -> None:
    html = block("a<b", table(("n",), [(HOSTILE,), (Markup("<span></span>"),)]))
    harmless(html)
    assert "a&lt;b" in html
    assert len(table(("n",), [("x" * 10_000,)])) < 1000


@pytest.mark.parametrize(("share", "width"), [(-1, "0.00"), (0.5, "50.00"), (2, "100.00"), (np.inf, "100.00")])
def test_a_bar_stays_in_its_track(share: Any, width: str) -> None:
    assert f"width: {width}%" in bar(float(share))
